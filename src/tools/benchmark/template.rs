//! Requests, prepared once: only the parts that change between requests are rewritten, in place.
//!
//! A template is the bytes of one request and the positions of its random numbers, twelve digits each. [`Requests`]
//! holds one copy of it per request of a batch, so a batch is ready to send once its digits are written.
//!
//! Number `i` of a run depends only on the seed and on `i` (the output function of SplitMix64 applied to a counter). So
//! the same seed gives the same requests, whichever connections and threads send them and when.

use crate::tools::client::write_command;

/// The placeholder for a random number in an argument.
pub const RANDOM_NUMBER: &[u8] = b"__rand_int__";
/// The placeholder for a value of the size given by `-d`.
pub const DATA: &str = "__data__";
/// The digits of a random number: as many as its placeholder has characters, so that lengths stay the same.
const DIGITS: usize = RANDOM_NUMBER.len();
/// The largest range of random numbers, from 0, that fits in the digits.
pub const LARGEST_RANGE: u64 = 10u64.pow(DIGITS as u32);

/// One request and the positions of its random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The request as it is sent.
    pub bytes: Vec<u8>,
    /// Where to write twelve digits.
    places: Vec<usize>,
}

impl Template {
    /// Encodes a request with these words.
    pub fn of_words<W: AsRef<[u8]>>(words: &[W]) -> Template {
        let mut bytes = Vec::new();
        write_command(&mut bytes, words);
        Template::of_bytes(bytes)
    }

    /// A request that is sent as exactly these bytes.
    pub fn of_bytes(bytes: Vec<u8>) -> Template {
        let places = memchr::memmem::find_iter(&bytes, RANDOM_NUMBER).collect();
        Template { bytes, places }
    }
}

/// The batch under construction.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Copies of the template, one after the other.
    bytes: Vec<u8>,
    len: usize,
    places: Vec<usize>,
    /// The upper bound of random numbers, exclusive; `None` keeps the placeholders, as redis-benchmark does without
    /// `-r`.
    range: Option<u64>,
    seed: u64,
}

impl Requests {
    /// Creates a buffer for batches of up to `batch` requests, with random numbers below `range`.
    pub fn new(template: &Template, batch: usize, range: Option<u64>, seed: u64) -> Requests {
        Requests {
            bytes: template.bytes.repeat(batch),
            len: template.bytes.len(),
            places: template.places.clone(),
            range,
            seed: mixed(seed),
        }
    }

    /// Writes the requests `first`, `first + 1`, … and returns the bytes of `count` of them.
    #[inline]
    pub fn batch(&mut self, first: u64, count: usize) -> &[u8] {
        let bytes = &mut self.bytes[..self.len * count];
        if let Some(range) = self.range {
            let mut number = first.wrapping_mul(self.places.len() as u64);
            for request in bytes.chunks_exact_mut(self.len) {
                for &place in &self.places {
                    let random = mixed(self.seed.wrapping_add(number.wrapping_mul(STEP)));
                    write_digits(&mut request[place..place + DIGITS], below(random, range));
                    number = number.wrapping_add(1);
                }
            }
        }
        bytes
    }
}

/// The increment of SplitMix64: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[inline]
pub fn mixed(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Scales `random` to a number below `range`, as evenly spread as `random` is.
#[inline]
fn below(random: u64, range: u64) -> u64 {
    ((u128::from(random) * u128::from(range)) >> 64) as u64
}

/// Writes `value` with leading zeros into all of `at`.
#[inline]
fn write_digits(at: &mut [u8], mut value: u64) {
    for pair in at.rchunks_exact_mut(2) {
        let two = (value % 100) as u8;
        value /= 100;
        pair.copy_from_slice(&[b'0' + two / 10, b'0' + two % 10]);
    }
}

/// Generates a value of `size` letters and digits, the same for the same seed.
pub fn data(size: usize, seed: u64) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letter = |index: usize| LETTERS[below(mixed(seed ^ index as u64), LETTERS.len() as u64) as usize];
    (0..size).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn every_mark_becomes_twelve_digits_within_the_range() {
        let template = Template::of_words(&["MSET", "key:__rand_int__", "v", "__rand_int__", "w"]);
        let mut requests = Requests::new(&template, 3, Some(1000), 1);
        let mut seen = std::collections::HashSet::new();
        for batch in 0..100 {
            let bytes = text(requests.batch(batch * 3, 3));
            assert_eq!(bytes.len(), template.bytes.len() * 3);
            for request in bytes.split("*5\r\n").skip(1) {
                let words: Vec<&str> = request.split("\r\n").collect();
                assert_eq!((words[1], words[2], words[6]), ("MSET", "$16", "$12"));
                for digits in [&words[3][4..], words[7]] {
                    assert_eq!(digits.len(), 12);
                    let number: u64 = digits.parse().unwrap();
                    assert!(number < 1000);
                    seen.insert(number);
                }
            }
        }
        // 600 draws of 1,000 numbers are expected to give about 451 different ones.
        assert!((380..520).contains(&seen.len()), "{} different numbers", seen.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_requests_in_batches_of_any_size() {
        let template = Template::of_words(&["SET", "key:__rand_int__", "__rand_int__"]);
        let all = |seed: u64, size: usize| -> Vec<u8> {
            let mut requests = Requests::new(&template, size, Some(1 << 40), seed);
            (0..60).step_by(size).flat_map(|first| requests.batch(first as u64, size).to_vec()).collect()
        };
        assert_eq!(all(7, 1), all(7, 20));
        assert_eq!(all(7, 6), all(7, 15));
        assert_ne!(all(7, 1), all(8, 1));
    }

    #[test]
    fn without_a_range_the_marks_stay() {
        let template = Template::of_words(&["GET", "key:__rand_int__"]);
        let mut requests = Requests::new(&template, 2, None, 1);
        assert_eq!(text(requests.batch(0, 1)), "*2\r\n$3\r\nGET\r\n$16\r\nkey:__rand_int__\r\n");
    }

    #[test]
    fn the_largest_range_fills_all_digits() {
        let mut digits = [b'x'; DIGITS];
        write_digits(&mut digits, LARGEST_RANGE - 1);
        assert_eq!(&digits, b"999999999999");
        write_digits(&mut digits, 42);
        assert_eq!(&digits, b"000000000042");
        assert_eq!(below(u64::MAX, LARGEST_RANGE), LARGEST_RANGE - 1);
    }

    #[test]
    fn data_has_its_size_and_depends_on_the_seed_alone() {
        assert_eq!(data(1000, 3), data(1000, 3));
        assert_ne!(data(1000, 3), data(1000, 4));
        assert_eq!(data(0, 3), b"");
        assert!(data(1000, 3).iter().all(u8::is_ascii_alphanumeric));
    }
}
