//! The computing parts of `benches/versus` under the test harness: percentiles, the parsers of output from the kernel
//! and redis-benchmark, the tables, the chart, the bare loop and the open-loop generator.
//!
//! The benchmark is a program without a test harness, so this file compiles its modules again to run their unit tests.
//! Items that only the benchmark calls are unused here.
#![allow(dead_code)]

#[path = "../benches/versus/main.rs"]
mod versus;
