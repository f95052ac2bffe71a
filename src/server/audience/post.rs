//! Messages to be delivered to clients, in the order in which they were published.
//!
//! The messages and notifications that a unit publishes are collected here and delivered when the unit ends: by then
//! the reply to its own client is complete. A message is encoded once for all clients that receive it in the same form,
//! and shares its list of recipients with the subscription. A large payload is also shared, with the output of every
//! client.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;
use crate::types::block::Block;

/// Clients that receive the same message.
pub type Recipients = Rc<Vec<Token>>;

/// A payload of at least this length is shared by its recipients instead of copied for each.
const SHARED: usize = 4096;

/// The messages should be delivered when the buffer exceeds this many bytes.
const LARGE: usize = 128 * 1024;

/// Capacity that is kept.
const KEEP: usize = 1 << 20;

/// The payload of a message. A large one is shared by all recipients as a block, created for the first of them.
pub struct Payload<'a> {
    bytes: &'a [u8],
    block: OnceCell<Block>,
}

impl<'a> Payload<'a> {
    /// Creates a payload of `bytes`, which may already be in a block of their own.
    pub fn new(bytes: &'a [u8], block: Option<Block>) -> Self {
        Payload { bytes, block: block.map_or_else(OnceCell::new, OnceCell::from) }
    }

    /// Returns the block, if the payload is shared.
    fn shared(&self) -> Option<&Block> {
        (self.bytes.len() >= SHARED).then(|| self.block.get_or_init(|| Block::from(self.bytes)))
    }
}

/// The recipients of a letter.
#[derive(Clone, Debug)]
pub enum Address {
    /// One client.
    One(Token),
    /// Several clients.
    Many(Recipients),
}

/// A message in one form, with its recipients.
pub struct Letter {
    /// The recipients.
    pub address: Address,
    /// Its place in [`Post::buffer`].
    pub bytes: Range<usize>,
    /// Its large payload, and the byte of the buffer before which it belongs.
    pub payload: Option<(usize, Block)>,
    /// Whether it shows no data of this server: see [`Post::note_independent`].
    pub is_independent: bool,
}

/// See the module's head.
#[derive(Default)]
pub struct Post {
    buffer: Vec<u8>,
    letters: Vec<Letter>,
}

impl Post {
    /// Whether there is nothing to deliver.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Whether the messages should be delivered without waiting for more.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.buffer.len() > LARGE
    }

    /// Bytes of memory, without large payloads.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.letters.capacity() * size_of::<Letter>()
    }

    /// Shrinks the buffer and the list of letters to at most `keep` bytes of spare capacity each.
    pub fn shrink(&mut self, keep: usize) {
        self.buffer.shrink_to(keep);
        self.letters.shrink_to(keep / size_of::<Letter>());
    }

    /// Returns the bytes of all letters.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns the letters, in order.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// Removes everything that was delivered.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.letters.clear();
        self.letters.shrink_to(KEEP / size_of::<Letter>());
    }

    /// Adds a letter, the array of `words` and `payload`, to the clients of `address`, which speak `protocol`.
    pub fn send(&mut self, address: Address, protocol: Protocol, words: &[&[u8]], payload: &Payload<'_>) {
        let start = self.buffer.len();
        let mut reply = Reply::new(&mut self.buffer, protocol);
        reply.push(words.len() + 1);
        for word in words {
            reply.bulk(word);
        }
        let payload = match payload.shared() {
            None => {
                reply.bulk(payload.bytes);
                None
            }
            Some(block) => {
                reply.bulk_header(block.len());
                let at = reply.buf.len();
                reply.buf.extend_from_slice(b"\r\n");
                Some((at, block.share()))
            }
        };
        self.letters.push(Letter {
            address,
            bytes: start..self.buffer.len(),
            payload,
            is_independent: false,
        });
    }

    /// Adds a letter, as `write` writes it, to all of `recipients`, which speak `protocol`.
    pub fn write_to(&mut self, recipients: &[Token], protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) {
        let address = match recipients {
            [] => return,
            [only] => Address::One(*only),
            _ => Address::Many(Rc::new(recipients.to_vec())),
        };
        let start = self.buffer.len();
        write(&mut Reply::new(&mut self.buffer, protocol));
        let bytes = start..self.buffer.len();
        self.letters.push(Letter { address, bytes, payload: None, is_independent: false });
    }

    /// Notes that the letters from the index `first` on have words of a client or of another server, which show no data
    /// of this one.
    pub fn note_independent(&mut self, first: usize) {
        for letter in &mut self.letters[first..] {
            letter.is_independent = true;
        }
    }
}
