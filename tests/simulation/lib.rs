//! The cluster's state machine alone, with its tests: its optimized build takes seconds, that of the server minutes.
//! `make simulate`, `make scale` and `make soak` run it.

#[path = "../../src/cluster/mod.rs"]
pub mod cluster;

#[path = "../../src/text/mod.rs"]
pub mod text;

#[path = "../../src/types"]
pub mod types {
    #[path = "random.rs"]
    pub mod random;
}
