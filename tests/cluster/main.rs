//! Nodes of a cluster, beside nodes of Redis and together with them.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bus;
mod chaos;
mod failover;
mod moves;
mod nodes;
mod replies;
mod tools;
mod writers;
