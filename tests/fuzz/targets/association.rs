#![no_main]
libfuzzer_sys::fuzz_target!(init: modicd_fuzz::let_panics_be_caught(), |bytes: &[u8]| modicd::fuzzing::association(bytes));
