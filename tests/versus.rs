//! The parts of `benches/versus` that compute, under the test harness: percentiles, the parsers of what the kernel
//! and redis-benchmark print, the tables, the chart, the bare loop and the open-loop generator.
//!
//! The one idea: the benchmark is a program of its own without a harness, so its modules are compiled here once
//! more for the tests beside them. What only a run of the benchmark calls is unused here.
#![allow(dead_code)]

#[path = "../benches/versus/main.rs"]
mod versus;
