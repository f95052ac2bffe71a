//! `--lru-test`: a cache under load, to find the share of its requests that a server with `maxmemory` can serve.
//!
//! Keys are numbered. Of 1,000 keys, those with low numbers are requested far more often, by a power law under which
//! about 20 % of the keys get 80 % of the requests. Batches of SET fill the cache, batches of GET count hits and
//! misses.

use std::time::{Duration, Instant};

use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::sys::clock;
use crate::tools::client::{Connection, write_command};

/// The number of commands in a batch.
const BATCH: u64 = 250;
/// The exponent of the power law.
const ALPHA: f64 = 6.2;
/// The time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints one line per second, forever.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let keys = session.matches.get_one::<u64>("lru-test").copied().unwrap_or(1).max(1);
    let mut connection = Connection::open(session.target)?;
    let mut random = Random(clock::wall_us() | 1);
    loop {
        let started = Instant::now();
        let (mut hits, mut misses) = (0_u64, 0_u64);
        while started.elapsed() < INTERVAL {
            batch(&mut connection, || vec![b"SET".to_vec(), random.key(keys), random.value()])?;
            for reply in batch(&mut connection, || vec![b"GET".to_vec(), random.key(keys)])? {
                if reply == Value::Null { misses += 1 } else { hits += 1 }
            }
        }
        let gets = hits + misses;
        let share = |part: u64| part as f64 / gets as f64 * 100.0;
        write_line(&format!(
            "{gets} Gets/sec | Hits: {hits} ({:.2}%) | Misses: {misses} ({:.2}%)",
            share(hits),
            share(misses)
        ))?;
    }
}

/// Sends a batch and receives its replies. The first error ends the test.
fn batch(
    connection: &mut Connection,
    mut command: impl FnMut() -> Vec<Vec<u8>>,
) -> Result<Vec<Value>, Failure> {
    let mut bytes = Vec::new();
    for _ in 0..BATCH {
        write_command(&mut bytes, &command());
    }
    connection.send_bytes(&bytes)?;
    let mut replies = Vec::new();
    for _ in 0..BATCH {
        match connection.receive()? {
            Value::Error(text) => return Err(Failure::Text(String::from_utf8_lossy(&text).into_owned())),
            reply => replies.push(reply),
        }
    }
    Ok(replies)
}

/// A generator of 64-bit numbers (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number from 0 up to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns the name of one of `keys` keys. Its number follows a power law, drawn by inverting the law's integral
    /// and counted from the top, so that low numbers are the frequent ones.
    fn key(&mut self, keys: u64) -> Vec<u8> {
        let top = (keys as f64).powf(ALPHA + 1.0);
        let drawn = ((top - 1.0) * self.fraction() + 1.0).powf(1.0 / (ALPHA + 1.0));
        format!("lru:{}", keys.saturating_sub(drawn as u64).saturating_add(1)).into_bytes()
    }

    /// Returns five random characters.
    fn value(&mut self) -> Vec<u8> {
        (0..5).map(|_| b'A' + (self.next() % 58) as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_keys_gets_about_four_fifths_of_the_requests() {
        let mut random = Random(1);
        let draws: Vec<u64> =
            (0..20_000).map(|_| String::from_utf8(random.key(1000)).unwrap()[4..].parse().unwrap()).collect();
        assert!(draws.iter().all(|number| (1..=1000).contains(number)));
        let low = draws.iter().filter(|number| **number <= 200).count();
        assert!((15_000..17_000).contains(&low), "{low} of 20,000");
    }
}
