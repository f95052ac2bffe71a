//! `--hotkeys`: the keys with the highest access counters, which a server keeps under an LFU policy.

use super::keyspace::{Sampled, Walk};
use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::sys::terminal;
use crate::text::words::quote;
use crate::tools::console::tell;

/// The number of keys that are kept.
const KEPT: usize = 16;

/// Iterates over the keys and prints the most used ones.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    terminal::catch_interrupts()?;
    let mut walk = Walk::begin(session)?;
    let mut sampled = Sampled::new(walk.database_size()?);
    write_line(
        "\n# Scanning the entire keyspace to find hot keys as well as\n\
         # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
         # per 100 SCAN commands (not usually needed).\n",
    )?;
    let mut hottest = Hottest::default();
    match hottest.add_all(&mut walk, &mut sampled) {
        Ok(()) | Err(Failure::Interrupted) => {}
        Err(failure) => return Err(failure),
    }
    sampled.summarize()?;
    for (counter, key) in &hottest.keys {
        write_line(&format!("hot key found with counter: {counter}\tkeyname: {}", quote(key)))?;
    }
    Ok(())
}

/// Returns the counter of each key; 0 for a deleted one.
fn counters(walk: &mut Walk, keys: &[Vec<u8>]) -> Result<Vec<u64>, Failure> {
    let commands: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![&b"OBJECT"[..], &b"FREQ"[..], key]).collect();
    let mut counters = Vec::with_capacity(keys.len());
    for (reply, key) in walk.pipeline(&commands)?.into_iter().zip(keys) {
        counters.push(match reply {
            Value::Integer(counter) => u64::try_from(counter).unwrap_or(0),
            Value::Error(text) => {
                return Err(Failure::Text(format!("Error: {}", String::from_utf8_lossy(&text))));
            }
            _ => {
                tell(format_args!("Warning: OBJECT freq on '{}' failed (may have been deleted)", quote(key)));
                0
            }
        });
    }
    Ok(counters)
}

/// The keys with the highest counters, highest first; equal ones in the order found.
#[derive(Default)]
struct Hottest {
    keys: Vec<(u64, Vec<u8>)>,
}

impl Hottest {
    /// Examines all keys.
    fn add_all(&mut self, walk: &mut Walk, sampled: &mut Sampled) -> Outcome {
        while let Some(keys) = walk.next()? {
            sampled.refresh();
            for (key, counter) in keys.iter().zip(counters(walk, &keys)?) {
                sampled.count()?;
                if self.add(key, counter) {
                    let key = quote(key);
                    sampled.print(&format!("Hot key '{key}' found so far with counter {counter}"))?;
                }
            }
            walk.pause_after_many();
        }
        Ok(())
    }

    /// Keeps the key if its counter is among the highest.
    fn add(&mut self, key: &[u8], counter: u64) -> bool {
        let place = self.keys.partition_point(|(other, _)| *other >= counter);
        if counter == 0 || place == KEPT {
            return false;
        }
        self.keys.truncate(KEPT - 1);
        self.keys.insert(place, (counter, key.to_vec()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_highest_counters_are_kept_and_of_equal_ones_the_first() {
        let mut hottest = Hottest::default();
        assert!(!hottest.add(b"never used", 0));
        for n in 0..20_u64 {
            assert_eq!(hottest.add(format!("a{n}").as_bytes(), 7), n < 16);
        }
        assert!(hottest.add(b"hot", 9));
        assert!(hottest.add(b"warm", 8));
        assert!(!hottest.add(b"cold", 6));
        let names: Vec<_> = hottest.keys.iter().map(|(_, key)| String::from_utf8_lossy(key)).collect();
        assert_eq!((&names[..3], names.len()), (&["hot".into(), "warm".into(), "a0".into()][..], 16));
        assert_eq!(names[15], "a13");
    }
}
