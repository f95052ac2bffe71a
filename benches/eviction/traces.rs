//! The traces: requests to a cache, generated from a seed.
//!
//! | trace | property |
//! |---|---|
//! | Zipf 0.7, 0.9, 1.0, 1.2 | constant popularity: only frequency matters |
//! | Zipf 0.9, mixed sizes | the same with values of 10 B to 4 KB, with sizes independent of popularity |
//! | Zipf 0.9 and scans | a fifth of the requests scan keys that are not requested again for a long time |
//! | shifting Zipf | popular keys lose their rank, one after the other: old frequencies mislead |
//! | loop | one key after the other, more than fit: the worst case for LRU |
//!
//! A key is its number; a trace takes four bytes a request.

use super::random::{Alias, Random, mix};

/// Keys of the Zipf traces.
pub const KEYS: u32 = 1_000_000;

/// The skew of the traces that combine Zipf with something else.
const SKEW: f64 = 0.9;

/// Requests between two scans, and requests of a scan.
const BETWEEN_SCANS: usize = 40_000;
const SCAN: usize = 10_000;

/// Requests between two changes of the popularities of a shifting trace.
const BETWEEN_SHIFTS: usize = 20;

/// The ranks that are exchanged in a shifting trace.
const HOT_RANKS: u32 = 200_000;

/// Keys of the loop.
const LOOP_KEYS: u32 = 250_000;

/// The lengths of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All values have this length.
    Fixed(usize),
    /// From `least` to `most`, evenly on a logarithmic scale; a key's value always has the same length.
    Mixed {
        /// The shortest value.
        least: usize,
        /// The longest.
        most: usize,
    },
}

impl Sizes {
    /// The length of the value of `key`.
    pub fn of(self, key: u32) -> usize {
        match self {
            Self::Fixed(len) => len,
            Self::Mixed { least, most } => {
                let unit = (mix(u64::from(key) + 1) >> 11) as f64 / (1_u64 << 53) as f64;
                ((least as f64) * (most as f64 / least as f64).powf(unit)) as usize
            }
        }
    }

    /// The length of the longest value.
    pub fn most(self) -> usize {
        match self {
            Self::Fixed(len) | Self::Mixed { most: len, .. } => len,
        }
    }
}

/// The distribution of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Zipf(f64),
    Scanned,
    Shifting,
    Loop,
}

/// A trace that can be generated.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name in tables.
    pub name: &'static str,
    /// The lengths of its values.
    pub sizes: Sizes,
    /// `maxmemory` for it, in units of 1,000,000 bytes: less than the memory of all requested keys.
    pub megabytes: usize,
    shape: Shape,
}

/// A trace.
#[derive(Debug)]
pub struct Trace {
    /// Keys in the order of the requests.
    pub requests: Vec<u32>,
    /// All keys are below this.
    pub keys: u32,
}

const fn recipe(name: &'static str, shape: Shape) -> Recipe {
    Recipe { name, sizes: Sizes::Fixed(100), megabytes: 24, shape }
}

/// All traces.
pub const RECIPES: [Recipe; 8] = [
    recipe("Zipf 0.7", Shape::Zipf(0.7)),
    recipe("Zipf 0.9", Shape::Zipf(0.9)),
    recipe("Zipf 1.0", Shape::Zipf(1.0)),
    // Few keys are requested at this skew, so with more bytes all of them would fit.
    Recipe { megabytes: 10, ..recipe("Zipf 1.2", Shape::Zipf(1.2)) },
    Recipe {
        sizes: Sizes::Mixed { least: 10, most: 4096 },
        megabytes: 100,
        ..recipe("Zipf 0.9, mixed sizes", Shape::Zipf(SKEW))
    },
    recipe("Zipf 0.9 and scans", Shape::Scanned),
    recipe("shifting Zipf 0.9", Shape::Shifting),
    recipe("loop", Shape::Loop),
];

impl Trace {
    /// The requests at the beginning that do not count.
    pub fn warm_up(&self) -> usize {
        self.requests.len() / 2
    }
}

impl Recipe {
    /// Whether popularities are constant and values have one size, so that runs at equal numbers of keys make sense.
    pub fn is_plain(&self) -> bool {
        matches!((self.shape, self.sizes), (Shape::Zipf(_), Sizes::Fixed(_)))
    }

    /// The first `len` requests.
    pub fn generate(&self, len: usize, seed: u64) -> Trace {
        let mut random = Random::new(seed);
        let (requests, keys) = match self.shape {
            Shape::Zipf(skew) => (zipf(len, skew, &mut random), KEYS),
            Shape::Scanned => (scanned(len, &mut random), 2 * KEYS),
            Shape::Shifting => (shifting(len, &mut random), KEYS),
            Shape::Loop => ((0..LOOP_KEYS).cycle().take(len).collect(), LOOP_KEYS),
        };
        Trace { requests, keys }
    }
}

fn zipf(len: usize, skew: f64, random: &mut Random) -> Vec<u32> {
    let alias = Alias::zipf(KEYS, skew);
    (0..len).map(|_| alias.draw(random)).collect()
}

/// Zipf, and after every [`BETWEEN_SCANS`] requests a scan of the next [`SCAN`] of the other keys.
fn scanned(len: usize, random: &mut Random) -> Vec<u32> {
    let alias = Alias::zipf(KEYS, SKEW);
    let mut next = (0..KEYS).cycle();
    let mut requests = Vec::with_capacity(len + SCAN);
    while requests.len() < len {
        requests.extend((0..BETWEEN_SCANS).map(|_| alias.draw(random)));
        requests.extend(next.by_ref().take(SCAN).map(|key| KEYS + key));
    }
    requests.truncate(len);
    requests
}

/// Zipf over ranks; every [`BETWEEN_SHIFTS`] requests one of the popular keys exchanges its rank with any other.
fn shifting(len: usize, random: &mut Random) -> Vec<u32> {
    let alias = Alias::zipf(KEYS, SKEW);
    let mut keys: Vec<u32> = (0..KEYS).collect();
    let request = |index| {
        if index % BETWEEN_SHIFTS == 0 {
            keys.swap(random.below(HOT_RANKS) as usize, random.below(KEYS) as usize);
        }
        keys[alias.draw(random) as usize]
    };
    (0..len).map(request).collect()
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    fn named(name: &str, len: usize) -> Trace {
        RECIPES.iter().find(|recipe| recipe.name == name).unwrap().generate(len, 1)
    }

    #[test]
    fn a_trace_has_its_length_and_keys_and_is_the_same_for_the_same_seed() {
        for recipe in RECIPES {
            let trace = recipe.generate(60_001, 1);
            assert_eq!(trace.requests.len(), 60_001, "{}", recipe.name);
            assert!(trace.requests.iter().all(|&key| key < trace.keys), "{}", recipe.name);
            assert!(trace.requests == recipe.generate(60_001, 1).requests, "{}", recipe.name);
            let other = recipe.generate(60_001, 2).requests;
            assert_eq!(trace.requests == other, recipe.name == "loop", "{}", recipe.name);
        }
    }

    #[test]
    fn a_fifth_of_the_scanned_trace_is_scans_that_never_meet_a_key_twice() {
        let trace = named("Zipf 0.9 and scans", 200_000);
        let scanned: Vec<u32> = trace.requests.into_iter().filter(|&key| key >= KEYS).collect();
        assert_eq!(scanned, (KEYS..KEYS + 40_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_popular_keys_of_a_shifting_trace_change() {
        let trace = named("shifting Zipf 0.9", 4_000_000);
        let half = |requests: &[u32]| {
            let mut counts = vec![0_u32; KEYS as usize];
            for &key in requests {
                counts[key as usize] += 1;
            }
            let mut keys: Vec<u32> = (0..KEYS).collect();
            keys.sort_by_key(|&key| std::cmp::Reverse(counts[key as usize]));
            keys.truncate(1000);
            keys
        };
        let (before, after) = trace.requests.split_at(2_000_000);
        let (before, after) = (half(&before[..200_000]), half(&after[1_800_000..]));
        let kept = before.iter().filter(|key| after.contains(key)).count();
        assert!((200..700).contains(&kept), "{kept} of 1000 are still popular");
    }

    #[test]
    fn mixed_sizes_are_even_on_a_logarithmic_scale_and_belong_to_the_key() {
        let sizes = Sizes::Mixed { least: 10, most: 1000 };
        let below = (0..10_000).filter(|&key| sizes.of(key) < 100).count();
        assert!((4_800..5_200).contains(&below), "{below}");
        assert!(
            (0..10_000).all(|key| (10..=1000).contains(&sizes.of(key)) && sizes.of(key) == sizes.of(key))
        );
    }
}
