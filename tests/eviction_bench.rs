//! The computing parts of `benches/eviction` under the test harness: the sampler, the traces, the simulated caches, the
//! replay, the tables and the plot.
//!
//! The benchmark is a program without a test harness, so this file compiles its modules again to run their unit tests.
//! Items that only the benchmark calls are unused here.
#![allow(dead_code)]

#[path = "../benches/eviction/main.rs"]
mod eviction;
