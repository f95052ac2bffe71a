//! The parts of `benches/eviction` that compute, under the test harness: the sampler, the traces, the simulated caches,
//! the replay, the tables and the plot.
//!
//! The benchmark is a program without a test harness, so its modules are compiled here once more, for the tests in
//! them. What only the benchmark calls is unused here.
#![allow(dead_code)]

#[path = "../benches/eviction/main.rs"]
mod eviction;
