//! Redstart: a Redis-compatible server in one static binary.
//!
//! The modules form layers: a module uses only modules in layers below its own, which `tests/tidy.rs` enforces. What
//! each one does for a request:
//!
//! | layer | module | what it does for a request |
//! |---|---|---|
//! | 0 | [`sys`] | waits for the socket, receives the bytes into a ring, tells the time, sends the reply |
//! | 0 | [`text`] | turns bytes into numbers and back, matches globs, splits quoted lines |
//! | 0 | [`alloc`] | hands out the small blocks in which entries live |
//! | 0 | [`codec`] | checksums and compresses DUMP payloads and files |
//! | 1 | [`lua`] | executes scripts and functions, without knowing the commands that they call |
//! | 1 | [`resp`] | finds the request's arguments in the ring without copying, writes replies |
//! | 1 | [`http`] | finds the head of a request for metrics |
//! | 1 | [`tls`] | decrypts received bytes and encrypts replies, on connections to `tls-port` |
//! | 1 | [`dict`] | finds the key's entry: an open-addressing table that grows a bucket at a time |
//! | 2 | [`types`] | the entry: header, key and value in one block |
//! | 2 | [`config`] | the one table of directives, and the values that the others read |
//! | 3 | [`db`] | the keyspace: lookup, expiry, access clock |
//! | 4 | [`persist`] | turns a value into the bytes of DUMP payloads and RDB files, and back |
//! | 4 | [`replication`] | sends what a primary propagates to its replicas, as a protocol without sockets |
//! | 4 | [`cluster`] | knows which node of a cluster serves the key's slot, as a protocol without sockets |
//! | 5 | [`command`] | the table of commands, and the families of functions that execute them |
//! | 6 | [`server`] | the loop that ties everything together: clients, batches, output, cron |
//! | 7 | [`tools`] | nothing: the same binary, called by other names, inspects files and talks to servers |

pub mod alloc;
pub mod cluster;
pub mod codec;
pub mod command;
pub mod config;
pub mod db;
pub mod dict;
pub mod http;
pub mod lua;
pub mod persist;
pub mod replication;
pub mod resp;
pub mod server;
pub mod sys;
pub mod text;
pub mod tls;
pub mod tools;
pub mod types;
