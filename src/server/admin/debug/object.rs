//! `DEBUG` of a key's value or of a table: `OBJECT`, `SDSLEN`, `LISTPACK`, `QUICKLIST`, `HTSTATS`, `HTSTATS-KEY`,
//! `STRUCTSIZE`.
//!
//! None of them is an access to the key.

use std::fmt::Write;

use super::leading_number;
use crate::codec::hex;
use crate::codec::sha1::Digest;
use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, NO_SUCH_KEY, Result};
use crate::command::keys::reference_count;
use crate::config::Config;
use crate::db::{Access, Key, Position, Ref, digest};
use crate::dict::DictStats;
use crate::persist::rdb;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::net::client::Client;
use crate::server::net::query::Query;
use crate::types::list::Quicklist;
use crate::types::listpack::Listpack;
use crate::types::{Block, Encoding, Entry, Kind, hash, set, sorted_set};

impl Server {
    /// The entry of a key, even if it has expired.
    fn stored(&mut self, caller: &mut Caller<'_>, key: &[u8]) -> Result<Ref<'_, Entry>> {
        let db = self.core.keyspace.db(caller.session(&mut self.net).db);
        let at = db.find(self.core.keyspace.hash(key), key);
        at.map(|at| db.get(at)).ok_or(NO_SUCH_KEY)
    }

    fn inspected(&mut self, caller: &mut Caller<'_>, key: &[u8]) -> Result<Ref<'_, Entry>> {
        let (db, hash) = (caller.session(&mut self.net).db, self.core.keyspace.hash(key));
        let at: Option<Position> = self.core.keyspace.find(Key { db, hash, name: key }, Access::Inspect);
        at.map(|at| self.core.keyspace.db(db).get(at)).ok_or(NO_SUCH_KEY)
    }

    /// `DEBUG OBJECT key`: a line of facts.
    pub(super) fn debug_object(&mut self, caller: &mut Caller<'_>, key: &[u8]) -> Result {
        let (clock, config) = (self.core.keyspace.moment.clock, self.core.config.clone());
        let entry = self.stored(caller, key)?;
        let mut text = format!(
            "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
            entry.key().as_ptr(),
            reference_count(&entry),
            entry.encoding().name(),
            serialized_len(&entry, config.rdbcompression),
            entry.access(),
            clock.idle_seconds(entry.access()),
        );
        if let Some(list) = entry.container::<Quicklist>() {
            text += &quicklist_facts(list, &config);
        }
        caller.reply(&mut self.net).simple(&text);
        Ok(())
    }

    /// `DEBUG SDSLEN key`: the lengths, the spare allocated bytes, and the block sizes. The first block is the entry's,
    /// which also contains a short value; a value without a block of its own has 0.
    pub(super) fn debug_sdslen(&mut self, caller: &mut Caller<'_>, key: &[u8]) -> Result {
        let entry = self.stored(caller, key)?;
        if entry.kind() != Kind::String || entry.encoding() == Encoding::Int {
            return Err(Error::new("ERR Not an sds encoded string."));
        }
        let block = entry.block().map_or(0, Block::memory_bytes);
        let text = format!(
            "key_sds_len:{}, key_sds_avail:0, key_zmalloc: {}, val_sds_len:{}, val_sds_avail:{}, val_zmalloc: {block}",
            entry.key().len(),
            entry.memory_bytes() - block,
            entry.string_len(),
            entry.block().map_or(0, |block| block.capacity() - block.len()),
        );
        caller.reply(&mut self.net).simple(&text);
        Ok(())
    }

    /// `DEBUG LISTPACK key`: prints the elements of a packed value to the standard output.
    pub(super) fn debug_listpack(&mut self, caller: &mut Caller<'_>, key: &[u8]) -> Result {
        let entry = self.inspected(caller, key)?;
        if entry.encoding() != Encoding::Listpack {
            return Err(Error::new("ERR Not a listpack encoded object."));
        }
        let listpack = Listpack::new(entry.packed());
        let mut text =
            format!("{{total bytes {}}} {{num entries {}}}\n", listpack.bytes().len(), listpack.len());
        push_elements(listpack, &mut text);
        print!("{text}");
        caller.reply(&mut self.net).simple("Listpack structure printed on stdout");
        Ok(())
    }

    /// `DEBUG QUICKLIST key [0 | 1]`: prints the nodes of a large list to the standard output, with 1 their elements,
    /// too.
    pub(super) fn debug_quicklist(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let full = args.len() > 3 && leading_number(args.get(3)) != 0;
        let entry = self.inspected(caller, args.get(2))?;
        let Some(list) = entry.container::<Quicklist>() else {
            return Err(Error::new("ERR Not a quicklist encoded object."));
        };
        let mut text = format!("{{count : {}}}\n{{nodes : {}}}\n", list.len(), list.node_count());
        list.for_each_node(|plain, bytes| {
            let kind = if plain { "PLAIN" } else { "PACKED" };
            let _ = writeln!(text, "{{container : {kind}, size : {}}}", bytes.len());
            if full && !plain {
                push_elements(Listpack::new(bytes), &mut text);
            }
        });
        print!("{text}");
        caller.reply(&mut self.net).simple("Quicklist structure printed on stdout");
        Ok(())
    }

    /// `DEBUG DIGEST-VALUE [key …]`: the digest of each key's value, zeroes for a missing key. Expired keys that are
    /// not deleted yet count as existing.
    pub(super) fn debug_digest_value(&mut self, caller: &mut Caller<'_>, args: Args<'_>) {
        let index = caller.session(&mut self.net).db;
        let db = self.core.keyspace.db(index);
        let digest_of = |key: &[u8]| {
            let at = db.find(self.core.keyspace.hash(key), key);
            at.map_or(Digest::default(), |at| digest::of_value(&db.get(at)))
        };
        let digests: Vec<Digest> = args.iter_from(2).map(digest_of).collect();
        let mut reply = caller.reply(&mut self.net);
        reply.array(digests.len());
        for digest in &digests {
            reply.simple(&hex(digest));
        }
    }

    /// `DEBUG HTSTATS dbid [full]`: figures of a database's table.
    pub(super) fn debug_htstats(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let index =
            usize::try_from(integer(args.get(2))?).ok().filter(|index| *index < self.core.keyspace.count());
        let db = self.core.keyspace.db(index.ok_or("ERR Out of range database")?);
        let keys = db.table_stats().describe(wants_all(args));
        // Keys with an expiry are in a list, not in a table.
        let expires = match db.expires().len() {
            0 => "No stats available for empty dictionaries".to_owned(),
            count => format!(" number of elements: {count}"),
        };
        let text = format!(
            "[Dictionary HT]\n{keys}[Expires HT]\nHash table 0 stats (main hash table):\n{expires}\n"
        );
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `DEBUG HTSTATS-KEY key [full]`: figures of the table of a value.
    pub(super) fn debug_htstats_key(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let entry = self.inspected(caller, args.get(2))?;
        let Some(stats) = table_stats(&entry) else {
            let text = "ERR The value stored at the specified key is not represented using an hash table";
            return Err(text.into());
        };
        let text = stats.describe(wants_all(args));
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `DEBUG STRUCTSIZE`: the sizes of the structures that exist once per key or per connection.
    pub(super) fn debug_structsize(&mut self, caller: &mut Caller<'_>) {
        let text = format!(
            "bits:{} entry:{} block:{} bucket:64 client:{} query:{} ",
            usize::BITS,
            size_of::<Entry>(),
            size_of::<Block>(),
            size_of::<Client>(),
            size_of::<Query>(),
        );
        caller.reply(&mut self.net).bulk(text.as_bytes());
    }
}

/// Whether the argument `full` was given.
fn wants_all(args: Args<'_>) -> bool {
    args.len() > 3 && args.is(3, "full")
}

/// Appends one line per element.
fn push_elements(listpack: Listpack<'_>, text: &mut String) {
    for (index, element) in listpack.iter().enumerate() {
        let _ = writeln!(text, "{{index {index}}} {}", element.to_vec().escape_ascii());
    }
}

/// Bytes of the value in an RDB file, without its type. O(N).
fn serialized_len(entry: &Entry, compress: bool) -> usize {
    let mut len = rdb::Counted::default();
    rdb::save_value(entry, &mut rdb::Encoder::new(&mut len, compress));
    len.0
}

/// Describes a quicklist's nodes.
fn quicklist_facts(list: &Quicklist, config: &Config) -> String {
    let mut bytes = 0;
    list.for_each_node(|_, node| bytes += node.len());
    format!(
        " ql_nodes:{} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{bytes}",
        list.node_count(),
        list.len() as f64 / list.node_count().max(1) as f64,
        config.list_max_listpack_size,
        u8::from(config.list_compress_depth != 0),
    )
}

/// The figures of a value's table, if it has one.
fn table_stats(entry: &Entry) -> Option<DictStats> {
    if let Some(hash) = entry.container::<hash::Hash>() {
        return Some(hash.dict().stats());
    }
    if let Some(sorted) = entry.container::<sorted_set::SortedSet>() {
        return Some(sorted.table_stats());
    }
    entry.container::<set::MemberTable>().map(|set| set.dict().stats())
}
