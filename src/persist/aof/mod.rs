//! Append-only files, in the format of Redis 7: a directory of files, and a manifest with the order in which to read
//! them.
//!
//! ```text
//!  appendonlydir/appendonly.aof.manifest          the list of the others                        (`manifest`)
//!                appendonly.aof.1.base.rdb        the data set when the log was last rewritten:
//!                                                 an RDB file, or commands                      (`dump`)
//!                appendonly.aof.1.incr.aof        commands since then                           (`reader`)
//!                appendonly.aof.2.incr.aof        commands since the current rewrite began
//! ```
//!
//! A rewrite first switches the log to a new incremental file, then writes a new base from the data as of that moment,
//! and finally replaces the manifest. Only that replacement takes effect, at once and for all files, so at any moment
//! the manifest on disk names a complete data set. Files that it no longer needs are listed as history until they are
//! deleted.
//!
//! The incremental files also contain the places of their commands in the stream to replicas (`history`).
//!
//! `directory` reads and writes the manifest and moves the single file of older versions into place.

mod directory;
mod dump;
mod history;
mod manifest;
mod reader;

pub use directory::{Directory, DirectoryError};
pub use dump::dump;
pub use history::{Note, Place, Tally};
pub use manifest::{Manifest, ManifestError, Part};
pub use reader::{Batch, ReadError, Reader};
