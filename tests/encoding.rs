//! A value is encoded in pieces: whatever its size, only one element of it and the sink's buffer need extra memory.

use redstart::alloc::Counting;
use redstart::codec::crc64;
use redstart::dict::Seed;
use redstart::persist::rdb::{Encoder, Sink, payload, save_value};
use redstart::types::hash::{self, Condition, FieldExpiry, HashMut};
use redstart::types::list::{self, End};
use redstart::types::set;
use redstart::types::sorted_set::{self, How};
use redstart::types::stream::{Id, Stream};
use redstart::types::{Entry, Shapes, Text};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ITEMS: u64 = 10_000;
const ITEM_BYTES: usize = 200;
const CHUNK: usize = 64 << 10;

/// Collects a chunk, like a file's buffer, and drops it; records the largest memory use at any piece.
struct Chunks {
    chunk: Vec<u8>,
    written: Vec<u64>,
    total: usize,
    longest: usize,
    most_bytes: usize,
}

impl Chunks {
    fn new() -> Chunks {
        Chunks {
            chunk: Vec::with_capacity(CHUNK),
            written: Vec::with_capacity(1024),
            total: 0,
            longest: 0,
            most_bytes: 0,
        }
    }

    fn flush(&mut self) {
        self.written.push(crc64::checksum(&self.chunk));
        self.chunk.clear();
    }
}

impl Sink for Chunks {
    fn write(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len();
        self.longest = self.longest.max(bytes.len());
        self.most_bytes = self.most_bytes.max(Counting::live_bytes());
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = rest;
            if self.chunk.len() == CHUNK {
                self.flush();
            }
        }
    }
}

/// An element that is not a number and cannot be compressed.
fn item(n: u64) -> Vec<u8> {
    let mut state = n + 1;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as u8
    };
    (0..ITEM_BYTES).map(|_| next()).collect()
}

/// A value of 2 MB of each type.
fn large_values() -> Vec<Entry> {
    let shapes = Shapes::new(Seed::new([1, 2]));
    let mut set = set::create(b"set", &item(0), 1, &shapes);
    let mut sorted_set = sorted_set::create(b"zset", ITEM_BYTES, 1, &shapes);
    let mut hash = hash::create(b"hash", &shapes, 0, std::iter::empty());
    let mut timed_hash = hash::create(b"timed", &shapes, 0, std::iter::empty());
    let mut list = list::create(b"list");
    let mut stream = Stream::default();
    for n in 0..ITEMS {
        let item = item(n);
        set::add(&mut set, &item, &shapes);
        sorted_set::apply(&mut sorted_set, &item, n as f64, How::default(), &shapes).expect("a number");
        for (entry, time) in [(&mut hash, None), (&mut timed_hash, Some(2 + n as i64))] {
            let mut fields = HashMut::new(entry, &shapes, 0);
            fields.set(&n.to_be_bytes(), Text::Bytes(&item), None, FieldExpiry::Remove);
            if let Some(time) = time {
                fields.set_expiry(&n.to_be_bytes(), time, Condition::Always);
            }
        }
        list::extend(&mut list, End::Back, std::iter::once(&item[..]), &shapes);
        stream.append(Id { ms: n, seq: 1 }, 1, [&b"field"[..], &item].into_iter(), &shapes);
    }
    vec![set, sorted_set, hash, timed_hash, list, Entry::with_container(b"stream", stream, None)]
}

/// A single test, because memory is counted for the whole process.
#[test]
fn encoding_a_value_of_any_size_takes_the_memory_of_an_element() {
    // Allocates the compressor's table, once per thread.
    save_value(&Entry::string(b"", &item(0), None), &mut Encoder::new(&mut Vec::new(), true));
    a_collection_is_written_in_pieces();
    a_long_string_leaves_no_memory_behind_in_its_encoder();
}

fn a_collection_is_written_in_pieces() {
    for entry in large_values() {
        for compress in [false, true] {
            let name = entry.key().escape_ascii().to_string();
            let mut chunks = Chunks::new();
            let before = Counting::live_bytes();
            save_value(&entry, &mut Encoder::new(&mut chunks, compress));
            let more = chunks.most_bytes - before;
            // A node of a list or a stream counts as an element: at most 8 KiB.
            assert!(chunks.longest <= 9 << 10, "{name}: a piece of {} bytes", chunks.longest);
            assert!(more <= 20 << 10, "{name}: {more} bytes more while {} were written", chunks.total);
            assert!(chunks.total >= ITEMS as usize * ITEM_BYTES, "{name}: {} bytes", chunks.total);
            chunks.flush();
            // The output is the payload of DUMP between its type byte and its footer.
            let payload = payload::dump(&entry, compress);
            let whole = &payload[1..payload.len() - 10];
            assert_eq!(whole.len(), chunks.total, "{name}");
            assert!(whole.chunks(CHUNK).map(crc64::checksum).eq(chunks.written), "{name}");
        }
    }
}

fn a_long_string_leaves_no_memory_behind_in_its_encoder() {
    let mut chunks = Chunks::new();
    let entry = Entry::string(b"key", &b"compressible ".repeat(400_000), None);
    let before = Counting::live_bytes();
    let mut encoder = Encoder::new(&mut chunks, true);
    save_value(&entry, &mut encoder);
    let left = Counting::live_bytes().saturating_sub(before);
    // A block of 64 KiB and the C library's overhead.
    assert!(left <= (64 << 10) + 16, "{left} bytes");
}
