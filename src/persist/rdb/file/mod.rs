//! RDB files: a whole data set in one file, written in one pass and read in slices.
//!
//! ```text
//!  REDIS 0011                              the signature and the version, four digits
//!  AUX name value …                        about the file: who wrote it, when
//!  FUNCTION2 source …                      the libraries of functions
//!  SELECTDB n
//!  RESIZEDB keys expiring-keys             how much room to reserve
//!    [EXPIRETIME_MS 8] [IDLE n | FREQ 1] type key value …
//!  …
//!  EOF | CRC-64 of all before, 8           0: none was computed
//! ```
//!
//! Lengths, strings and values are those of the parent module. A reader must also know: EXPIRETIME (seconds, before
//! version 3), MODULE_AUX and SLOT_INFO (skipped).
//!
//! **Versions.** A file begins with the version that it needs, and a server refuses a version later than its own. The
//! writer uses 11 (Redis 7.2), 10 (Redis 7.0, `rdb-write-version`), and 12 (Redis 7.4) where a field of a hash expires,
//! since the earlier versions cannot store that. When version 10 is requested, the writer drops what that version
//! cannot store: fields of hashes are written without their expiry times, except that expired ones are omitted, and the
//! time at which a stream's consumer was active is not written. The reader accepts versions 1 to 12, and `VALKEY080`,
//! that of Valkey 9.0.
//!
//! | file | what is in it |
//! |---|---|
//! | `output` | the sink of the encoder: buffer, checksum, first error |
//! | `writer` | [`save`] |
//! | `source` | the input of the decoders: a file behind a buffer, with offset and checksum |
//! | `records` | [`Records`]: what is in a file, one thing after the other |
//! | `boundaries` | where records and the elements of values end in a file that is still being received |
//! | `check` | [`Check`]: the version, the end and the checksum of such a file |
//! | `feed` | [`Incoming`]: loads such a file |
//! | `loader` | [`Loader`]: from records to the keyspace, in slices |
//! | `error` | [`RdbError`]: what is wrong with a file, and where |

mod boundaries;
mod check;
mod error;
mod feed;
mod loader;
mod output;
mod records;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub use check::Check;
pub use error::{Doing, Fault, RdbError, type_name};
pub use feed::Incoming;
pub use loader::{About as LoadedAbout, LoadOptions, Loader, Report, Step, load};
pub use records::{Checksum, KeyHead, Record, Records};
pub use source::Source;
pub use writer::{About, Progress, Replication, SaveOptions, Version, save};

/// The first bytes of a file; four digits follow.
const SIGNATURE: &[u8; 5] = b"REDIS";

/// The first bytes of a file of Valkey 9 or later; three digits follow.
const SIGNATURE_OF_VALKEY: &[u8; 6] = b"VALKEY";

/// The version of Valkey 9.0; Valkey numbers its own versions from 80 on. It extends version 11 by hashes with expiring
/// fields and by slots under migration. Both are refused, and everything else is read.
const VERSION_OF_VALKEY: u16 = 80;

/// Whether these bytes begin an RDB file.
pub fn is_signature(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE) || bytes.starts_with(SIGNATURE_OF_VALKEY)
}

/// The version in the bytes after a signature: the number that their first digits are. As in Redis, other bytes may
/// follow them.
fn version_in(bytes: &[u8]) -> u16 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |version, digit| version * 10 + u16::from(digit - b'0'))
}

/// The number of keys in the header of the first database, the only count available without reading the keys. `None` if
/// there is no such header, or this is not an RDB file.
pub fn announced_keys(from: impl std::io::Read, len: u64) -> Option<u64> {
    let mut records = Records::open(Source::new(from, len), false).ok()?;
    loop {
        match records.next_record().ok()? {
            Record::Resize(keys, _) => return Some(keys),
            Record::End(_) => return Some(0),
            Record::Key(_) => return None,
            Record::Aux(..)
            | Record::Select(_)
            | Record::Function(_)
            | Record::ModuleAux(_)
            | Record::SlotInfo => {}
        }
    }
}

/// The bytes that may occur in place of a type byte.
pub(super) mod opcode {
    /// Three lengths about a cluster slot (7.4).
    pub const SLOT_INFO: u8 = 244;
    /// The source of a library.
    pub const FUNCTION2: u8 = 245;
    /// A function in a format that only release candidates of 7.0 wrote.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Data of a module that belongs to no key.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the next key was used.
    pub const IDLE: u8 = 248;
    /// The LFU counter of the next key.
    pub const FREQ: u8 = 249;
    /// A name and a value.
    pub const AUX: u8 = 250;
    /// The numbers of keys and of expiring keys in the database.
    pub const RESIZEDB: u8 = 251;
    /// The expiry of the next key, in milliseconds.
    pub const EXPIRETIME_MS: u8 = 252;
    /// The expiry of the next key, in seconds.
    pub const EXPIRETIME: u8 = 253;
    /// The database of the keys that follow.
    pub const SELECTDB: u8 = 254;
    /// The end.
    pub const EOF: u8 = 255;
}
