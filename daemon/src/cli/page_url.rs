//! `modicd page-url`: where the page is, and what opens it.

use super::config_file::ConfigFile;
use crate::page;

/// Print the page's address with its token behind the #. Whoever has it sees the exams; the page takes the token out of
/// the address bar. Run it as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    anyhow::ensure!(
        config.page.bind.port() != 0,
        "page.bind has port 0: the daemon's log says which one the system chose"
    );
    let token = page::read_token(&config.page, &config.state_dir)?;
    let secure = config.page.tls.is_some();
    println!("{}", page::address_with_token(config.page.bind, secure, &token));
    Ok(super::EXIT_OK)
}
