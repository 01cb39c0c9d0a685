//! What all fuzzers share.

/// libfuzzer-sys ends the process at any panic, at one too that the daemon catches (a foreign codec's). With a hook that
/// says nothing, a panic that nobody catches still ends it.
pub fn let_panics_be_caught() {
    if std::env::var_os("FUZZ_SHOW_PANICS").is_none() {
        std::panic::set_hook(Box::new(|_| ()));
    } else {
        drop(std::panic::take_hook());
    }
}
