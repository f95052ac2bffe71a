//! The history of typed lines, kept in a file between sessions as redis-cli keeps it: one per line, without those that
//! contain a password.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::state::is;

/// The maximum number of lines kept.
pub const KEPT: usize = 1000;

/// Returns the path of the file: the one that the environment names, else one in the user's home directory. `None` if
/// the environment disables it.
pub fn path() -> Option<PathBuf> {
    match env::var_os("REDISCLI_HISTFILE") {
        Some(path) if path.is_empty() || path == "/dev/null" => None,
        Some(path) => Some(path.into()),
        None => Some(PathBuf::from(env::var_os("HOME")?).join(".rediscli_history")),
    }
}

/// Returns the latest lines of the file. Rewrites a file that has grown too long.
pub fn load(path: &Path) -> Vec<String> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let latest = &lines[lines.len().saturating_sub(KEPT)..];
    if lines.len() > 2 * KEPT {
        // If this fails, the file only stays too long.
        let _ = rewrite(path, latest);
    }
    latest.iter().map(ToString::to_string).collect()
}

fn rewrite(path: &Path, lines: &[&str]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all((lines.join("\n") + "\n").as_bytes())
}

/// Appends a line to the file, which only its owner can read.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// Whether a command may contain a password.
pub fn is_secret(words: &[Vec<u8>]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    // Skip a leading number, which repeats the command.
    if first.iter().all(u8::is_ascii_digit) && !first.is_empty() {
        return is_secret(rest);
    }
    let has = |name: &str| rest.iter().any(|word| is(word, name));
    let sub = |names: &[&str]| rest.first().is_some_and(|word| names.iter().any(|name| is(word, name)));
    if is(first, "auth") {
        return true;
    }
    if is(first, "acl") {
        return sub(&["setuser", "deluser", "getuser"]);
    }
    if is(first, "config") && sub(&["set"]) {
        return ["requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"]
            .into_iter()
            .any(has);
    }
    (is(first, "hello") && has("auth")) || (is(first, "migrate") && (has("auth") || has("auth2")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::split;

    #[test]
    fn no_password_is_kept() {
        for (line, secret) in [
            ("auth x", true),
            ("3 AUTH x", true),
            ("acl setuser u >p", true),
            ("acl list", false),
            ("config set requirepass x", true),
            ("config set maxmemory 1 masterauth x", true),
            ("config set maxmemory 1", false),
            ("config get requirepass", false),
            ("hello 3 auth u p", true),
            ("hello 3", false),
            ("migrate h 1 k 0 1 AUTH2 u p", true),
            ("migrate h 1 k 0 1", false),
            ("get auth", false),
            ("3", false),
        ] {
            assert_eq!(is_secret(&split(line.as_bytes()).unwrap()), secret, "{line}");
        }
    }
}
