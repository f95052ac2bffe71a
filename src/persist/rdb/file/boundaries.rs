//! Finds where the records of a file and the elements of its values end, while the file is still being received.
//!
//! A decoder needs all bytes of a step (a record, or an element of a collection), and cannot wait for them. So the bytes
//! of a socket pass through [`Boundaries`] first, which reads lengths and skips contents: the form of each type is a list
//! of [`Piece`]s.
//!
//! ```text
//!   bytes ─▶ Boundaries: …record│key, count│element│elem…          the decoder gets whole steps only
//!                                                  ▲ whole  ▲ seen
//! ```
//!
//! A step may end after the count of a [`Piece::Many`] and after each of its repetitions, nested ones
//! included: the decoders of `growing` can stop at all these places.
//!
//! Costs: a step for each length, nothing for contents; a few bytes of state, whatever a record's size. A form that is
//! unknown or malformed is no error here: everything counts as whole from then on, so that the decoder finds the same
//! error as in a file.

use super::super::encoder::{INT_8, INT_16, INT_32, LEN_14, LEN_32, LEN_64, LZF, SPECIAL};
use super::super::types;
use super::records::{WITH_CHECKSUM, module};
use super::{SIGNATURE, SIGNATURE_OF_VALKEY, opcode};

/// The length of the signature with the version.
const HEAD: usize = 9;

/// A part of a record.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// A type byte or an opcode with all that follows it.
    Record,
    /// This many bytes.
    Bytes(u64),
    /// A length.
    Length,
    /// A string.
    String,
    /// A count, and these pieces that many times: the elements of a value.
    Many(&'static [Piece]),
    /// A score as digits, after a byte with their number.
    Digits,
    /// The data of a module, up to its end.
    ModuleData,
    /// The decoder refuses what follows.
    Refused,
}

use Piece::{Bytes, Digits, Length, Many, ModuleData, Record, Refused, String};

const STRING: &[Piece] = &[String];
const STRINGS: &[Piece] = &[Many(&[String])];
const ID: Piece = Bytes(16);
const TIME: Piece = Bytes(8);
const PENDING: Piece = Many(&[ID, TIME, Length]);
const NODES: Piece = Many(&[String, String]);
const STREAM: &[Piece] = &[
    NODES,
    Length,
    Length,
    Length,
    Many(&[String, Length, Length, PENDING, Many(&[String, TIME, Many(&[ID])])]),
];
const STREAM_2: &[Piece] = &[
    NODES,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Many(&[String, Length, Length, Length, PENDING, Many(&[String, TIME, Many(&[ID])])]),
];
const STREAM_3: &[Piece] = &[
    NODES,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Length,
    Many(&[String, Length, Length, Length, PENDING, Many(&[String, TIME, TIME, Many(&[ID])])]),
];

/// The form of a value.
fn value(type_byte: u8) -> Option<&'static [Piece]> {
    Some(match type_byte {
        types::STRING
        | types::HASH_ZIPMAP
        | types::LIST_ZIPLIST
        | types::SET_INTSET
        | types::ZSET_ZIPLIST
        | types::HASH_ZIPLIST
        | types::HASH_LISTPACK
        | types::ZSET_LISTPACK
        | types::SET_LISTPACK => STRING,
        types::LIST | types::SET | types::LIST_QUICKLIST => STRINGS,
        types::LIST_QUICKLIST_2 => &[Many(&[Length, String])],
        types::ZSET => &[Many(&[String, Digits])],
        types::ZSET_2 => &[Many(&[String, Bytes(8)])],
        types::HASH => &[Many(&[String, String])],
        types::HASH_METADATA => &[TIME, Many(&[Length, String, String])],
        types::HASH_LISTPACK_EX => &[TIME, String],
        types::STREAM => STREAM,
        types::STREAM_2 => STREAM_2,
        types::STREAM_3 => STREAM_3,
        types::MODULE | types::MODULE_PRE_GA => &[Refused],
        _ => return None,
    })
}

/// The form of a record without a key.
fn special(byte: u8) -> Option<&'static [Piece]> {
    Some(match byte {
        opcode::SLOT_INFO => &[Length, Length, Length],
        opcode::FUNCTION2 => STRING,
        opcode::MODULE_AUX => &[Length, Length, Length, ModuleData],
        opcode::IDLE => &[Length, Record],
        opcode::FREQ => &[Bytes(1), Record],
        opcode::AUX => &[String, String],
        opcode::RESIZEDB => &[Length, Length],
        opcode::EXPIRETIME_MS => &[TIME, Record],
        opcode::EXPIRETIME => &[Bytes(4), Record],
        opcode::SELECTDB => &[Length],
        _ => return None,
    })
}

/// The use of the length that is read next.
#[derive(Clone, Copy, Debug)]
enum For {
    Nothing,
    String,
    /// The length of a compressed string.
    Compressed,
    /// The length of the string that was compressed to this many bytes.
    Uncompressed(u64),
    Many(&'static [Piece]),
    /// The kind of the next part of a module's data.
    Module,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Next {
    Head,
    /// The next piece has not been determined.
    Unknown,
    Record,
    Length(For),
    Digits,
}

/// The bytes of a length so far.
enum Taken {
    Begun,
    Malformed,
    /// A number, or the form of a string.
    Whole(Result<u64, u8>),
}

/// Pieces that may be repeated.
#[derive(Debug)]
struct Frame {
    pieces: &'static [Piece],
    at: usize,
    /// Repetitions left, including the current one.
    left: u64,
    /// Whether each repetition is an element of a value.
    is_element: bool,
}

/// See the module's head.
#[derive(Debug)]
pub struct Boundaries {
    seen: u64,
    whole: u64,
    /// Bytes to skip.
    skip: u64,
    next: Next,
    /// The beginning of a length or of the head.
    held: [u8; HEAD],
    held_len: usize,
    frames: Vec<Frame>,
    version: u16,
    /// Whether the last record has begun, and whether it has ended.
    is_last: bool,
    has_ended: bool,
    is_broken: bool,
}

impl Default for Boundaries {
    fn default() -> Self {
        Boundaries {
            seen: 0,
            whole: 0,
            skip: 0,
            next: Next::Head,
            held: [0; HEAD],
            held_len: 0,
            frames: Vec::new(),
            version: 0,
            is_last: false,
            has_ended: false,
            is_broken: false,
        }
    }
}

impl Boundaries {
    /// The number of bytes up to the end of the last whole record or whole element.
    pub fn whole(&self) -> u64 {
        if self.is_broken { self.seen } else { self.whole }
    }

    /// Whether the signature and the version are whole.
    pub fn has_head(&self) -> bool {
        self.whole() >= HEAD as u64
    }

    /// The number of bytes after the end of the file, if that has been seen.
    pub fn surplus(&self) -> Option<u64> {
        self.has_ended.then_some(self.seen - self.whole)
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if self.has_ended || self.is_broken {
            self.seen += bytes.len() as u64;
            return;
        }
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            self.seen += skipped;
            bytes = &bytes[skipped as usize..];
            if self.skip > 0 {
                return;
            }
            if matches!(self.next, Next::Unknown) {
                self.advance();
                if self.has_ended || self.is_broken {
                    self.seen += bytes.len() as u64;
                    return;
                }
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.seen += 1;
            if self.take(*byte).is_none() {
                self.is_broken = true;
                self.frames = Vec::new();
                self.seen += bytes.len() as u64;
                return;
            }
        }
    }

    /// Finds the next piece, after the one that has ended.
    fn advance(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            self.whole = self.seen;
            self.has_ended = self.is_last;
            self.next = Next::Record;
            return;
        };
        let Some(piece) = frame.pieces.get(frame.at) else {
            if frame.is_element {
                self.whole = self.seen;
            }
            (frame.at, frame.left) = (0, frame.left - 1);
            if frame.left == 0 {
                self.frames.pop();
            }
            return;
        };
        frame.at += 1;
        self.next = match piece {
            Bytes(count) => {
                self.skip = *count;
                return;
            }
            Record => Next::Record,
            Length => Next::Length(For::Nothing),
            String => Next::Length(For::String),
            Many(pieces) => Next::Length(For::Many(pieces)),
            Digits => Next::Digits,
            ModuleData => Next::Length(For::Module),
            Refused => {
                self.is_broken = true;
                return;
            }
        };
    }

    /// Takes a byte that is not skipped. `None`: the file is malformed.
    fn take(&mut self, byte: u8) -> Option<()> {
        match self.next {
            Next::Head => return self.take_head(byte),
            Next::Unknown => {}
            Next::Record => {
                self.next = Next::Unknown;
                return self.begin_record(byte);
            }
            Next::Length(of) => match self.take_length(byte) {
                Taken::Begun => {}
                Taken::Malformed => return None,
                Taken::Whole(length) => {
                    self.next = Next::Unknown;
                    return self.take_number(of, length);
                }
            },
            Next::Digits => {
                // The three highest values are scores themselves.
                self.skip = if byte > 252 { 0 } else { byte.into() };
                self.next = Next::Unknown;
            }
        }
        Some(())
    }

    fn take_head(&mut self, byte: u8) -> Option<()> {
        self.held[self.held_len] = byte;
        self.held_len += 1;
        if self.held_len == HEAD {
            let is_valkey = self.held.starts_with(SIGNATURE_OF_VALKEY);
            let signature = if is_valkey { SIGNATURE_OF_VALKEY.len() } else { SIGNATURE.len() };
            self.version = super::version_in(&self.held[signature..]);
            (self.held_len, self.next) = (0, Next::Unknown);
        }
        Some(())
    }

    fn begin_record(&mut self, byte: u8) -> Option<()> {
        if byte == opcode::EOF {
            self.is_last = true;
            self.skip = if self.version < WITH_CHECKSUM { 0 } else { 8 };
        } else if let Some(pieces) = special(byte) {
            self.push(pieces);
        } else {
            self.push(value(byte)?);
            self.push(STRING);
        }
        Some(())
    }

    /// Takes a byte of a length.
    fn take_length(&mut self, byte: u8) -> Taken {
        self.held[self.held_len] = byte;
        self.held_len += 1;
        let held = &self.held[..self.held_len];
        let first = held[0];
        let low = first & !SPECIAL;
        let size = match first & SPECIAL {
            0 | SPECIAL => 1,
            LEN_14 => 2,
            _ if first == LEN_32 => 5,
            _ if first == LEN_64 => 9,
            _ => return Taken::Malformed,
        };
        if held.len() < size {
            return Taken::Begun;
        }
        let number = held[1..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        self.held_len = 0;
        Taken::Whole(match first & SPECIAL {
            0 => Ok(low.into()),
            SPECIAL => Err(low),
            LEN_14 => Ok(u64::from(low) << 8 | number),
            _ => Ok(number),
        })
    }

    /// Takes a length, or the form of a string in its place.
    fn take_number(&mut self, of: For, length: Result<u64, u8>) -> Option<()> {
        match (of, length) {
            (For::Nothing, Ok(_)) | (For::Module, Ok(module::EOF)) => {}
            (For::String, Ok(len)) | (For::Uncompressed(len), Ok(_)) => self.skip = len,
            (For::String, Err(INT_8)) => self.skip = 1,
            (For::String, Err(INT_16)) => self.skip = 2,
            (For::String, Err(INT_32)) => self.skip = 4,
            (For::String, Err(LZF)) => self.next = Next::Length(For::Compressed),
            (For::Compressed, Ok(len)) => self.next = Next::Length(For::Uncompressed(len)),
            (For::Many(pieces), Ok(left)) => {
                self.whole = self.seen;
                self.push_frame(Frame { pieces, at: 0, left, is_element: true });
            }
            (For::Module, Ok(kind)) => self.push(match kind {
                module::SINT | module::UINT => &[Length, ModuleData],
                module::FLOAT => &[Bytes(4), ModuleData],
                module::DOUBLE => &[Bytes(8), ModuleData],
                module::STRING => &[String, ModuleData],
                _ => return None,
            }),
            (_, Err(_)) => return None,
        }
        Some(())
    }

    /// Begins `pieces`.
    fn push(&mut self, pieces: &'static [Piece]) {
        self.push_frame(Frame { pieces, at: 0, left: 1, is_element: false });
    }

    fn push_frame(&mut self, frame: Frame) {
        // Otherwise the data of a module would add a frame for each of its parts.
        while self.frames.last().is_some_and(|frame| frame.left == 1 && frame.at == frame.pieces.len()) {
            self.frames.pop();
        }
        if frame.left > 0 {
            self.frames.push(frame);
        }
    }
}
