//! These benchmarks answer the following questions:
//!
//! * `fill/*`: what does an element cost while a set grows from nothing to a million, with scores in random or ascending
//!   order? And what does gathering the same elements and sorting them once cost?
//! * `churn/*`: what does adding one element and removing another cost in a set of a million?
//! * `rescore/*`: what does changing a random element's score cost?
//! * `rank/*`: what does the rank of a random member cost?
//! * `range/*`: what do 100 elements from a random rank on cost, found by rank and by score?
//!
//! For comparison each also measures a plain skiplist with spans, as in Redis, plus a hash map from member to score.
//! Its nodes are in one vector, which favours it over an allocation per node. `cargo bench --bench sorted_set -- rank`
//! runs some of them; `REDSTART_ELEMENTS` replaces the million.

use criterion::{BatchSize, Criterion, Throughput};
use hashbrown::HashMap;
use redstart::dict::Seed;
use redstart::types::Container;
use redstart::types::sorted_set::{Gather, SortedSet};
use std::cmp::Ordering;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::new([1, 2]));
const LEVELS: usize = 32;
const NONE: u32 = u32::MAX;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

fn elements() -> usize {
    std::env::var("REDSTART_ELEMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// A member of 17 bytes.
fn member(n: usize) -> [u8; 17] {
    format!("member:{n:010}").into_bytes().try_into().expect("17 bytes")
}

/// The operations measured on both.
trait Set {
    fn empty() -> Self;
    fn add(&mut self, member: &[u8], score: f64);
    fn remove(&mut self, member: &[u8]);
    fn rescore(&mut self, member: &[u8], score: f64);
    fn rank(&self, member: &[u8]) -> usize;
    fn rank_of_score(&self, score: f64) -> usize;
    fn sum(&self, from: usize, count: usize) -> f64;
}

impl Set for SortedSet {
    fn empty() -> Self {
        SortedSet::new(*SEED)
    }

    fn add(&mut self, member: &[u8], score: f64) {
        let hash = self.hash(member);
        self.prefetch(hash, score);
        assert!(self.find(hash, member).is_none());
        SortedSet::insert(self, hash, member, score);
    }

    fn remove(&mut self, member: &[u8]) {
        assert!(SortedSet::remove(self, member).is_some());
    }

    fn rescore(&mut self, member: &[u8], score: f64) {
        assert!(!self.set(member, score));
    }

    fn rank(&self, member: &[u8]) -> usize {
        SortedSet::rank(self, member).expect("a member").0
    }

    fn rank_of_score(&self, score: f64) -> usize {
        self.partition_scores(|s| s < score)
    }

    fn sum(&self, from: usize, count: usize) -> f64 {
        self.range(from, count, false).map(|(member, score)| score + f64::from(member[16])).sum()
    }
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    span: u32,
}

struct Node {
    score: f64,
    member: Box<[u8]>,
    links: Box<[Link]>,
}

/// A skiplist whose links record the number of elements that they skip.
struct Skiplist {
    nodes: Vec<Node>,
    free: Vec<u32>,
    levels: usize,
    len: u32,
    random: Random,
    scores: HashMap<Box<[u8]>, f64>,
}

impl Skiplist {
    /// For each level, the last node before the position, and its rank.
    fn way(&self, score: f64, member: &[u8]) -> [(u32, u32); LEVELS] {
        let mut way = [(0, 0); LEVELS];
        let (mut at, mut rank) = (0, 0);
        for level in (0..self.levels).rev() {
            loop {
                let link = self.nodes[at as usize].links[level];
                if link.next == NONE {
                    break;
                }
                let next = &self.nodes[link.next as usize];
                let order =
                    next.score.partial_cmp(&score).expect("no NaN").then_with(|| (*next.member).cmp(member));
                if order != Ordering::Less {
                    break;
                }
                (at, rank) = (link.next, rank + link.span);
            }
            way[level] = (at, rank);
        }
        way
    }

    fn insert(&mut self, score: f64, member: &[u8]) {
        let height = (1 + self.random.next().trailing_zeros() as usize / 2).min(LEVELS);
        self.levels = self.levels.max(height);
        let way = self.way(score, member);
        let place = way[0].1;
        let links = vec![Link { next: NONE, span: 0 }; height].into();
        let node = Node { score, member: member.into(), links };
        let new = self.free.pop().unwrap_or(self.nodes.len() as u32);
        if new as usize == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[new as usize] = node;
        }
        for (level, (before, rank)) in way.into_iter().enumerate().take(self.levels) {
            let link = self.nodes[before as usize].links[level];
            if level < height {
                let left = place - rank + 1;
                self.nodes[new as usize].links[level] =
                    Link { next: link.next, span: (link.span + 1).wrapping_sub(left) };
                self.nodes[before as usize].links[level] = Link { next: new, span: left };
            } else {
                self.nodes[before as usize].links[level].span += 1;
            }
        }
        self.len += 1;
    }

    fn delete(&mut self, score: f64, member: &[u8]) {
        let way = self.way(score, member);
        let gone = self.nodes[way[0].0 as usize].links[0].next;
        for (level, (before, _)) in way.into_iter().enumerate().take(self.levels) {
            let link = self.nodes[before as usize].links[level];
            self.nodes[before as usize].links[level] = if link.next == gone {
                let Link { next, span } = self.nodes[gone as usize].links[level];
                Link { next, span: (link.span + span).wrapping_sub(1) }
            } else {
                Link { span: link.span.wrapping_sub(1), ..link }
            };
        }
        self.nodes[gone as usize].member = Box::default();
        self.nodes[gone as usize].links = Box::default();
        self.free.push(gone);
        self.len -= 1;
    }
}

impl Set for Skiplist {
    fn empty() -> Self {
        let head = Node {
            score: f64::NEG_INFINITY,
            member: Box::default(),
            links: [Link { next: NONE, span: 0 }; LEVELS].into(),
        };
        Skiplist {
            nodes: vec![head],
            free: Vec::new(),
            levels: 1,
            len: 0,
            random: Random(42),
            scores: HashMap::new(),
        }
    }

    fn add(&mut self, member: &[u8], score: f64) {
        assert!(self.scores.insert(member.into(), score).is_none());
        self.insert(score, member);
    }

    fn remove(&mut self, member: &[u8]) {
        let score = self.scores.remove(member).expect("a member");
        self.delete(score, member);
    }

    fn rescore(&mut self, member: &[u8], score: f64) {
        let old = std::mem::replace(self.scores.get_mut(member).expect("a member"), score);
        self.delete(old, member);
        self.insert(score, member);
    }

    fn rank(&self, member: &[u8]) -> usize {
        self.way(self.scores[member], member)[0].1 as usize
    }

    fn rank_of_score(&self, score: f64) -> usize {
        self.way(score, b"")[0].1 as usize
    }

    fn sum(&self, from: usize, count: usize) -> f64 {
        let (mut at, mut rank) = (0, 0);
        for level in (0..self.levels).rev() {
            loop {
                let link = self.nodes[at as usize].links[level];
                if link.next == NONE || rank + link.span as usize > from {
                    break;
                }
                (at, rank) = (link.next, rank + link.span as usize);
            }
        }
        let mut sum = 0.0;
        for _ in 0..count {
            at = self.nodes[at as usize].links[0].next;
            let node = &self.nodes[at as usize];
            sum += node.score + f64::from(node.member[16]);
        }
        sum
    }
}

/// Members in random order, each with a random score.
fn input(count: usize) -> Vec<([u8; 17], f64)> {
    let mut random = Random(88_172_645_463_325_252);
    let mut input: Vec<_> = (0..count).map(|n| (member(n), (random.next() >> 20) as f64 / 16.0)).collect();
    for i in (1..count).rev() {
        input.swap(i, random.below(i + 1));
    }
    input
}

fn filled<S: Set>(input: &[([u8; 17], f64)]) -> S {
    let mut set = S::empty();
    for (member, score) in input {
        set.add(member, *score);
    }
    set
}

fn fill(c: &mut Criterion, name: &str, input: &[([u8; 17], f64)]) {
    let mut group = c.benchmark_group(format!("fill/{name}"));
    group.throughput(Throughput::Elements(input.len() as u64)).sample_size(10);
    group.bench_function("tree", |b| b.iter_with_large_drop(|| filled::<SortedSet>(input)));
    group.bench_function("skiplist", |b| b.iter_with_large_drop(|| filled::<Skiplist>(input)));
    group.bench_function("gather", |b| {
        b.iter_with_large_drop(|| {
            let mut gather = Gather::with_room(*SEED, input.len());
            for (member, score) in input {
                gather.insert(gather.hash(member), member, *score);
            }
            gather.finish()
        });
    });
    group.finish();
}

fn operations<S: Set>(c: &mut Criterion, name: &str, input: &[([u8; 17], f64)]) {
    let mut set: S = filled(input);
    let mut random = Random(7);
    let any = |random: &mut Random| &input[random.below(input.len())].0;
    c.benchmark_group("rank").bench_function(name, |b| b.iter(|| set.rank(black_box(any(&mut random)))));
    let mut group = c.benchmark_group("range");
    group.bench_function(format!("{name}/rank"), |b| {
        b.iter(|| set.sum(random.below(input.len() - 100), 100));
    });
    group.bench_function(format!("{name}/score"), |b| {
        b.iter(|| {
            let from = set.rank_of_score((random.next() >> 20) as f64 / 16.0);
            set.sum(from.min(input.len() - 100), 100)
        });
    });
    group.finish();
    c.benchmark_group("rescore").bench_function(name, |b| {
        b.iter(|| set.rescore(any(&mut random), (random.next() >> 20) as f64 / 16.0));
    });
    let (mut oldest, mut newest) = (0, input.len());
    c.benchmark_group("churn").bench_function(name, |b| {
        let added = |newest: &mut usize| {
            *newest += 1;
            member(*newest)
        };
        b.iter_batched(
            || (added(&mut newest), (random.next() >> 20) as f64 / 16.0),
            |(new, score)| {
                set.add(&new, score);
                let gone = if oldest < input.len() { input[oldest].0 } else { member(oldest + 1) };
                set.remove(&gone);
                oldest += 1;
            },
            BatchSize::SmallInput,
        );
    });
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let mut input = input(elements());
    operations::<SortedSet>(&mut c, "tree", &input);
    operations::<Skiplist>(&mut c, "skiplist", &input);
    fill(&mut c, "random", &input);
    input.sort_by(|a, b| a.1.total_cmp(&b.1));
    fill(&mut c, "ascending", &input);
    memory(&input);
    c.final_summary();
}

/// Prints the bytes per element, as the set counts them.
fn memory(ascending: &[([u8; 17], f64)]) {
    let mut shuffled = ascending.to_vec();
    shuffled.sort_unstable_by_key(|(member, _)| *member);
    for (name, input) in [("ascending", ascending), ("random", &shuffled)] {
        let set: SortedSet = filled(input);
        println!("memory/{name}: {:.1} bytes an element", set.memory_bytes() as f64 / input.len() as f64);
    }
}
