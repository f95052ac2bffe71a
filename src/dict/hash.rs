//! The hash of a key: keyed folded multiplication.
//!
//! Each step multiplies two 64-bit words, masked with secrets, to 128 bits and xors the halves: in five cycles every bit
//! of the input reaches every bit of the output. A key of up to 16 bytes takes two steps, a longer one another step for
//! every 16 bytes. (The step is that of Wang Yi's wyhash; here every mask is secret.)
//!
//! ```text
//!   key ≤ 16 bytes, read as two words a and b that may overlap (so no byte is missed and none is read beyond it)
//!
//!       a ^ s0 ─┐                    ┌─ ^ s2 ─┐
//!               ×──▶ high ^ low ─────┘        ×──▶ high ^ low ──▶ hash
//!       b ^ s1 ─┘                   length ^ s3 ─┘
//! ```
//!
//! **Why not SipHash?** The benchmark `dict` (`hash/*`), nanoseconds until the hash is known, one core (Zen 4, 3.7 GHz):
//!
//! | bytes | 8 | 16 | 24 | 40 | 100 | 1000 |
//! |---|---|---|---|---|---|---|
//! | this | 5.6 | 5.6 | 7.1 | 9.0 | 15.6 | 108 |
//! | SipHash-1-3 | 10.3 | 12.3 | 14.9 | 18.2 | 30.7 | 236 |
//!
//! **Resistance to an attacker** that chooses colliding keys to make lookups slow:
//!
//! * An attacker that only sends keys. All four masks come from 128 bits of the kernel's randomness, drawn by this
//!   process. Any two given keys collide in all 64 bits with a chance of about 2⁻⁶⁴; no set of keys is bad for all seeds,
//!   or for many. The known weakness of the step, a factor of zero that swallows the other word, needs a word equal to
//!   a secret mask: also 2⁻⁶⁴ per try. (Functions with *constant* masks fail here: their bad words can be computed.)
//! * An attacker that also times the replies. It could observe that a lookup read another cache line, which takes about
//!   100 ns, far less than a network's jitter of microseconds, and every eighth lookup does so by chance. Each such bit
//!   must be averaged from thousands of requests, and relates sums of unknown carries. No practical way from there to
//!   the masks is known, but neither is there a proof against one, whereas SipHash is designed as a pseudo-random
//!   function.
//! * An attacker that may send SCAN sees the order of its keys, that is, the low bits of their hashes, exactly. But
//!   a client that may send SCAN may also send KEYS or FLUSHALL, which does more harm with less work.
//!
//! If this assessment changes, only this file has to change: the rest of the server needs no more than 64 well-mixed
//! bits.

use super::key_hasher::SLOT_BITS;
use std::sync::{Mutex, PoisonError};

/// The length of the longest key that is hashed in two steps.
pub(super) const SHORT: usize = 16;

/// The secret of hash tables, without which nobody can predict the place of a key. It is a reference, so that a dict
/// fits a cache line.
#[derive(Clone, Copy)]
pub struct Seed(&'static Secrets);

/// The words of all seeds, so that equal seeds share them.
static SEEDS: Mutex<Vec<&'static Secrets>> = Mutex::new(Vec::new());

/// The words of a seed.
#[derive(Clone, Copy)]
pub(super) struct Secrets {
    words: [u64; 4],
    #[cfg(any(test, fuzzing))]
    plain: bool,
}

impl std::fmt::Debug for Seed {
    /// Shows nothing, so that the secret never appears in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

impl Seed {
    /// A seed from 128 bits of the kernel's randomness (or fixed ones in a test). Its words stay in memory until the
    /// process ends: a server makes a few seeds at its start.
    pub fn new(random: [u64; 2]) -> Self {
        // Four words from two: none can be derived from another without the whole seed, and the last one is never 0.
        let a = fold(random[0] ^ 0x243f_6a88_85a3_08d3, random[1] ^ 0x1319_8a2e_0370_7344);
        let b = fold(random[1] ^ 0xa409_3822_299f_31d0, a ^ 0x082e_fa98_ec4e_6c89);
        let c = fold(random[0] ^ 0x4528_21e6_38d0_1377, b ^ 0xbe54_66cf_34e9_0c6c);
        let d = fold(random[1] ^ 0xc0ac_29b7_c97c_50dd, c ^ 0x3f84_d5b5_b547_0917);
        let words = [a ^ random[0], b ^ random[1], c ^ random[0], (d ^ random[1]) | 1 << 63];
        let mut seeds = SEEDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seeds.iter().find(|known| known.words == words) {
            return Self(known);
        }
        let secrets: &'static Secrets = Box::leak(Box::new(Secrets {
            words,
            #[cfg(any(test, fuzzing))]
            plain: false,
        }));
        seeds.push(secrets);
        Self(secrets)
    }

    /// A seed with which a key's first eight bytes *are* its hash (least significant byte first), for tests that choose
    /// where keys lie.
    #[cfg(any(test, fuzzing))]
    pub const fn plain() -> Self {
        static PLAIN: Secrets = Secrets { words: [0; 4], plain: true };
        Self(&PLAIN)
    }

    /// Returns the hash of `key`; all of its bits may be used.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash(key)
    }

    /// A copy of the words.
    pub(super) const fn secrets(self) -> Secrets {
        *self.0
    }

    /// Whether `hash` is the hash of `key`, with or without a hash slot ([`super::KeyHasher`]).
    #[inline]
    pub(super) fn agrees(self, hash: u64, key: &[u8]) -> bool {
        (self.hash(key) ^ hash) & !SLOT_BITS == 0
    }
}

impl Secrets {
    /// Returns the hash of `key`; all of its bits may be used.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        #[cfg(any(test, fuzzing))]
        if self.plain {
            let mut word = [0; 8];
            let len = key.len().min(8);
            word[..len].copy_from_slice(&key[..len]);
            return u64::from_le_bytes(word);
        }
        if key.len() <= SHORT { self.hash_short(key) } else { self.hash_long(key) }
    }

    /// The hash of a key of at most [`SHORT`] bytes.
    #[inline]
    pub(super) fn hash_short(&self, key: &[u8]) -> u64 {
        let (a, b) = ends(key);
        self.finish(a, b, self.words[1], key.len())
    }

    /// The hash of a longer key.
    #[inline]
    pub(super) fn hash_long(&self, key: &[u8]) -> u64 {
        // All but the last 1 to 16 bytes in steps of sixteen; the last step reads the sixteen bytes that end the key.
        let [_, s1, s2, _] = self.words;
        let mut acc = s1;
        let mut rest = key;
        while let Some((chunk, more)) = rest.split_first_chunk::<16>() {
            if more.is_empty() {
                break;
            }
            acc = fold(word(chunk, 0) ^ s2, word(chunk, 8) ^ acc);
            rest = more;
        }
        let len = key.len();
        self.finish(word(key, len - 16), word(key, len - 8), acc, len)
    }

    /// The last two steps.
    #[inline]
    fn finish(&self, a: u64, b: u64, state: u64, len: usize) -> u64 {
        let [s0, _, s2, s3] = self.words;
        fold(fold(a ^ s0, b ^ state) ^ s2, s3 ^ len as u64)
    }
}

/// Two words that contain every byte of a key of at most 16 bytes.
#[inline]
fn ends(key: &[u8]) -> (u64, u64) {
    let len = key.len();
    if len >= 8 {
        (word(key, 0), word(key, len - 8))
    } else if len >= 4 {
        (u64::from(half(key, 0)), u64::from(half(key, len - 4)))
    } else if len > 0 {
        (u64::from(key[0]) << 16 | u64::from(key[len / 2]) << 8 | u64::from(key[len - 1]), 0)
    } else {
        (0, 0)
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[inline]
fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Xors the halves of the 128-bit product of two words.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn equal_keys_have_equal_hashes_and_the_seed_matters() {
        let (one, two) = (Seed::new([1, 2]), Seed::new([1, 3]));
        for len in 0..100 {
            let key = vec![b'k'; len];
            assert_eq!(one.hash(&key), one.hash(&key.clone()));
            assert_ne!(one.hash(&key), two.hash(&key), "length {len}");
        }
    }

    #[test]
    fn keys_that_differ_in_one_bit_or_in_length_have_different_hashes() {
        let seed = Seed::new([0x0123_4567_89ab_cdef, 42]);
        let mut seen = HashSet::new();
        for len in 0..80 {
            let key = vec![0; len];
            assert!(seen.insert(seed.hash(&key)), "zeros of length {len}");
            for bit in 0..len * 8 {
                let mut flipped = key.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(seed.hash(&flipped)), "bit {bit} of {len} bytes");
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_the_key_flips_each_bit_of_the_hash_half_the_time() {
        const KEYS: u64 = 4096;
        for len in [1, 3, 4, 7, 8, 12, 16, 17, 32, 33, 48] {
            let seed = Seed::new([7, len as u64]);
            for flip in [0, 5, len * 4, len * 8 - 1] {
                let mut flips = [0_u32; 64];
                for n in 0..KEYS {
                    let mut key: Vec<u8> = (0..len).map(|i| (n >> (i % 8 * 8)) as u8 ^ i as u8).collect();
                    let before = Seed::new([n, 7]).hash(&key);
                    key[flip / 8] ^= 1 << (flip % 8);
                    let change = before ^ Seed::new([n, 7]).hash(&key);
                    for (bit, count) in flips.iter_mut().enumerate() {
                        *count += (change >> bit & 1) as u32;
                    }
                }
                // Half of 4,096 has a standard deviation of 32: five of them.
                for (bit, &count) in flips.iter().enumerate() {
                    assert!(
                        (2048 - 176..=2048 + 176).contains(&count),
                        "{len} bytes, key bit {flip}, {bit}: {count}"
                    );
                }
                let _ = seed;
            }
        }
    }

    #[test]
    fn numbered_keys_fill_buckets_and_tags_evenly() {
        let seed = Seed::new([3, 4]);
        let mut buckets = vec![0_u32; 1 << 12];
        let mut tags = [0_u32; 128];
        let keys = 1 << 18;
        for n in 0..keys {
            let hash = seed.hash(format!("key:{n:012}").as_bytes());
            buckets[hash as usize & 0xfff] += 1;
            tags[(hash >> 57) as usize] += 1;
        }
        // Chi-square: mean = degrees of freedom, variance twice that; five standard deviations.
        let chi = |counts: &[u32]| {
            let mean = f64::from(keys) / counts.len() as f64;
            let sum: f64 = counts.iter().map(|&c| (f64::from(c) - mean).powi(2) / mean).sum();
            let freedom = counts.len() as f64 - 1.0;
            (sum - freedom).abs() / (2.0 * freedom).sqrt()
        };
        assert!(chi(&buckets) < 5.0, "buckets: {}", chi(&buckets));
        assert!(chi(&tags) < 5.0, "tags: {}", chi(&tags));
    }
}
