//! Decodes small collections in the formats of Redis before 7.0 into listpacks. They are no longer written.
//!
//! ```text
//!  ziplist  bytes 4 | offset of the last 4 | entries 2 | entry … | ff
//!  entry    bytes of the one before: 1, or fe and 4 | encoding and length | data
//!           00llllll, 01llllll 1, 10…… 4 (big-endian)     a string
//!           c0 2, d0 4, e0 8, f0 3, fe 1                  an integer (little-endian)
//!           f1 to fd                                      0 to 12
//!  zipmap   fields 1 | length, field, length, free 1, value, free bytes … | ff        length: 1, or fe and 4
//! ```
//!
//! Every entry is checked, including the length of the previous one; a single error refuses the whole collection.

use super::{Input, LoadError, SliceInput};
use crate::types::Text;
use crate::types::listpack::Builder;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;
const ZIPLIST_HEADER: usize = 10;
const BAD_ZIPLIST: LoadError = LoadError::Malformed("a bad ziplist");
const BAD_ZIPMAP: LoadError = LoadError::Malformed("a bad zipmap");

/// Converts a ziplist's entries to a listpack.
pub(super) fn to_listpack(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut input = SliceInput::new(bytes);
    let len = u32::from_le_bytes(input.array()?) as usize;
    let last = u32::from_le_bytes(input.array()?) as usize;
    let said = u16::from_le_bytes(input.array()?);
    if len != bytes.len() || bytes.len() <= ZIPLIST_HEADER || bytes[len - 1] != END {
        return Err(BAD_ZIPLIST);
    }
    let mut builder = Builder::with_capacity(len);
    let (mut start, mut before) = (ZIPLIST_HEADER, 0);
    loop {
        let at = len - input.rest().len();
        if at == len - 1 {
            break;
        }
        let previous = match input.byte()? {
            END => return Err(BAD_ZIPLIST),
            LONG => u32::from_le_bytes(input.array()?) as usize,
            short => short.into(),
        };
        if previous != before {
            return Err(BAD_ZIPLIST);
        }
        push_entry(&mut input, &mut builder)?;
        start = at;
        before = len - input.rest().len() - at;
    }
    if last != start || (said != u16::MAX && usize::from(said) != builder.len()) {
        return Err(BAD_ZIPLIST);
    }
    Ok(builder.finish())
}

/// Reads an entry, starting at its encoding.
fn push_entry(input: &mut SliceInput<'_>, builder: &mut Builder) -> Result<(), LoadError> {
    let first = input.byte()?;
    let len = match first >> 6 {
        0 => usize::from(first),
        1 => usize::from(first & 0x3f) << 8 | usize::from(input.byte()?),
        2 => u32::from_be_bytes(input.array()?) as usize,
        _ => {
            let value = match first {
                0xc0 => i16::from_le_bytes(input.array()?).into(),
                0xd0 => i32::from_le_bytes(input.array()?).into(),
                0xe0 => i64::from_le_bytes(input.array()?),
                0xf0 => {
                    let [low, middle, high] = input.array()?;
                    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
                }
                0xfe => i8::from_le_bytes(input.array()?).into(),
                0xf1..=0xfd => i64::from(first & 0x0f) - 1,
                _ => return Err(BAD_ZIPLIST),
            };
            builder.push(Text::Int(value));
            return Ok(());
        }
    };
    builder.push(Text::Bytes(input.bytes(len)?));
    Ok(())
}

/// Converts a zipmap's fields and values to a listpack.
pub(super) fn zipmap_to_listpack(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut input = SliceInput::new(bytes);
    let said = input.byte()?;
    let mut builder = Builder::with_capacity(bytes.len());
    loop {
        let field = match input.byte()? {
            END => break,
            LONG => u32::from_le_bytes(input.array()?) as usize,
            short => short.into(),
        };
        builder.push(Text::Bytes(input.bytes(field)?));
        let value = match input.byte()? {
            END => return Err(BAD_ZIPMAP),
            LONG => u32::from_le_bytes(input.array()?) as usize,
            short => short.into(),
        };
        let free = input.byte()?;
        builder.push(Text::Bytes(input.bytes(value)?));
        input.bytes(free.into())?;
    }
    if !input.rest().is_empty() || (said < LONG && usize::from(said) != builder.len() / 2) {
        return Err(BAD_ZIPMAP);
    }
    Ok(builder.finish())
}
