//! Data that outlives the process: values as bytes.
//!
//! | module | what is in it |
//! |---|---|
//! | [`aof`] | the append-only files: manifest, reader of commands, the data set as commands |
//! | [`rdb`] | a value as `DUMP` and RDB files write it |

pub mod aof;
pub mod rdb;
