//! Persistence: values, files and logs as bytes.
//!
//! | module | what is in it |
//! |---|---|
//! | [`aof`] | the append-only files: manifest, reader of commands, the data set as commands |
//! | [`rdb`] | a value as `DUMP` and RDB files write it |
//! | [`syncer`] | the thread that waits for the disk |

pub mod aof;
pub mod rdb;
pub mod syncer;
