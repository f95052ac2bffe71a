//! Replication: the protocol between a primary and its replicas, as machines without sockets.
//!
//! ```text
//!   replica                                    primary
//!   Link      PING, AUTH, REPLCONF … ────────▶ Peer      the replica's properties and offsets
//!             PSYNC id offset ───────────────▶ History   continue, or a full synchronization?
//!             ◀──────── snapshot, then the stream of propagated commands
//!             REPLCONF ACK offset ───────────▶ Peer
//! ```
//!
//! A machine takes bytes and the time, and returns bytes and events; the server connects it to a socket. Tests can
//! therefore drive it with their own clock, and divide the bytes in any way.
//! [`confirm`] decides when replies that wait for acknowledgements may be sent. [`migrate`] is another such machine:
//! `MIGRATE` moves keys to a server that need not be a replica.

pub mod confirm;
pub mod failover;
pub mod history;
pub mod link;
pub mod migrate;
pub mod peer;
#[cfg(test)]
mod schedules;
