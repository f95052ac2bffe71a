//! The formats of `struct`: options with sizes, byte order and alignment.
//!
//! ```text
//! > <    big-endian, little-endian (at first)          i I [n]  an integer of n bytes, 4 without n, up to 32
//! ! [n]  numbers are aligned to at most n, or 8        s        bytes up to a zero byte
//! b B    a byte, with and without a sign               c [n]    n bytes, 1 without n; c0: all, or as many as the
//! h H    2 bytes                                                number before says
//! l L T  8 bytes                                       x        a zero byte
//! f d    4 and 8 bytes of a floating-point number      space    nothing
//! ```

/// The maximum size of an integer in bytes.
const LARGEST_INTEGER: i32 = 32;
/// The maximum number of digits of a number, leading zeros included.
const MOST_DIGITS: usize = 1 << 12;
/// The default alignment of `!`.
const USUAL_ALIGNMENT: i32 = 8;

/// The defect in a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An invalid number, with the error message.
    Size(String),
    /// An unknown option.
    Option(u8),
}

/// An option of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub letter: u8,
    /// In bytes; 0 if the format does not determine it, or if the option takes none.
    pub size: usize,
}

/// The position in a format, and the settings made by its options. The caller passes the text of the format each time.
#[derive(Clone, Debug)]
pub struct Format {
    at: usize,
    alignment: usize,
    pub is_little_endian: bool,
}

impl Format {
    pub fn new() -> Format {
        Format { at: 0, alignment: 1, is_little_endian: true }
    }

    /// The number of bytes of the format read so far.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Returns the next option, up to the end or a zero byte. `set` executes one that neither reads nor writes.
    #[inline]
    pub fn next(&mut self, text: &[u8]) -> Result<Option<Item>, Wrong> {
        let Some(&letter @ 1..) = text.get(self.at) else { return Ok(None) };
        self.at += 1;
        let size = match letter {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'f' => 4,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'c' => self.number(text, 1)? as usize,
            b'i' | b'I' => {
                let size = self.number(text, 4)?;
                if size > LARGEST_INTEGER {
                    let text = format!("integral size {size} is larger than limit of {LARGEST_INTEGER}");
                    return Err(Wrong::Size(text));
                }
                size as usize
            }
            _ => 0,
        };
        Ok(Some(Item { letter, size }))
    }

    /// Parses a number, up to C's largest `int`; returns `default` if there is none.
    fn number(&mut self, text: &[u8], default: i32) -> Result<i32, Wrong> {
        let rest = &text[self.at..];
        let digits = rest.iter().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        self.at += digits;
        if digits == MOST_DIGITS {
            return Err(Wrong::Size("integral size overflow".to_string()));
        }
        rest[..digits]
            .iter()
            .try_fold(0i32, |value, digit| value.checked_mul(10)?.checked_add(i32::from(digit - b'0')))
            .ok_or_else(|| Wrong::Size("integral size overflow".to_string()))
    }

    /// Executes an option that sets byte order or alignment.
    pub fn set(&mut self, text: &[u8], letter: u8) -> Result<(), Wrong> {
        match letter {
            b' ' => {}
            b'>' => self.is_little_endian = false,
            b'<' => self.is_little_endian = true,
            b'!' => {
                let alignment = self.number(text, USUAL_ALIGNMENT)?;
                if alignment.count_ones() != 1 {
                    return Err(Wrong::Size(format!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment as usize;
            }
            _ => return Err(Wrong::Option(letter)),
        }
        Ok(())
    }

    /// Returns the number of alignment bytes before an item at `position`.
    ///
    /// This is the reference implementation's formula, even for sizes that are not a power of two.
    pub fn padding(&self, position: usize, item: Item) -> usize {
        if item.size == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.size.min(self.alignment);
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }
}
