//! `--bigkeys` and `--memkeys`: the largest key of each type, by elements or by bytes, and the number of keys.
//!
//! For the keys of each SCAN, one pipeline requests the types and a second one the sizes.

use super::keyspace::{Sampled, Walk, share};
use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::sys::terminal;
use crate::text::words::quote;
use crate::tools::console::tell;

/// The totals of the keys of one type.
struct Kind {
    name: String,
    /// The command that counts a key's elements; `None` for a type that is not Redis' own.
    size_command: Option<&'static str>,
    /// The unit of the size.
    unit: &'static str,
    keys: u64,
    total: u64,
    biggest: u64,
    biggest_key: String,
}

impl Kind {
    fn new(name: &str, size_command: Option<&'static str>, unit: &'static str) -> Kind {
        let name = name.to_string();
        Kind { name, size_command, unit, keys: 0, total: 0, biggest: 0, biggest_key: String::new() }
    }
}

/// Returns Redis' types, in the order of the summary. Other types are appended when they first occur.
fn known_kinds() -> Vec<Kind> {
    vec![
        Kind::new("list", Some("LLEN"), "items"),
        Kind::new("hash", Some("HLEN"), "fields"),
        Kind::new("string", Some("STRLEN"), "bytes"),
        Kind::new("stream", Some("XLEN"), "entries"),
        Kind::new("set", Some("SCARD"), "members"),
        Kind::new("zset", Some("ZCARD"), "members"),
    ]
}

/// How to measure the size of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Elements,
    /// By a number of sampled elements, or by the server's default number.
    Memory(Option<u64>),
}

/// `--bigkeys`.
pub(super) fn elements(session: &Session<'_>) -> Outcome {
    report(session, Measure::Elements)
}

/// `--memkeys` and `--memkeys-samples`.
pub(super) fn memory(session: &Session<'_>) -> Outcome {
    let samples = session.matches.get_one::<u64>("memkeys-samples").copied();
    report(session, Measure::Memory(samples.filter(|&samples| samples > 0)))
}

fn report(session: &Session<'_>, measure: Measure) -> Outcome {
    terminal::catch_interrupts()?;
    let mut walk = Walk::begin(session)?;
    let mut sampled = Sampled::new(walk.database_size()?);
    write_line(
        "\n# Scanning the entire keyspace to find biggest keys as well as\n\
         # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
         # per 100 SCAN commands (not usually needed).\n",
    )?;
    let mut survey = Survey { kinds: known_kinds(), measure, key_bytes: 0 };
    match survey.add_all(&mut walk, &mut sampled) {
        Ok(()) | Err(Failure::Interrupted) => {}
        Err(failure) => return Err(failure),
    }
    sampled.summarize()?;
    survey.summarize(sampled.keys())
}

/// The results for the keys examined so far.
struct Survey {
    kinds: Vec<Kind>,
    measure: Measure,
    /// The total length of all keys' names.
    key_bytes: u64,
}

impl Survey {
    fn add_all(&mut self, walk: &mut Walk, sampled: &mut Sampled) -> Outcome {
        while let Some(keys) = walk.next()? {
            sampled.refresh();
            self.add(walk, sampled, &keys)?;
            walk.pause_after_many();
        }
        Ok(())
    }

    /// Examines keys.
    fn add(&mut self, walk: &mut Walk, sampled: &mut Sampled, keys: &[Vec<u8>]) -> Outcome {
        let kinds = self.kinds_of(walk, keys)?;
        let sizes = self.sizes_of(walk, keys, &kinds)?;
        for ((key, kind), size) in keys.iter().zip(kinds).zip(sizes) {
            let Some(kind) = kind else { continue };
            let unit = self.unit(kind);
            let kind = &mut self.kinds[kind];
            kind.keys += 1;
            kind.total += size;
            self.key_bytes += key.len() as u64;
            sampled.count()?;
            if size > kind.biggest {
                kind.biggest = size;
                kind.biggest_key = quote(key);
                let (name, key) = (&kind.name, &kind.biggest_key);
                sampled.print(&format!("Biggest {name:<6} found so far '{key}' with {size} {unit}"))?;
            }
        }
        Ok(())
    }

    /// Returns the kind of each key, as an index into `kinds`; `None` for a deleted key.
    fn kinds_of(&mut self, walk: &mut Walk, keys: &[Vec<u8>]) -> Result<Vec<Option<usize>>, Failure> {
        let commands: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![&b"TYPE"[..], key]).collect();
        let mut kinds = Vec::with_capacity(keys.len());
        for (reply, key) in walk.pipeline(&commands)?.into_iter().zip(keys) {
            let name = match &reply {
                Value::Simple(name) => String::from_utf8_lossy(name),
                Value::Error(text) => {
                    let text = String::from_utf8_lossy(text);
                    return Err(Failure::Text(format!("TYPE error: {text}")));
                }
                _ => {
                    let text = format!("Invalid reply type for TYPE on key {}!", quote(key));
                    return Err(Failure::Text(text));
                }
            };
            kinds.push(match self.kinds.iter().position(|kind| kind.name == name) {
                Some(kind) => Some(kind),
                None if name == "none" => None,
                None => {
                    self.kinds.push(Kind::new(&name, None, "?"));
                    Some(self.kinds.len() - 1)
                }
            });
        }
        Ok(kinds)
    }

    /// Returns the size of each key; 0 for keys without one.
    fn sizes_of(
        &self,
        walk: &mut Walk,
        keys: &[Vec<u8>],
        kinds: &[Option<usize>],
    ) -> Result<Vec<u64>, Failure> {
        let samples = match self.measure {
            Measure::Memory(Some(samples)) => samples.to_string(),
            _ => String::new(),
        };
        let mut commands: Vec<Vec<&[u8]>> = Vec::with_capacity(keys.len());
        let mut measured = Vec::with_capacity(keys.len());
        for (at, (key, kind)) in keys.iter().zip(kinds).enumerate() {
            let Some(kind) = kind else { continue };
            let command = match (self.measure, self.kinds[*kind].size_command) {
                (Measure::Memory(None), _) => vec![&b"MEMORY"[..], b"USAGE", key],
                (Measure::Memory(Some(_)), _) => {
                    vec![&b"MEMORY"[..], b"USAGE", key, b"SAMPLES", samples.as_bytes()]
                }
                (Measure::Elements, Some(command)) => vec![command.as_bytes(), key],
                (Measure::Elements, None) => continue,
            };
            commands.push(command);
            measured.push(at);
        }
        let mut sizes = vec![0; keys.len()];
        for ((at, command), reply) in measured.into_iter().zip(&commands).zip(walk.pipeline(&commands)?) {
            if let Value::Integer(size) = reply {
                sizes[at] = u64::try_from(size).unwrap_or(0);
            } else {
                let name = if self.measure == Measure::Elements { command[0] } else { b"MEMORY USAGE" };
                let (name, key) = (String::from_utf8_lossy(name), String::from_utf8_lossy(&keys[at]));
                tell(format_args!("Warning:  {name} on '{key}' failed (may have changed type)"));
            }
        }
        Ok(sizes)
    }

    fn unit(&self, kind: usize) -> &'static str {
        if self.measure == Measure::Elements { self.kinds[kind].unit } else { "bytes" }
    }

    fn summarize(&self, sampled: u64) -> Outcome {
        let average = |total: u64, count: u64| if count == 0 { 0.0 } else { total as f64 / count as f64 };
        let bytes = self.key_bytes;
        write_line(&format!(
            "Total key length in bytes is {bytes} (avg len {:.2})\n",
            average(bytes, sampled)
        ))?;
        for (at, kind) in self.kinds.iter().enumerate().filter(|(_, kind)| !kind.biggest_key.is_empty()) {
            let Kind { name, biggest, biggest_key, .. } = kind;
            write_line(&format!("Biggest {name:>6} found '{biggest_key}' has {biggest} {}", self.unit(at)))?;
        }
        write_line("")?;
        for (at, kind) in self.kinds.iter().enumerate() {
            let Kind { name, keys, total, .. } = kind;
            write_line(&format!(
                "{keys} {name}s with {total} {} ({:05.2}% of keys, avg size {:.2})",
                self.unit(at),
                share(*keys, sampled),
                average(*total, *keys)
            ))?;
        }
        Ok(())
    }
}
