//! The parts of `benches/versus` that compute, under the test harness: percentiles, the parsers of what the kernel
//! and redis-benchmark print, the tables, the chart, the bare loop and the open-loop generator.
//!
//! The benchmark is a program without a test harness, so its modules are compiled here once more, for the tests in
//! them. What only the benchmark calls is unused here.
#![allow(dead_code)]

#[path = "../benches/versus/main.rs"]
mod versus;
