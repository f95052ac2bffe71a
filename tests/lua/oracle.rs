//! A program in `lua5.1`: its output, and the error that ended it.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::Ended;

/// No program prints more than this; the limit protects the disk from one that would.
const MOST_OUTPUT_BYTES: u64 = 16 << 20;

/// The time after which a program counts as endless.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs a file like `lua5.1 FILE` in `directory`, so that messages name the file as given here.
pub fn run(directory: &Path, file: &str) -> Ended {
    let mut child = Command::new("lua5.1")
        .arg(file)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("lua5.1: {error}; tests/prepare installs it"));
    let stdout = child.stdout.take().expect("piped");
    let stderr = child.stderr.take().expect("piped");
    let messages = std::thread::spawn(move || read(stderr));
    let printing = std::thread::spawn(move || read(stdout));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if started.elapsed() > DEADLINE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{file} does not end in lua5.1");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let output = printing.join().expect("reads a pipe");
    let text = messages.join().expect("reads a pipe");
    assert!(status.code().is_some(), "lua5.1 was killed by {file}: {status}");
    let error = (!status.success()).then(|| message(&text));
    Ended { output, error }
}

fn read(from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(MOST_OUTPUT_BYTES).read_to_end(&mut bytes);
    bytes
}

/// The message in `lua5.1: MESSAGE\nstack traceback:\n…`.
fn message(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"lua5.1: ").unwrap_or(text);
    let traceback = b"\nstack traceback:";
    let end = text.windows(traceback.len()).position(|window| window == traceback);
    let text = &text[..end.unwrap_or(text.len())];
    text.strip_suffix(b"\n").unwrap_or(text).to_vec()
}
