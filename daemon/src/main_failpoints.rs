//! The daemon with switches that make it fail, for tests: the environment variable FAILPOINTS sets them, see the crate `fail`.

fn main() -> std::process::ExitCode {
    let _switches = fail::FailScenario::setup();
    modicd::cli::main()
}
