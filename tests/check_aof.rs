//! `check-aof` beside `redis-check-aof`: for valid files, files truncated anywhere, files with changed bytes, and
//! manifests, both print the same report, exit with the same status, and leave the same files.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::Random;

/// The checked file and the files beside it.
type Files = BTreeMap<&'static str, Vec<u8>>;

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn single(bytes: &[u8]) -> Files {
    BTreeMap::from([("log", bytes.to_vec())])
}

/// A directory for one pair of runs, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("redstart-check-aof-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The results that are compared.
#[derive(Debug, PartialEq)]
struct Run {
    succeeded: bool,
    /// Whether it reported a command that no server loads. Redis does not check for these.
    found_refused: bool,
    report: Vec<String>,
    files: Files,
}

fn run(program: &mut Command, scratch: &Scratch, files: &Files, options: &[&str], answer: &str) -> Run {
    for (name, bytes) in files {
        fs::write(scratch.0.join(name), bytes).expect("written");
    }
    let first = if files.contains_key("log.manifest") { "log.manifest" } else { "log" };
    let mut child = program
        .args(options)
        .arg(first)
        .current_dir(&scratch.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    // The tool may have exited without asking.
    let _ = child.stdin.take().expect("piped").write_all(answer.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let left = |name: &&'static str| (*name, fs::read(scratch.0.join(name)).expect("it is still there"));
    let text = String::from_utf8_lossy(&output.stdout);
    Run {
        succeeded: output.status.success(),
        found_refused: text.contains(" that no server loads"),
        report: text.lines().filter_map(comparable).collect(),
        files: files.keys().map(left).collect(),
    }
}

/// A line without the parts that only Redis prints: the process and the time in front of a log line, and the bytes of
/// uninitialised memory that it shows.
fn comparable(line: &str) -> Option<String> {
    let line = match line.split_once(":C ") {
        Some((pid, rest)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => rest.split_once(" # ")?.1,
        _ => line,
    };
    let line = match line.split_once("Expected \\r\\n, got: 00") {
        Some((before, _)) => format!("{before}Expected \\r\\n, got: 00"),
        None => line.to_string(),
    };
    (!line.trim().is_empty()).then_some(line)
}

const WAYS: &[(&[&str], &str)] = &[
    (&[], ""),
    (&["--fix"], "y\n"),
    (&["--fix"], "n\n"),
    (&["--fix"], ""),
    (&["--truncate-to-timestamp", "150"], ""),
    (&["--truncate-to-timestamp", "0"], ""),
    (&["--truncate-to-timestamp", "5x"], ""),
];

fn compare(scratch: &Scratch, files: &Files, ways: &[(&[&str], &str)]) {
    for (options, answer) in ways {
        let mut ours = Command::new(env!("CARGO_BIN_EXE_redstart"));
        let mut ours = run(ours.arg("check-aof"), scratch, files, options, answer);
        let mut theirs = run(&mut Command::new("redis-check-aof"), scratch, files, options, answer);
        if ours.found_refused {
            assert!(!ours.succeeded);
            let is_verdict =
                |line: &String| line.contains(" is valid") || line.contains(" that no server loads");
            for run in [&mut ours, &mut theirs] {
                run.report.retain(|line| !is_verdict(line));
                (run.succeeded, run.found_refused) = (false, true);
            }
        }
        let shown: Vec<_> =
            files.iter().map(|(name, bytes)| format!("{name}: {}", bytes.escape_ascii())).collect();
        assert_eq!(ours, theirs, "{options:?} {shown:#?}");
    }
}

fn good() -> Vec<u8> {
    [command(&["SELECT", "0"]), command(&["SET", "k", "v"])].concat()
}

fn transaction() -> Vec<u8> {
    [command(&["MULTI"]), command(&["SET", "a", "b"]), command(&["Exec"])].concat()
}

#[test]
fn damage_of_every_kind_is_reported_and_fixed_as_redis_does() {
    let scratch = Scratch::new("kinds");
    let good = good();
    let after = |bytes: &[u8]| single(&[&good[..], bytes].concat());
    compare(&scratch, &single(b""), WAYS);
    compare(&scratch, &single(&[&b"#TS:1000\r\n"[..], &good].concat()), WAYS);
    let times = [&b"#TS:100\r\n"[..], &good, b"#TS:200\r\n", &good, b"#TS:300\r\n"].concat();
    compare(&scratch, &single(&times), WAYS);
    for bytes in [
        &b""[..],
        &transaction(),
        &command(&["multi"]),
        &[command(&["MULTI"]), command(&["SET", "a", "b"])].concat(),
        &[command(&["MULTI"]), command(&["multi"])].concat(),
        &[command(&["MULTI"]), b"*3\r\n$3\r\nSET\r\n".to_vec()].concat(),
        &command(&["EXEC"]),
        &command(&["multi\0zz"]),
        &command(&["SET", "k", &"x".repeat(700_000)]),
        b"SET k v\r\n",
        &[0; 100],
        &[b'#'; 3000],
        b"#TS:x\r\n",
        b"#TS:300",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1x\r\n",
        b"*1\n$4\r\nPING\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$ +1\r\nx\r\n",
        b"*1\r\n$9223372036854775807\r\nabc",
        b"*1\r\n$100000\r\nabc",
        b"*1\r\n$1\r\na\xff\xfe",
        b"*1\r\n$4\r\nPINGxx",
        b"*2\r\n$4\r\nPING\r\n:1\r\n",
        b"*3\r\n$3\r\nSET\r\n",
    ] {
        compare(&scratch, &after(bytes), WAYS);
    }
}

#[test]
fn files_that_were_cut_off_or_changed_anywhere_get_the_same_report() {
    let scratch = Scratch::new("anywhere");
    let bytes = [good(), transaction(), command(&["SET", "key", "value"])].concat();
    for len in 0..bytes.len() {
        compare(&scratch, &single(&bytes[..len]), &WAYS[..1]);
    }
    let mut random = Random::new(7);
    for _ in 0..200 {
        let mut changed = bytes.clone();
        for _ in 0..=random.below(2) {
            let at = random.below(changed.len());
            changed[at] = b"*$#\r\n019-xme"[random.below(11)];
        }
        compare(&scratch, &single(&changed), &WAYS[..2]);
    }
}

#[test]
fn of_a_manifest_only_the_last_file_is_cut() {
    const LINES: &[u8] =
        b"file base seq 1 type b\nfile one seq 1 type i\nfile old seq 1 type h\nfile two seq 2 type i\n";
    let scratch = Scratch::new("manifest");
    let (good, multi) = (good(), transaction());
    let cut = &multi[..multi.len() - 3];
    let times = [&good[..], b"#TS:200\r\n", &good].concat();
    let mut cases: Vec<(&[u8], [&[u8]; 3])> = vec![
        (LINES, [&good, &good, &multi]),
        (LINES, [&good, &good, cut]),
        (LINES, [&good, cut, &multi]),
        (LINES, [cut, &good, &multi]),
        (LINES, [b"", b"", b""]),
        (LINES, [&times, &good, &good]),
        (LINES, [&good, &good, &times]),
        (b"file base seq 1 type b\n", [cut, b"", b""]),
        (b"#\nfile one seq 1 type i\nfile missing seq 2 type i\n", [b"", &good, b""]),
        (b"file missing seq 1 type b\n", [b"", b"", b""]),
    ];
    for bad in [
        &b"file one seq 1 type b\nbad\n"[..],
        b"file a/b seq 1 type b\n",
        b"file one seq 1 type x\n",
        b"file one seq 1 type b",
        b"file one seq 2 type i\nfile two seq 1 type i\n",
    ] {
        cases.push((bad, [&good, &good, &good]));
    }
    for (manifest, [base, one, two]) in cases {
        let files = BTreeMap::from([
            ("log.manifest", manifest.to_vec()),
            ("base", base.to_vec()),
            ("one", one.to_vec()),
            ("two", two.to_vec()),
        ]);
        compare(&scratch, &files, WAYS);
    }
}

#[test]
fn commands_may_follow_an_rdb_file() {
    let scratch = Scratch::new("preamble");
    let rdb = [&b"REDIS0009\xfe\x00\x00\x03key\x05value\xff"[..], &[0; 8]].concat();
    let good = good();
    for tail in [&b""[..], &good, &good[..good.len() - 1], b"x"] {
        let mixed = [&rdb[..], tail].concat();
        let ours = |options: &[&str], answer| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
            run(program.arg("check-aof"), &scratch, &single(&mixed), options, answer)
        };
        let theirs = |options: &[&str], answer| {
            run(&mut Command::new("redis-check-aof"), &scratch, &single(&mixed), options, answer)
        };
        for (options, answer) in WAYS {
            let (ours, theirs) = (ours(options, answer), theirs(options, answer));
            assert_eq!(
                (ours.succeeded, &ours.files),
                (theirs.succeeded, &theirs.files),
                "{ours:?} {theirs:?}"
            );
            // The report of the RDB file is that of check-rdb.
            let tail = |run: &Run| {
                let lines = run.report.iter().skip_while(|line| !line.starts_with("RDB preamble"));
                lines.cloned().collect::<Vec<_>>()
            };
            assert_eq!(tail(&ours), tail(&theirs));
            assert!(!tail(&ours).is_empty() || options.contains(&"5x"));
        }
    }
    let broken = single(&rdb[..rdb.len() - 9]);
    let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
    let ours = run(program.arg("check-aof"), &scratch, &broken, &[], "");
    assert!(!ours.succeeded);
    assert_eq!(
        ours.report.last().map(String::as_str),
        Some("RDB preamble of AOF file is not sane, aborting.")
    );
}

#[test]
fn a_wrong_call_or_a_missing_file_ends_with_status_1() {
    let scratch = Scratch::new("calls");
    for arguments in
        [&[][..], &["--fix"], &["a", "b"], &["--truncate-to-timestamp", "1"], &["a", "b", "c", "d"]]
    {
        let status = |program: &mut Command| {
            let output = program.args(arguments).current_dir(&scratch.0).output().expect("it runs");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).lines().count())
        };
        let ours = status(Command::new(env!("CARGO_BIN_EXE_redstart")).arg("check-aof"));
        assert_eq!(ours, status(&mut Command::new("redis-check-aof")), "{arguments:?}");
        assert_eq!(ours.0, Some(1));
    }
    assert!(!Path::new("a").exists());
}

#[test]
fn a_command_that_no_server_loads_is_reported_and_not_cut_off() {
    let scratch = Scratch::new("unknown");
    let damaged = [good(), command(&["SXT", "k", "v"]), command(&["SCRIPT", "LOXD", "x"]), good()].concat();
    let offset = good().len();
    for (options, answer) in [(&[][..], ""), (&["--fix"], "y\n")] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
        let run = run(program.arg("check-aof"), &scratch, &single(&damaged), options, answer);
        assert!(!run.succeeded);
        let verdict = run.report.last().expect("a verdict");
        let says = format!(
            "AOF log is not valid: 2 commands that no server loads, the first at offset {offset}: Unknown command 'SXT'."
        );
        assert!(verdict.starts_with(&says), "{verdict}");
        assert!(verdict.ends_with(&format!("truncate -s {offset} log")), "{verdict}");
        assert_eq!(run.files["log"], damaged);
    }
    // A truncated end after the command is cut off nevertheless.
    let torn = [&damaged[..], b"*3\r\n$3\r\nSET"].concat();
    let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
    let run = run(program.arg("check-aof"), &scratch, &single(&torn), &["--fix"], "y\n");
    assert!(!run.succeeded && run.found_refused);
    assert_eq!(run.files["log"], damaged);
}

/// `persistence::loading` tests the server's messages about such files.
#[test]
fn a_wrong_number_of_arguments_is_reported() {
    let scratch = Scratch::new("arity");
    let offset = good().len();
    for (words, why) in [
        (&["SET", "a"][..], "Wrong number of arguments for command 'SET'"),
        (&["GET", "a", "b"], "Wrong number of arguments for command 'GET'"),
        (&["FUNCTION", "DELETE", "l", "m"], "Wrong number of arguments for command 'FUNCTION'"),
        (&["XGROUP"], "Wrong number of arguments for command 'XGROUP'"),
        (&["XGROUP", "NONE", "s", "g"], "Unknown command 'XGROUP'"),
        (&[], "Command without a name ''"),
    ] {
        for log in [
            [good(), command(words), good()].concat(),
            [good(), command(words), command(&["MULTI"]), command(&["SET", "k", "v"]), command(&["EXEC"])]
                .concat(),
        ] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
            let run = run(program.arg("check-aof"), &scratch, &single(&log), &["--fix"], "y\n");
            assert!(!run.succeeded, "{words:?}");
            let verdict = run.report.last().expect("a verdict");
            let says = format!(
                "AOF log is not valid: 1 command that no server loads, the first at offset {offset}: {why}."
            );
            assert!(verdict.starts_with(&says), "{verdict}");
            assert_eq!(run.files["log"], log);
        }
    }
    let fine = [command(&["MULTI", "x"]), command(&["set", "k", "v"]), command(&["EXEC", "x"])].concat();
    let mut program = Command::new(env!("CARGO_BIN_EXE_redstart"));
    assert!(
        run(program.arg("check-aof"), &scratch, &single(&fine), &[], "").succeeded,
        "as the server loads it"
    );
}

#[test]
fn the_command_that_repairs_a_log_is_named() {
    let scratch = Scratch::new("repairs");
    fs::write(scratch.0.join("my log"), &good()[..20]).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_redstart"))
        .args(["check-aof", "my log"])
        .current_dir(&scratch.0)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "To cut it there (make a copy first): redstart check-aof --fix 'my log'\n");
}

/// Opening a pipe would wait for a writer, and a device has no end.
#[test]
fn pipes_and_devices_are_refused() {
    let scratch = Scratch::new("pipes");
    nix::unistd::mkfifo(&scratch.0.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for words in [&["check-aof", "pipe"][..], &["check-aof", "--fix", "pipe"], &["check-rdb", "pipe"]] {
        for name in ["pipe", "/dev/zero"] {
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "pipe" { name } else { word }).collect();
            let output = Command::new(env!("CARGO_BIN_EXE_redstart"))
                .args(&words)
                .current_dir(&scratch.0)
                .output()
                .expect("it runs");
            let said = [output.stdout, output.stderr].concat();
            assert_eq!(output.status.code(), Some(1), "{words:?}");
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains(&format!("Cannot open file {name}: Not a regular file")), "{said}");
        }
    }
}
