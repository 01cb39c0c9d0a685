//! `modicd manual`: the command line's own definition as man pages and shell completions.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// Write the man pages and the completions of bash, zsh and fish, as the packages have them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where they are written: man/, completions/.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let mut command = Cli::command();
    let (man, completions) = (args.out.join("man"), args.out.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "modicd", &completions)?;
    }
    Ok(super::EXIT_OK)
}
