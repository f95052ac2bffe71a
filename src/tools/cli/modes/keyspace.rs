//! Iterates over all keys with SCAN, for the modes that examine each key.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::sys::terminal;
use crate::text::words;
use crate::tools::Progress;
use crate::tools::client::{Connection, write_command};

/// The number of SCANs between the pauses of `-i`, for modes that examine keys.
const CALLS_PER_PAUSE: u64 = 100;
/// The number of keys between two progress lines.
const KEYS_PER_LINE: u64 = 1_000_000;

/// An iteration over the keys, and the connection that it shares with its caller.
pub(super) struct Walk {
    connection: Connection,
    /// The arguments of SCAN after the cursor.
    options: Vec<Vec<u8>>,
    /// The next cursor; `None` after the last call.
    cursor: Option<Vec<u8>>,
    calls: u64,
    interval: Duration,
}

impl Walk {
    /// Connects. `--pattern`, `--count` and `--type` select the keys.
    pub(super) fn begin(session: &Session<'_>) -> Result<Walk, Failure> {
        let matches = session.matches;
        let mut options = Vec::new();
        if let Some(pattern) = pattern(session)? {
            options.extend([b"MATCH".to_vec(), pattern]);
        }
        let count = matches.get_one::<i64>("count").copied().unwrap_or(10);
        options.extend([b"COUNT".to_vec(), count.to_string().into_bytes()]);
        if let Some(kind) = matches.get_one::<String>("type") {
            options.extend([b"TYPE".to_vec(), kind.clone().into_bytes()]);
        }
        let connection = Connection::open(session.target)?;
        let interval = session.interval.unwrap_or_default();
        Ok(Walk { connection, options, cursor: Some(b"0".to_vec()), calls: 0, interval })
    }

    /// Returns the keys of the next SCAN, or `None` after the last one or after Ctrl-C.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = self.cursor.take().filter(|_| !terminal::is_interrupted()) else {
            return Ok(None);
        };
        let mut call = vec![b"SCAN".to_vec(), cursor];
        call.extend_from_slice(&self.options);
        let invalid = || Failure::Text("SCAN error: not a cursor with keys".to_string());
        let parts = match self.call(&call)? {
            Value::Array(parts) => parts,
            Value::Error(text) => {
                return Err(Failure::Text(format!("SCAN error: {}", String::from_utf8_lossy(&text))));
            }
            _ => return Err(invalid()),
        };
        let Ok([Value::Bulk(cursor), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
            return Err(invalid());
        };
        self.cursor = Some(cursor).filter(|cursor| cursor != b"0");
        self.calls += 1;
        let key = |value| match value {
            Value::Bulk(key) => Ok(key),
            _ => Err(invalid()),
        };
        keys.into_iter().map(key).collect::<Result<_, _>>().map(Some)
    }

    /// The number of keys in the database.
    pub(super) fn database_size(&mut self) -> Result<u64, Failure> {
        match self.call(&["DBSIZE"])? {
            Value::Integer(keys) => Ok(u64::try_from(keys).unwrap_or(0)),
            Value::Error(text) => {
                let text = String::from_utf8_lossy(&text);
                Err(Failure::Text(format!("Couldn't determine DBSIZE: {text}")))
            }
            _ => Err(Failure::Text("Non INTEGER response from DBSIZE!".to_string())),
        }
    }

    /// Sends commands in one write, and receives the reply to each.
    pub(super) fn pipeline(&mut self, commands: &[Vec<&[u8]>]) -> Result<Vec<Value>, Failure> {
        let mut bytes = Vec::new();
        for command in commands {
            write_command(&mut bytes, command);
        }
        self.connection.send_bytes(&bytes)?;
        commands.iter().map(|_| self.receive()).collect()
    }

    fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, Failure> {
        self.connection.send(words)?;
        self.receive()
    }

    /// Receives the next reply. Ctrl-C ends the wait, so a server that hangs does not hold back the summary.
    fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            match self.connection.receive_or(None)? {
                Ok(reply) => return Ok(reply),
                Err(_) if terminal::is_interrupted() => return Err(Failure::Interrupted),
                Err(_) => {}
            }
        }
    }

    /// Waits for the interval, unless the iteration is over.
    pub(super) fn pause_after_each(&self) {
        if self.cursor.is_some() {
            terminal::pause(self.interval);
        }
    }

    /// Like `pause_after_each`, after every hundredth SCAN.
    pub(super) fn pause_after_many(&self) {
        if self.calls.is_multiple_of(CALLS_PER_PAUSE) {
            self.pause_after_each();
        }
    }
}

/// The bytes of `--pattern` or `--quoted-pattern`.
fn pattern(session: &Session<'_>) -> Result<Option<Vec<u8>>, Failure> {
    let bytes = |name: &str| session.matches.get_one::<OsString>(name).map(|text| text.as_bytes());
    if let Some(quoted) = bytes("quoted-pattern") {
        let words = words::split(quoted);
        let Ok([word]) = words.as_deref() else {
            let text = "Invalid quoted string specified for --quoted-pattern.";
            return Err(Failure::Text(text.to_string()));
        };
        return Ok(Some(word.clone()));
    }
    Ok(bytes("pattern").map(<[u8]>::to_vec))
}

/// The number of keys examined so far, and the approximate total.
pub(super) struct Sampled {
    total: u64,
    keys: u64,
    /// The printed percentage, updated after the keys of each SCAN.
    percent: f64,
    bar: Progress,
}

impl Sampled {
    pub(super) fn new(total: u64) -> Sampled {
        Sampled { total, keys: 0, percent: 0.0, bar: Progress::delayed(total) }
    }

    /// The number of keys counted.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// Updates the printed percentage.
    pub(super) fn refresh(&mut self) {
        self.percent = share(self.keys, self.total);
        self.bar.reach(self.keys);
    }

    /// Counts a key; prints a progress line after each million.
    pub(super) fn count(&mut self) -> Outcome {
        self.keys += 1;
        if self.keys.is_multiple_of(KEYS_PER_LINE) {
            self.print(&format!("Sampled {} keys so far", self.keys))?;
        }
        Ok(())
    }

    /// Prints a line that begins with the percentage.
    pub(super) fn print(&mut self, text: &str) -> Outcome {
        self.bar.clear();
        write_line(&format!("[{:05.2}%] {text}", self.percent))
    }

    /// Begins the summary, after the last key or an interruption.
    pub(super) fn summarize(&mut self) -> Outcome {
        self.bar.clear();
        let share =
            if terminal::is_interrupted() { format!("[{:05.2}%] ", self.percent) } else { String::new() };
        write_line(&format!(
            "\n-------- summary -------\n\n{share}Sampled {} keys in the keyspace!",
            self.keys
        ))
    }
}

/// Returns `part` of `whole` in percent.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}
