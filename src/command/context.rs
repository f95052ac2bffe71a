//! What a command of the keyspace may touch while it executes: the databases, its session, and the reply.

use crate::command::args::Args;
use crate::command::session::Session;
use crate::config::Config;
use crate::db::{Access, Db, Keyspace};
use crate::dict::Position;
use crate::resp::Reply;
use crate::text::number;
use crate::types::block::Block;
use crate::types::{Entry, Kind, Text};

/// Values of this many bytes and more are not copied into the reply but sent from where they lie.
pub const ZERO_COPY_BYTES: usize = 32 * 1024;

/// A value that belongs into the output before byte `at` of the buffer.
pub struct Splice {
    /// Position in the output buffer.
    pub at: usize,
    /// The value.
    pub block: Block,
}

/// The command's view of the server.
pub struct Context<'a> {
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The connection.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// Large values of the reply.
    pub splices: &'a mut Vec<Splice>,
    /// The configuration.
    pub config: &'a Config,
    /// The hash of the request's first key, 0 when the command has none.
    pub hash: u64,
}

/// Why a command was refused: the text after `-`.
pub type ErrorText = &'static str;

/// `ERR syntax error`.
pub const SYNTAX: ErrorText = "ERR syntax error";
/// `WRONGTYPE …`.
pub const WRONG_TYPE: ErrorText = "WRONGTYPE Operation against a key holding the wrong kind of value";
/// `ERR value is not an integer or out of range`.
pub const NOT_AN_INTEGER: ErrorText = "ERR value is not an integer or out of range";
/// `ERR value is not a valid float`.
pub const NOT_A_FLOAT: ErrorText = "ERR value is not a valid float";

impl Context<'_> {
    /// The selected database.
    #[inline]
    pub fn db(&self) -> &Db {
        self.keyspace.db(self.session.db)
    }

    /// The selected database, to change.
    #[inline]
    pub fn db_mut(&mut self) -> &mut Db {
        self.keyspace.db_mut(self.session.db)
    }

    /// Finds the request's first key.
    #[inline]
    pub fn find(&mut self, key: &[u8], access: Access) -> Option<Position> {
        let hash = self.hash;
        self.find_hashed(hash, key, access)
    }

    /// Finds a key whose hash is known.
    #[inline]
    pub fn find_hashed(&mut self, hash: u64, key: &[u8], access: Access) -> Option<Position> {
        let access =
            if access == Access::Read && self.session.flags.no_touch { Access::Look } else { access };
        self.keyspace.find(self.session.db, hash, key, access)
    }

    /// Finds the request's first key, which must hold a value of `kind` when it is there.
    #[inline]
    pub fn find_kind(
        &mut self,
        key: &[u8],
        access: Access,
        kind: Kind,
    ) -> Result<Option<Position>, ErrorText> {
        let Some(at) = self.find(key, access) else { return Ok(None) };
        if self.db().get(at).kind() == kind { Ok(Some(at)) } else { Err(WRONG_TYPE) }
    }

    /// Adds an entry under the request's first key, which is not there.
    #[inline]
    pub fn insert(&mut self, entry: Entry) -> Position {
        self.keyspace.insert(self.session.db, self.hash, entry)
    }

    /// Deletes the entry at `at`.
    pub fn remove(&mut self, at: Position, lazily: bool) {
        self.keyspace.remove(self.session.db, at, lazily);
    }

    /// Sets or takes away the expiry of the request's first key, which is at `at`.
    pub fn set_expiry(&mut self, at: Position, expire_at: Option<i64>) {
        self.keyspace.set_expiry(self.session.db, self.hash, at, expire_at);
    }

    /// Replies with the string at `at`, without a copy when it is large.
    #[inline]
    pub fn reply_string(&mut self, at: Position) {
        let entry = self.keyspace.db(self.session.db).get(at);
        match entry.value() {
            Text::Int(value) => self.reply.bulk_integer(value),
            Text::Bytes(bytes) if bytes.len() < ZERO_COPY_BYTES => self.reply.bulk(bytes),
            Text::Bytes(bytes) => {
                let block = entry.block().expect("a large string lies in a block").share();
                self.reply.bulk_header(bytes.len());
                self.splices.push(Splice { at: self.reply.buf.len(), block });
                self.reply.buf.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Replies with the refusal, when there is one.
    #[inline]
    pub fn answer(&mut self, outcome: Result<(), ErrorText>) {
        if let Err(text) = outcome {
            self.reply.error(text);
        }
    }
}

/// The integer in an argument.
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64, ErrorText> {
    number::parse_i64(arg).ok_or(NOT_AN_INTEGER)
}

/// The number in an argument, when it is 0 or more.
#[inline]
pub fn whole_number(arg: &[u8]) -> Option<usize> {
    usize::try_from(number::parse_i64(arg)?).ok()
}

/// How many elements to take out.
pub fn positive_count(arg: &[u8]) -> Result<usize, ErrorText> {
    whole_number(arg).ok_or("ERR value is out of range, must be positive")
}

/// How many random elements to draw; as many that may repeat, when negative.
pub fn random_count(arg: &[u8]) -> Result<i64, ErrorText> {
    match integer(arg)? {
        i64::MIN => {
            Err("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
        }
        count => Ok(count),
    }
}

/// Keys that are hashed and prefetched together: as many misses as a processor core keeps in flight.
const GROUP: usize = 16;

impl Context<'_> {
    /// Calls `visit` with the index and the hash of every `step`th argument from `first` on, which are keys of the
    /// selected database. The keys are taken in groups whose buckets and entries are prefetched together, so that a
    /// command of many keys waits for memory once a group instead of twice a key.
    pub fn for_each_key(
        &mut self,
        args: Args<'_>,
        first: usize,
        step: usize,
        mut visit: impl FnMut(&mut Self, usize, u64),
    ) {
        let mut hashes = [0; GROUP];
        let mut from = first;
        while from < args.len() {
            let count = (args.len() - from).div_ceil(step).min(GROUP);
            let group = &mut hashes[..count];
            for (i, hash) in group.iter_mut().enumerate() {
                *hash = self.keyspace.hash(args.get(from + i * step));
                self.db().prefetch_bucket(*hash);
            }
            for hash in group.iter() {
                self.db().prefetch_entry(*hash);
            }
            for (i, hash) in group.iter().enumerate() {
                visit(self, from + i * step, *hash);
            }
            from += count * step;
        }
    }
}
