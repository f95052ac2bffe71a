//! Data that outlives the process: values as bytes.
//!
//! | module | what is in it |
//! |---|---|
//! | [`rdb`] | a value as `DUMP` and RDB files write it |
//! | [`syncer`] | the thread that waits for the disk |

pub mod rdb;
pub mod syncer;
