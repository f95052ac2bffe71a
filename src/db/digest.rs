//! Fingerprints of values and of the whole data set, identical to those of Redis: `DEBUG DIGEST`.
//!
//! ```text
//!  add(d, x)   d ^= SHA-1(x)             independent of the order in which values are added
//!  mix(d, x)   add(d, x); d = SHA-1(d)   dependent on the order
//!
//!  value       mix(type's number, 4 bytes big-endian), then what the type is made of, then add("!!expire!!") if
//!              the key has an expiry
//!  key         from zeroes: mix(key), then the value
//!  data set    from zeroes, for each database with keys: mix(index, 4 bytes big-endian), then add(digest of a key)
//! ```
//!
//! A sequence is mixed; the members of a set are added. Parts that belong together (a field and its value) are first
//! mixed into a digest of their own, which is then added. The encoding of a value makes no difference.
//!
//! Cost: seven SHA-1 of one block for a short key and value, about 2 µs. Keys that have expired but are not deleted yet
//! are included.

use super::Keyspace;
use crate::codec::sha1::{Digest, sha1};
use crate::text::number::{push_f64_short, push_u64};
use crate::types::hash::HashRef;
use crate::types::list;
use crate::types::set::SetRef;
use crate::types::sorted_set::SortedSetRef;
use crate::types::stream::{Id, Stream};
use crate::types::{Entry, Kind};

fn add(digest: &mut Digest, bytes: &[u8]) {
    for (byte, other) in digest.iter_mut().zip(sha1(bytes)) {
        *byte ^= other;
    }
}

fn mix(digest: &mut Digest, bytes: &[u8]) {
    add(digest, bytes);
    *digest = sha1(&*digest);
}

fn mix_number(digest: &mut Digest, number: u32) {
    mix(digest, &number.to_be_bytes());
}

/// Mixes the type, the value and whether there is an expiry into `digest`.
fn mix_value(digest: &mut Digest, entry: &Entry) {
    // The numbers of `Kind` are Redis', except that Redis has modules before streams.
    let number = if entry.kind() == Kind::Stream { 6 } else { entry.kind() as u32 };
    mix_number(digest, number);
    match entry.kind() {
        Kind::String => mix(digest, &entry.value().to_vec()),
        Kind::List => list::forwards(entry, 0, &mut |element| {
            mix(digest, &element.to_vec());
            true
        }),
        Kind::Set => SetRef::of(entry).members().for_each(|member| add(digest, &member.to_vec())),
        Kind::Hash => {
            for item in HashRef::new(entry, i64::MIN).iter() {
                let mut pair = Digest::default();
                mix(&mut pair, &item.field.to_vec());
                mix(&mut pair, &item.value.to_vec());
                add(digest, &pair);
            }
        }
        Kind::SortedSet => {
            for (member, score) in SortedSetRef::of(entry).iter() {
                let mut pair = Digest::default();
                mix(&mut pair, &member.to_vec());
                let mut digits = Vec::new();
                push_f64_short(&mut digits, score);
                mix(&mut pair, &digits);
                add(digest, &pair);
            }
        }
        Kind::Stream => {
            let Some(stream) = entry.container::<Stream>() else { return };
            for record in stream.range(Id::MIN, Id::MAX) {
                let mut id = Vec::new();
                push_u64(&mut id, record.id.ms);
                id.push(b'.');
                push_u64(&mut id, record.id.seq);
                mix(digest, &id);
                for (field, value) in record.pairs() {
                    mix(digest, &field.to_vec());
                    mix(digest, &value.to_vec());
                }
            }
        }
    }
    if entry.expire_at().is_some() {
        add(digest, b"!!expire!!");
    }
}

/// Returns the digest of a value, without its key (`DEBUG DIGEST-VALUE`). O(N) in the value's size.
pub fn of_value(entry: &Entry) -> Digest {
    let mut digest = Digest::default();
    mix_value(&mut digest, entry);
    digest
}

/// Returns the digest of the data set (`DEBUG DIGEST`), zeroes if it is empty. O(N) in its size.
pub fn of_keyspace(keyspace: &Keyspace) -> Digest {
    let mut all = Digest::default();
    for index in 0..keyspace.count() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        mix_number(&mut all, index as u32);
        for entry in db.entries() {
            let mut digest = Digest::default();
            mix(&mut digest, entry.key());
            mix_value(&mut digest, &entry);
            add(&mut all, &digest);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hex;
    use crate::dict::Seed;
    use crate::types::listpack::{self, Element};
    use crate::types::{Encoding, Shapes, set};

    /// The figures are those of Redis 7.2.6.
    #[test]
    fn a_data_set_has_the_digest_that_redis_gives_it() {
        let mut keyspace = Keyspace::new(16, Seed::plain());
        assert_eq!(hex(&of_keyspace(&keyspace)), "0".repeat(40));
        let mut set = |db: usize, key: &[u8], value: &[u8], expire: Option<i64>| {
            keyspace.put(keyspace.key(db, key), Entry::string(key, value, expire));
            hex(&of_keyspace(&keyspace))
        };
        assert_eq!(set(0, b"a", b"1", None), "943d800368fb9c0e951138f1bc0e313ac769d91f");
        assert_eq!(set(0, b"b", &[b'x'; 1000], None), "9b95481592c8c04623082027b79a5416baab15d2");
        assert_eq!(set(0, b"a", b"1", Some(i64::MAX)), "03c073d9b0e695cc4ed39b41221cf87e91c09ebc");
        assert_eq!(set(5, b"", b"-7", None), "72a07289f5e936d2cf4bf412fa9f1ba14775f1d9");
    }

    #[test]
    fn a_value_has_the_digest_that_redis_gives_it_whatever_its_key() {
        let digest = |value: &[u8], expire| hex(&of_value(&Entry::string(b"any", value, expire)));
        assert_eq!(digest(b"1", None), "b4fc66738120fba0b5aa500ab5c2bf89cea1c5da");
        assert_eq!(digest(b"abc", Some(1)), "c77a33d2ea9755a8613f7e54f17873233d7a8058");
        let mut entry = Entry::with_packed(b"h", Kind::Hash, Encoding::Listpack, &listpack::EMPTY, None);
        listpack::append(
            &mut entry.packed_mut(),
            &[&b"a"[..], b"1", b"b", b"2", b"c", b"3"].map(Element::from),
        );
        assert_eq!(hex(&of_value(&entry)), "b60c36e529712296d694f27b5914cbe84950995e");
    }

    #[test]
    fn a_set_has_the_digest_that_redis_gives_it_in_whatever_order() {
        let digest = |members: &[&[u8]]| {
            let shapes = Shapes::new(Seed::plain());
            let mut entry = set::create(b"any", members[0], 1, &shapes);
            for member in members {
                set::add(&mut entry, member, &shapes);
            }
            hex(&of_value(&entry))
        };
        assert_eq!(digest(&[b"1", b"2", b"3"]), "2a462a3f51a1db89738ebbeef0c47ce1bbc85246");
        assert_eq!(digest(&[b"17", b"b", b"a"]), "da8febe0eef810e442dfab4099e326584070379a");
    }
}
