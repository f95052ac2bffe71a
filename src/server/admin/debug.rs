//! `DEBUG`: for tests of the server and of applications. Refused unless `enable-debug-command` allows it.

use std::fmt::Write;
use std::time::Duration;

use crate::codec::sha1::{Digest, hex};
use crate::command::Args;
use crate::command::context::{ErrorText, integer};
use crate::db::{Access, digest};
use crate::persist::rdb;
use crate::resp::Protocol;
use crate::server::Server;
use crate::sys::poller::Token;
use crate::text::words::shown;
use crate::types::Entry;

impl Server {
    /// `DEBUG subcommand …`.
    pub(super) fn debug(&mut self, token: Token, args: Args<'_>) {
        if let Err(text) = self.try_debug(token, args) {
            self.reply_to(token).error(text);
        }
    }

    fn try_debug(&mut self, token: Token, args: Args<'_>) -> Result<(), Vec<u8>> {
        match (args.get(1).to_ascii_lowercase().as_slice(), args.len()) {
            (b"sleep", 3) => {
                let seconds = crate::text::number::parse_f64(args.get(2)).unwrap_or(0.0);
                std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
                self.reply_to(token).ok();
            }
            (b"set-active-expire", 3) => {
                self.keyspace.active_expire = integer(args.get(2)).is_ok_and(|n| n != 0);
                self.reply_to(token).ok();
            }
            (b"object", 3..) => return self.debug_object(token, args),
            (b"htstats", 3..) => return self.debug_htstats(token, args),
            (b"digest", 2) => {
                let text = hex(&digest::of_keyspace(&self.keyspace));
                self.reply_to(token).simple(&text);
            }
            (b"digest-value", 2..) => self.debug_digest_value(token, args),
            (b"populate", 3..=5) => return self.debug_populate(token, args),
            (b"protocol", 3) => return self.debug_protocol(token, args.get(2)),
            (b"help", 2) => {
                let command = crate::command::table::lookup(b"debug").expect("DEBUG is in the table");
                self.reply_help(token, command);
            }
            _ => {
                let name = args.get(1);
                return Err([
                    b"ERR unknown subcommand or wrong number of arguments for '",
                    shown(&name[..name.len().min(128)]),
                    b"'. Try DEBUG HELP.",
                ]
                .concat());
            }
        }
        Ok(())
    }

    fn debug_object(&mut self, token: Token, args: Args<'_>) -> Result<(), Vec<u8>> {
        let key = args.get(2);
        let (db, hash) = (self.session(token).db, self.keyspace.hash(key));
        let at = self.keyspace.find(db, hash, key, Access::Inspect).ok_or("ERR no such key")?;
        let entry = self.keyspace.db(db).get(at);
        let now = self.keyspace.moment;
        let text = format!(
            "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
            entry.key().as_ptr(),
            entry.encoding().name(),
            serialized_len(&entry, self.config.rdbcompression),
            entry.access(),
            now.clock.idle_seconds(entry.access()),
        );
        self.reply_to(token).simple(&text);
        Ok(())
    }

    /// `DEBUG DIGEST-VALUE [key …]`: the digest of each key's value, zeroes for a missing one. What has expired but
    /// stands is seen.
    fn debug_digest_value(&mut self, token: Token, args: Args<'_>) {
        let index = self.session(token).db;
        let db = self.keyspace.db(index);
        let digest_of = |key: &[u8]| {
            let at = db.dict().find(self.keyspace.hash(key), key);
            at.map_or(Digest::default(), |at| digest::of_value(&db.get(at)))
        };
        let digests: Vec<Digest> = args.iter_from(2).map(digest_of).collect();
        let mut reply = self.reply_to(token);
        reply.array(digests.len());
        for digest in &digests {
            reply.simple(&hex(digest));
        }
    }

    fn debug_htstats(&mut self, token: Token, args: Args<'_>) -> Result<(), Vec<u8>> {
        let index = integer(args.get(2))?;
        let db = usize::try_from(index)
            .ok()
            .filter(|i| *i < self.keyspace.count())
            .ok_or("ERR Out of range database")?;
        let db = self.keyspace.db(db);
        let stats = db.dict().stats();
        let mut text = String::from("[Dictionary HT]\n");
        let _ = writeln!(text, "{stats}");
        let _ = writeln!(text, "[Expires HT]\n keys with an expiry: {}", db.expires().len());
        self.reply_to(token).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `DEBUG POPULATE count [prefix] [size]`: keys `prefix:0` … with values `value:0` …, cut or padded with zero
    /// bytes to `size`.
    fn debug_populate(&mut self, token: Token, args: Args<'_>) -> Result<(), Vec<u8>> {
        const RANGE: ErrorText = "ERR value is out of range, must be positive";
        let positive = |i: usize| match integer(args.get(i)) {
            Ok(n) => usize::try_from(n).map_err(|_| RANGE),
            Err(_) => Err(RANGE),
        };
        let count = positive(2)?;
        let prefix = if args.len() > 3 { args.get(3) } else { b"key" };
        let size = if args.len() > 4 { Some(positive(4)?) } else { None };
        let db = self.session(token).db;
        let mut key = Vec::new();
        for i in 0..count {
            key.clear();
            key.extend_from_slice(prefix);
            key.extend_from_slice(format!(":{i}").as_bytes());
            let hash = self.keyspace.hash(&key);
            if self.keyspace.find(db, hash, &key, Access::Write).is_some() {
                continue;
            }
            let mut value = format!("value:{i}").into_bytes();
            value.resize(size.unwrap_or(value.len()), 0);
            self.keyspace.insert(db, hash, Entry::string(&key, &value, None));
            self.keyspace.modified(1);
        }
        self.reply_to(token).ok();
        Ok(())
    }

    /// `DEBUG PROTOCOL type`: a reply of each type that the protocol has.
    fn debug_protocol(&mut self, token: Token, kind: &[u8]) -> Result<(), Vec<u8>> {
        let mut reply = self.reply_to(token);
        match kind.to_ascii_lowercase().as_slice() {
            b"string" => reply.bulk(b"Hello World"),
            b"integer" => reply.integer(12345),
            #[expect(clippy::approx_constant, reason = "it is what Redis sends")]
            b"double" => reply.double(3.141),
            b"null" => reply.null(),
            b"array" => {
                reply.array(3);
                (0..3).for_each(|i| reply.integer(i));
            }
            b"set" => {
                reply.set(3);
                (0..3).for_each(|i| reply.integer(i));
            }
            b"map" => {
                reply.map(3);
                for i in 0..3 {
                    reply.integer(i);
                    reply.boolean(i == 1);
                }
            }
            b"attrib" => {
                if reply.attribute(1) {
                    reply.bulk(b"key-popularity");
                    reply.array(2);
                    reply.bulk(b"key:123");
                    reply.integer(90);
                }
                reply.bulk(b"Some real reply following the attribute");
            }
            b"push" => {
                if reply.protocol == Protocol::Resp2 {
                    return Err(b"ERR RESP2 is not supported by this command".to_vec());
                }
                reply.push(2);
                reply.bulk(b"server-cpu-usage");
                reply.integer(42);
                // A push answers nothing: whoever waits for a reply gets one besides.
                reply.bulk(b"Some real reply following the push reply");
            }
            b"true" => reply.boolean(true),
            b"false" => reply.boolean(false),
            b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
            b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
            _ => {
                return Err(b"ERR Wrong protocol type name. Please use one of the following: \
                    string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
                    .to_vec());
            }
        }
        Ok(())
    }
}

/// Bytes of the value in an RDB file.
fn serialized_len(entry: &Entry, compress: bool) -> usize {
    let mut out = Vec::new();
    rdb::save_value(entry, &mut rdb::Encoder::new(&mut out, compress));
    out.len()
}
