//! The fuzzers' targets without a fuzzer: their corpora, and thousands of changes to them, within bounded memory. The changes are
//! the same in every run. What ended the process lies in target/tmp/fuzz-TARGET.
//!
//! `tests/fuzz/run` goes further, led by coverage.

use std::alloc::System;
use std::path::Path;

use cap::Cap;
use modicd::fuzzing;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// An allocation beyond this ends the test: what peers send costs less than that, and what they claim costs nothing.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 64 << 20);

/// A change to an input.
#[derive(Debug, Clone)]
enum Change {
    /// A byte becomes another.
    Byte(prop::sample::Index, u8),
    /// Four bytes become a number that lengths and offsets go wrong at.
    Number(prop::sample::Index, u32),
    /// Some bytes are left out.
    Cut(prop::sample::Index, usize),
    /// Some bytes come twice.
    Double(prop::sample::Index, usize),
    /// The end is missing.
    End(prop::sample::Index),
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let number = prop_oneof![
        Just(u32::MAX),
        Just(u32::MAX - 1),
        Just(1 << 31),
        Just(0),
        any::<u32>(),
        0..1024u32,
    ];
    prop_oneof![
        6 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        3 => (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (at(), 1..32usize).prop_map(|(at, length)| Change::Cut(at, length)),
        1 => (at(), 1..32usize).prop_map(|(at, length)| Change::Double(at, length)),
        1 => at().prop_map(Change::End),
    ]
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Byte(at, byte) => bytes[at.index(length)] = *byte,
        Change::Number(at, number) => {
            let at = at.index(length);
            let end = length.min(at + 4);
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
        Change::Cut(at, count) => {
            let at = at.index(length);
            bytes.drain(at..length.min(at + count));
        }
        Change::Double(at, count) => {
            let at = at.index(length);
            let twice = bytes[at..length.min(at + count)].to_vec();
            bytes.splice(at..at, twice);
        }
        Change::End(at) => bytes.truncate(at.index(length)),
    }
}

/// Runs a target on its corpus and on `cases` changed inputs.
fn survives(target: &str, run: fn(&[u8]), cases: u32) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut inputs: Vec<_> = inputs.map(|input| input.expect("a file").path()).collect();
    inputs.sort();
    let inputs: Vec<Vec<u8>> =
        inputs.iter().map(|input| std::fs::read(input).expect("a file")).collect();
    inputs.iter().for_each(|input| run(input));
    let changes = prop::collection::vec(any_change(), 1..12);
    let strategy = (prop::sample::select(inputs), changes);
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let generator = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    let result =
        TestRunner::new_with_rng(config, generator).run(&strategy, |(mut input, changes)| {
            changes.iter().for_each(|change| apply(change, &mut input));
            std::fs::write(&last, &input).expect("the folder is writable");
            run(&input);
            Ok(())
        });
    if let Err(failure) = result {
        panic!("{target}: {failure}");
    }
}

#[test]
fn changed_pdus_are_survived() {
    survives("association", fuzzing::association, 20_000);
}

#[test]
fn changed_configurations_are_survived() {
    survives("configuration", fuzzing::configuration, 2_000);
}

#[test]
fn changed_data_sets_are_survived() {
    survives("data_set", fuzzing::data_set, 20_000);
}

#[test]
fn changed_exams_are_survived() {
    survives("exam", fuzzing::exam, 500);
}

#[test]
fn changed_files_are_survived() {
    survives("file", fuzzing::file, 10_000);
}

#[test]
fn changed_bundles_are_survived() {
    survives("package", fuzzing::package, 5_000);
}

#[test]
fn changed_requests_are_survived() {
    survives("request", fuzzing::request, 20_000);
}
