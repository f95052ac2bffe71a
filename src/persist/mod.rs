//! Data that outlives the process: values as bytes.
//!
//! | module | what is in it |
//! |---|---|
//! | [`rdb`] | a value as `DUMP` and RDB files write it |

pub mod rdb;
