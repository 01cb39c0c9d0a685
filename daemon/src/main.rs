//! The program `modicd`.

fn main() -> std::process::ExitCode {
    modicd::cli::main()
}
