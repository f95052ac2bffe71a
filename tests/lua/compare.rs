//! Programs run by this engine and by `lua5.1`: both have the same output and the same error.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::engine::{self, Ended};
use crate::support::random::seeds;
use crate::{generator, oracle};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lua/programs");

/// The number of generated programs without `REDSTART_PROGRAMS`.
const GENERATED: u64 = 300;

/// The instructions between two pauses: no pause at all, and few enough to suspend a program everywhere.
const AT_ONCE: usize = 1 << 40;
const IN_SLICES: usize = 13;

/// The first lines in which two outcomes differ.
fn difference(expected: &Ended, actual: &Ended) -> Option<String> {
    if expected == actual {
        return None;
    }
    let show = |bytes: &[u8]| bytes[..bytes.len().min(300)].escape_ascii().to_string();
    let mut text = String::new();
    let (theirs, ours): (Vec<_>, Vec<_>) = (
        expected.output.split(|byte| *byte == b'\n').collect(),
        actual.output.split(|byte| *byte == b'\n').collect(),
    );
    let mut shown = 0;
    for line in 0..theirs.len().max(ours.len()) {
        let (a, b) = (theirs.get(line), ours.get(line));
        if a != b && shown < 12 {
            shown += 1;
            let show = |line: Option<&&[u8]>| line.map_or_else(|| "(nothing)".into(), |line| show(line));
            let _ = writeln!(text, "  line {}\n    lua5.1: {}\n    here:   {}", line + 1, show(a), show(b));
        }
    }
    if expected.error != actual.error {
        let show =
            |error: &Option<Vec<u8>>| error.as_ref().map_or_else(|| "(no error)".into(), |error| show(error));
        let _ = writeln!(
            text,
            "  ends\n    lua5.1: {}\n    here:   {}",
            show(&expected.error),
            show(&actual.error)
        );
    }
    Some(text)
}

fn programs() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(DIRECTORY)
        .expect("the programs")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
        .filter(|name: &String| Path::new(name).extension() == Some("lua".as_ref()))
        .collect();
    names.sort();
    if let Ok(only) = std::env::var("REDSTART_PROGRAM") {
        names.retain(|name| name.trim_end_matches(".lua") == only);
    }
    assert!(!names.is_empty(), "no programs");
    names
}

fn compare_programs(slice: usize) {
    let mut complaints = Vec::new();
    for name in programs() {
        let source = std::fs::read(Path::new(DIRECTORY).join(&name)).expect("a program");
        let expected = oracle::run(Path::new(DIRECTORY), &name);
        let actual = engine::run(&source, &name, slice);
        complaints.extend(difference(&expected, &actual).map(|text| format!("{name}\n{text}")));
    }
    assert!(complaints.is_empty(), "{} programs differ:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn programs_print_and_fail_as_in_the_reference_implementation() {
    compare_programs(AT_ONCE);
}

#[test]
fn programs_do_the_same_when_they_are_suspended_every_few_instructions() {
    compare_programs(IN_SLICES);
}

/// A directory for the files of a test.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lua-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn generated_ones_print_and_fail_as_in_the_reference_implementation() {
    let count = std::env::var("REDSTART_PROGRAMS").map_or(GENERATED, |text| text.parse().expect("a number"));
    let first = 1_000_000;
    let seeds = seeds(&(first..first + count).collect::<Vec<u64>>());
    let directory = scratch("generated");
    let (mut complaints, mut left_out) = (Vec::new(), 0);
    for seed in seeds {
        let source = generator::program(seed);
        std::fs::write(directory.join("generated.lua"), &source).expect("writes the program");
        let expected = oracle::run(&directory, "generated.lua");
        // The number of calls that fit on the C stack differs between the implementations.
        if contains(&expected.output, b"C stack overflow") {
            left_out += 1;
            continue;
        }
        // A third of them in small slices of different lengths.
        let slice = if seed % 3 == 0 { 1 + seed as usize % 97 } else { AT_ONCE };
        let actual = engine::run(source.as_bytes(), "generated.lua", slice);
        if let Some(text) = difference(&expected, &actual) {
            complaints.push(format!("REDSTART_SEED={seed} (in slices of {slice})\n{text}"));
            std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lua-{seed}.lua")), &source)
                .expect("writes the program");
        }
    }
    let _ = std::fs::remove_dir_all(&directory);
    assert!(left_out <= 1 + count / 10, "{left_out} of {count} programs were skipped");
    assert!(
        complaints.is_empty(),
        "{} programs differ; they are in {}:\n{}",
        complaints.len(),
        env!("CARGO_TARGET_TMPDIR"),
        complaints.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn what_is_generated_both_succeeds_and_fails() {
    let directory = scratch("meant");
    let (mut clean, mut failing) = (0, 0);
    for seed in 1..=40 {
        std::fs::write(directory.join("generated.lua"), generator::program(seed))
            .expect("writes the program");
        let ended = oracle::run(&directory, "generated.lua");
        assert_eq!(ended.error, None, "REDSTART_SEED={seed}: code outside of every pcall fails");
        let lines = || ended.output.split(|byte| *byte == b'\n');
        clean += usize::from(lines().any(|line| line.starts_with(b"true")));
        failing += usize::from(lines().any(|line| line.starts_with(b"false")));
    }
    let _ = std::fs::remove_dir_all(&directory);
    assert!(clean >= 30, "a block completed in only {clean} of 40 programs");
    assert!(failing >= 20, "a block failed in only {failing} of 40 programs");
}
