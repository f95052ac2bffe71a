//! The errors of loading a file, with the place and the part being read. The texts are those of Redis where it has one.

use std::fmt;
use std::io;

use super::super::{LoadError, types};

/// Type bytes of Valkey 9, for error messages.
const VALKEY_HASH: u8 = 22;
const VALKEY_SLOT: u8 = 243;

/// The part that was being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Doing {
    /// The signature and the version.
    #[default]
    Start,
    /// A type byte or an opcode.
    Type,
    /// The time at which a key expires.
    Expire,
    /// A key.
    Key,
    /// A value.
    Value,
    /// The checksum.
    Checksum,
    /// A length outside a value.
    Length,
    /// A name and a value with metadata of the file.
    Aux,
    /// Data of a module.
    ModuleAux,
    /// A library of functions.
    Functions,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Start => "start",
            Doing::Type => "read-type",
            Doing::Expire => "read-expire",
            Doing::Key => "read-key",
            Doing::Value => "read-object-value",
            Doing::Checksum => "check-sum",
            Doing::Length => "read-len",
            Doing::Aux => "read-aux",
            Doing::ModuleAux => "read-module-aux",
            Doing::Functions => "read-functions",
        })
    }
}

/// The error.
#[derive(Debug)]
pub enum Fault {
    /// The file does not begin with the signature of an RDB file.
    Signature,
    /// The version is unknown.
    Version(u64),
    /// The version of a Valkey file is unknown.
    VersionOfValkey(u64),
    /// The file ends too early.
    Ended,
    /// Reading failed.
    Io(io::Error),
    /// An unknown type byte.
    Type(u8),
    /// A value of a module.
    Module,
    /// A module's data outside keys is malformed.
    ModuleAux,
    /// A function in the format of a release candidate.
    OldFunction,
    /// A value or a string that cannot be read.
    Value(LoadError),
    /// A database that does not exist.
    Database(u64),
    /// A key that occurs twice in one database.
    Duplicate(usize),
    /// The checksum stored in the file, and the computed one.
    Checksum(u64, u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Signature => f.write_str("Wrong signature trying to load DB from file"),
            Fault::Version(version) => write!(f, "Can't handle RDB format version {version}"),
            Fault::VersionOfValkey(version) => {
                write!(f, "Can't handle RDB format version {version} of Valkey, only 80, that of Valkey 9.0")
            }
            Fault::Ended => f.write_str("Unexpected EOF reading RDB file"),
            Fault::Io(error) => write!(f, "Error reading the RDB file: {error}"),
            Fault::Type(VALKEY_HASH) => write!(
                f,
                "Invalid object type: {VALKEY_HASH}, a hash with expiring fields of Valkey 9, which cannot be read yet"
            ),
            Fault::Type(VALKEY_SLOT) => write!(
                f,
                "Invalid object type: {VALKEY_SLOT}, a slot of Valkey 9 that is being imported, which cannot be read"
            ),
            Fault::Type(byte) => write!(f, "Invalid object type: {byte}"),
            Fault::Module => f.write_str("The RDB file contains module data I can't load"),
            Fault::ModuleAux => f.write_str("bad when_opcode"),
            Fault::OldFunction => f.write_str("Pre-release function format not supported"),
            Fault::Value(error) => write!(f, "Internal error in RDB reading: {error}"),
            Fault::Database(db) => {
                write!(
                    f,
                    "Data file was created with a Redis server configured to handle more databases: {db}"
                )
            }
            Fault::Duplicate(db) => write!(f, "RDB has duplicated key in DB {db}"),
            Fault::Checksum(expected, got) => {
                write!(f, "RDB CRC error: Wrong RDB checksum expected: ({expected:x}) but got ({got:x})")
            }
        }
    }
}

/// Why a file cannot be loaded.
#[derive(Debug)]
pub struct RdbError {
    /// The number of bytes that had been read.
    pub offset: u64,
    /// The error.
    pub fault: Fault,
    /// The part that was being read.
    pub doing: Doing,
    /// The key whose value was being read.
    pub key: Option<Vec<u8>>,
    /// The type byte of that value.
    pub type_byte: Option<u8>,
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {} ({}", self.fault, self.offset, self.doing)?;
        if let Some(key) = &self.key {
            write!(f, " of key '{}'", key.escape_ascii())?;
        }
        if let Some(byte) = self.type_byte {
            write!(f, ", type {byte}: {}", type_name(byte))?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for RdbError {}

/// The name of a type byte in reports.
pub fn type_name(type_byte: u8) -> &'static str {
    match type_byte {
        types::STRING => "string",
        types::LIST => "list-linked",
        types::SET => "set-hashtable",
        types::ZSET => "zset-v1",
        types::HASH => "hash-hashtable",
        types::ZSET_2 => "zset-v2",
        types::MODULE_PRE_GA => "module-pre-release",
        types::MODULE => "module-value",
        types::HASH_ZIPMAP => "hash-zipmap",
        types::LIST_ZIPLIST => "list-ziplist",
        types::SET_INTSET => "set-intset",
        types::ZSET_ZIPLIST => "zset-ziplist",
        types::HASH_ZIPLIST => "hash-ziplist",
        types::LIST_QUICKLIST => "quicklist",
        types::STREAM => "stream",
        types::HASH_LISTPACK => "hash-listpack",
        types::ZSET_LISTPACK => "zset-listpack",
        types::LIST_QUICKLIST_2 => "quicklist-v2",
        types::STREAM_2 => "stream-v2",
        types::SET_LISTPACK => "set-listpack",
        types::STREAM_3 => "stream-v3",
        types::HASH_METADATA => "hash-hashtable-md",
        types::HASH_LISTPACK_EX => "hash-listpack-md",
        _ => "unknown",
    }
}
