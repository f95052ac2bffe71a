//! The source of samples: a connection that sends one pipeline per interval, of INFO and, if it is shown, SLOWLOG.
//!
//! CONFIG GET reads settings that are not in INFO, on a new connection and rarely afterwards. The server may reject
//! everything but INFO (by an ACL, or as a service without the command) without ending the view.

use std::time::{Duration, Instant};

use super::sample::{SECTIONS, Sample};
use crate::resp::Value;
use crate::tools::client::{Connection, Error, Target, write_command};

/// How long settings are reused before they are read again.
const SETTINGS_AGE: Duration = Duration::from_secs(30);
/// The directives to read; one per command, since before 7.0 CONFIG GET takes only one.
const SETTINGS: [&str; 3] = ["appendfsync", "save", "slowlog-log-slower-than"];
/// The last second of the year 9999, the latest accepted time.
const LATEST_S: u64 = 253_402_300_799;
/// The name of the connection in CLIENT LIST.
const CLIENT_NAME: &str = "redstart-top";

/// The replies to one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Poll {
    /// INFO.
    pub sample: Sample,
    /// The slow log, newest first.
    pub slow: Vec<Slow>,
    /// Why the slow log is unavailable.
    pub slow_refused: Option<String>,
    /// How long the replies took.
    pub waited: Duration,
    /// Directives; empty if unknown.
    pub settings: Settings,
}

/// An entry of the slow log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slow {
    pub id: i64,
    /// When it was executed, in Unix seconds.
    pub at_s: u64,
    pub usec: u64,
    pub words: Vec<Vec<u8>>,
    /// The client's address, and its name.
    pub client: String,
    pub name: String,
}

/// Directives, in the order of [`SETTINGS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub appendfsync: String,
    pub save: String,
    pub slower_than_us: Option<i64>,
}

/// Why there is no sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The message for the user.
    pub text: String,
    /// Whether the server is reachable but busy, loading its data or executing a script, and will have a sample later.
    pub busy: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { text: error.to_string(), busy: false }
    }
}

/// A server that is polled, with a connection made on demand.
#[derive(Debug)]
pub struct Source {
    target: Target,
    connection: Option<Connection>,
    /// The moment that samples are relative to.
    began: Instant,
    settings: Settings,
    settings_from: Option<Instant>,
    /// Whether INFO takes only one section.
    old: bool,
}

impl Source {
    /// Creates a source that is not connected yet.
    pub fn new(target: Target) -> Source {
        Source {
            target,
            connection: None,
            began: Instant::now(),
            settings: Settings::default(),
            settings_from: None,
            old: false,
        }
    }

    /// Returns a sample and the last `slow` entries of the slow log (0: does not request it). Connects if necessary;
    /// drops the connection after an error on it, so that the next call reconnects.
    pub fn poll(&mut self, slow: usize) -> Result<Poll, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let outcome = self.ask(&mut connection, slow);
        if outcome.is_ok() {
            self.connection = Some(connection);
        }
        outcome?
    }

    fn connect(&mut self) -> Result<Connection, Failure> {
        let mut connection = Connection::open(&self.target)?;
        // The server would reject the long commands that follow without authentication, and close the connection.
        match connection.call(&["CLIENT", "SETNAME", CLIENT_NAME])? {
            Value::Error(text) if text.starts_with(b"NOAUTH") => return Err(refusal(&text)),
            _ => {}
        }
        self.settings_from = None;
        self.old = false;
        Ok(connection)
    }

    /// Sends the requests. The outer error is the connection's, the inner one an error reply.
    fn ask(&mut self, connection: &mut Connection, slow: usize) -> Result<Result<Poll, Failure>, Failure> {
        let settings_due = self.settings_from.is_none_or(|asked| asked.elapsed() >= SETTINGS_AGE);
        let mut bytes = Vec::new();
        let sections: &[&str] = if self.old { &["everything"] } else { &SECTIONS };
        let info: Vec<&str> = std::iter::once("INFO").chain(sections.iter().copied()).collect();
        write_command(&mut bytes, &info);
        if slow > 0 {
            write_command(&mut bytes, &["SLOWLOG", "GET", &slow.to_string()]);
        }
        for name in SETTINGS.iter().filter(|_| settings_due) {
            write_command(&mut bytes, &["CONFIG", "GET", name]);
        }
        let asked = Instant::now();
        connection.send_bytes(&bytes)?;
        let info = connection.receive()?;
        let (waited, at) = (asked.elapsed(), self.began.elapsed());
        let slow_log = if slow > 0 { connection.receive()? } else { Value::Null };
        if settings_due {
            let mut values = Vec::new();
            for _ in SETTINGS {
                values.push(setting(&connection.receive()?));
            }
            self.learn(values);
        }
        let text = match info {
            Value::Error(text) if text.starts_with(b"ERR ") && !self.old => {
                self.old = true;
                return self.ask(connection, slow);
            }
            Value::Error(text) => return Ok(Err(refusal(&text))),
            other => String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into_owned(),
        };
        let sample = Sample::parse(&text, at);
        let (slow, slow_refused) = match slow_entries(slow_log) {
            Ok(entries) => (entries, None),
            Err(text) => (Vec::new(), Some(text)),
        };
        Ok(Ok(Poll { sample, slow, slow_refused, waited, settings: self.settings.clone() }))
    }

    fn learn(&mut self, values: Vec<Option<String>>) {
        self.settings_from = Some(Instant::now());
        let mut values = values.into_iter();
        let mut next = || values.next().flatten().unwrap_or_default();
        self.settings = Settings { appendfsync: next(), save: next(), slower_than_us: next().parse().ok() };
    }
}

fn refusal(text: &[u8]) -> Failure {
    let busy = [&b"BUSY "[..], b"LOADING "].iter().any(|code| text.starts_with(code));
    Failure { text: String::from_utf8_lossy(text).into_owned(), busy }
}

/// Returns the value in a reply to CONFIG GET.
fn setting(reply: &Value) -> Option<String> {
    match reply {
        Value::Array(words) => {
            let value = words.get(1).and_then(Value::as_bytes)?;
            Some(String::from_utf8_lossy(value).into_owned())
        }
        _ => None,
    }
}

fn slow_entries(reply: Value) -> Result<Vec<Slow>, String> {
    match reply {
        Value::Array(entries) => Ok(entries.into_iter().filter_map(slow_entry).collect()),
        Value::Error(text) => Err(String::from_utf8_lossy(&text).into_owned()),
        _ => Ok(Vec::new()),
    }
}

/// Parses an entry: id, time, microseconds, words, and since 4.0 the client's address and name.
fn slow_entry(entry: Value) -> Option<Slow> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let mut number = || match parts.next() {
        Some(Value::Integer(number)) => Some(number),
        _ => None,
    };
    let (id, at_s, usec) = (number()?, number()?, number()?);
    let Some(Value::Array(words)) = parts.next() else { return None };
    let mut text =
        || parts.next().and_then(|part| part.as_bytes().map(|b| String::from_utf8_lossy(b).into_owned()));
    Some(Slow {
        id,
        at_s: u64::try_from(at_s).unwrap_or(0).min(LATEST_S),
        usec: u64::try_from(usec).unwrap_or(0),
        words: words.iter().filter_map(|word| word.as_bytes().map(<[u8]>::to_vec)).collect(),
        client: text().unwrap_or_default(),
        name: text().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn an_entry_of_the_slow_log_is_read_with_and_without_its_client() {
        let numbers = [Value::Integer(7), Value::Integer(1_700_000_000), Value::Integer(12_345)];
        let mut parts = numbers.to_vec();
        parts.push(Value::Array(vec![bulk("keys"), bulk("*")]));
        let old = slow_entries(Value::Array(vec![Value::Array(parts.clone())])).unwrap();
        assert_eq!((old[0].id, old[0].usec, old[0].client.as_str()), (7, 12_345, ""));
        parts.extend([bulk("127.0.0.1:5000"), bulk("worker")]);
        let new = slow_entries(Value::Array(vec![Value::Array(parts)])).unwrap();
        assert_eq!(new[0].words, [b"keys".to_vec(), b"*".to_vec()]);
        assert_eq!((new[0].client.as_str(), new[0].name.as_str()), ("127.0.0.1:5000", "worker"));
    }

    #[test]
    fn what_is_not_an_entry_is_left_out_and_an_error_is_kept() {
        let odd = Value::Array(vec![Value::Null, Value::Array(vec![bulk("x")])]);
        assert_eq!(slow_entries(odd).unwrap(), []);
        let error = slow_entries(Value::Error(b"NOPERM no".to_vec()));
        assert_eq!(error.unwrap_err(), "NOPERM no");
    }

    /// Simulates a server: waits for each text to arrive, then sends the corresponding reply.
    fn play(scene: Vec<(&'static str, String)>) -> (Target, std::thread::JoinHandle<()>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut received, mut room) = (String::new(), [0; 4096]);
            for (wanted, reply) in scene {
                while !received.contains(wanted) {
                    let count = stream.read(&mut room).unwrap();
                    assert!(count > 0, "closed before {wanted}: {received}");
                    received.push_str(std::str::from_utf8(&room[..count]).unwrap());
                }
                received.clear();
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        let address = crate::tools::client::Address::Tcp("127.0.0.1".to_string(), port);
        (Target { address, ..Target::default() }, server)
    }

    #[test]
    fn a_server_from_before_7_0_is_asked_for_everything() {
        let info = "redis_version:6.2.14\r\nmaxclients:100\r\n";
        let settings = "*2\r\n$11\r\nappendfsync\r\n$2\r\nno\r\n*0\r\n-NOPERM\r\n";
        let (target, server) = play(vec![
            ("redstart-top", "+OK\r\n".to_string()),
            ("slowlog-log-slower-than", format!("-ERR syntax error\r\n-NOPERM slowlog\r\n{settings}")),
            ("$10\r\neverything\r\n*3", format!("${}\r\n{info}\r\n*0\r\n", info.len())),
        ]);
        let poll = Source::new(target).poll(8).unwrap();
        assert_eq!((poll.sample.server.version.as_str(), poll.sample.clients.limit), ("6.2.14", Some(100)));
        assert_eq!(poll.settings, Settings { appendfsync: "no".to_string(), ..Settings::default() });
        assert!(poll.slow.is_empty());
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_is_busy_or_loads_is_asked_again_later() {
        assert!(refusal(b"BUSY Redis is busy running a script.").busy);
        assert!(refusal(b"LOADING Redis is loading the dataset in memory").busy);
        assert!(!refusal(b"NOAUTH Authentication required.").busy);
    }
}
