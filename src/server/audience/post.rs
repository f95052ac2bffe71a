//! Messages on their way to clients, in the order in which they came about.
//!
//! What a unit publishes, and what its changes are announced as, is collected here and delivered when the unit is over:
//! then the reply to its own client is complete. A message is encoded once for all clients that get it in that form; the
//! list of these is shared with the subscription. A large payload is shared, too, with the output of every client.

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;
use crate::types::block::Block;

/// Clients that get the same message.
pub type Recipients = Rc<Vec<Token>>;

/// From this length on a payload that many may have to wait for is not copied for each of them.
const SHARED: usize = 4096;

/// Bytes of letters from which on they should be delivered.
const LARGE: usize = 128 * 1024;

/// Room that is kept.
const KEEP: usize = 1 << 20;

/// What a message says. Where it is large, a block of it is shared by all that get it, and made for the first of them.
pub struct Payload<'a> {
    bytes: &'a [u8],
    block: OnceCell<Block>,
}

impl<'a> Payload<'a> {
    /// `bytes`, which may have a block to themselves.
    pub fn new(bytes: &'a [u8], block: Option<Block>) -> Self {
        Payload { bytes, block: block.map_or_else(OnceCell::new, OnceCell::from) }
    }

    /// The block, if the payload is shared.
    fn shared(&self) -> Option<&Block> {
        (self.bytes.len() >= SHARED).then(|| self.block.get_or_init(|| Block::from(self.bytes)))
    }
}

/// To whom a letter goes.
#[derive(Clone, Debug)]
pub enum Address {
    /// One client.
    One(Token),
    /// Several.
    Many(Recipients),
}

/// A message in one form, with its recipients.
pub struct Letter {
    /// To whom it goes.
    pub address: Address,
    /// Where it stands in [`Post::buffer`].
    pub bytes: Range<usize>,
    /// Its large payload, and before which byte of the buffer that belongs.
    pub payload: Option<(usize, Block)>,
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

    /// Whether it should be delivered without waiting for more.
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

    /// The bytes of all letters.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The letters, in order.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// Forgets what has been delivered.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.letters.clear();
        self.letters.shrink_to(KEEP / size_of::<Letter>());
    }

    /// Sends the array of `words` and `payload` to the clients of `address`, which speak `protocol`.
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
        self.letters.push(Letter { address, bytes: start..self.buffer.len(), payload });
    }

    /// Sends what `write` writes to all of `recipients`, who speak `protocol`.
    pub fn write_to(&mut self, recipients: &[Token], protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) {
        let address = match recipients {
            [] => return,
            [only] => Address::One(*only),
            _ => Address::Many(Rc::new(recipients.to_vec())),
        };
        let start = self.buffer.len();
        write(&mut Reply::new(&mut self.buffer, protocol));
        self.letters.push(Letter { address, bytes: start..self.buffer.len(), payload: None });
    }
}
