//! Libraries of functions that came with the data. They are not executed here; they are kept, so that a file which is
//! written has them again.
//!
//! A snapshot has their sources. A log has the commands that loaded and removed them, which are followed here.

use crate::persist::rdb::file::{Record, Records, Source};

/// The version, and the checksum that verifies nothing, which make the payload of `FUNCTION RESTORE` an RDB file.
const HEAD: &[u8] = b"REDIS0011";
const END: &[u8] = b"\xff\0\0\0\0\0\0\0\0";

/// What follows the libraries in a payload: two bytes of version, eight of checksum.
const FOOTER_BYTES: usize = 10;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Functions {
    sources: Vec<Vec<u8>>,
}

impl Functions {
    /// The sources of the libraries, in the order in which they were loaded.
    pub fn sources(&self) -> &[Vec<u8>] {
        &self.sources
    }

    /// Keeps a library, in the place of one of the same name if there is one.
    pub fn keep(&mut self, source: Vec<u8>) {
        let name = library_name(&source);
        match self.sources.iter_mut().find(|kept| library_name(kept) == name) {
            Some(kept) => *kept = source,
            None => self.sources.push(source),
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.sources.clear();
    }

    /// Follows a command of a log, in words:
    /// `FUNCTION LOAD [REPLACE] source | DELETE name | FLUSH [ASYNC | SYNC] | RESTORE payload [FLUSH | APPEND | REPLACE]`.
    ///
    /// # Errors
    /// It is none of these, or the payload is damaged: says which.
    pub fn follow(&mut self, words: &[&[u8]]) -> Result<(), &'static str> {
        let is = |index: usize, word: &str| words[index].eq_ignore_ascii_case(word.as_bytes());
        match *words {
            [_, _, ..] if is(1, "flush") => self.clear(),
            [_, _, .., source] if is(1, "load") => self.keep(source.to_vec()),
            [_, _, name] if is(1, "delete") => self.sources.retain(|kept| library_name(kept) != name),
            [_, _, payload, ..] if is(1, "restore") => {
                let restored = libraries(payload);
                let restored = restored.ok_or("ERR DUMP payload version or checksum are wrong")?;
                if words.len() > 3 && is(3, "flush") {
                    self.clear();
                }
                for source in restored {
                    self.keep(source);
                }
            }
            _ => {
                return Err("ERR unknown subcommand or wrong number of arguments for 'function' command");
            }
        }
        Ok(())
    }
}

/// The name of a library: what its first line, `#!lua name=…`, says. Empty if it says nothing.
fn library_name(source: &[u8]) -> &[u8] {
    let line = source.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace);
    words.find_map(|word| word.strip_prefix(b"name=")).unwrap_or_default()
}

/// The libraries of a payload of `FUNCTION DUMP`.
fn libraries(payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    let body = payload.get(..payload.len().checked_sub(FOOTER_BYTES)?)?;
    let file = [HEAD, body, END].concat();
    let mut records = Records::open(Source::new(&file[..], file.len() as u64), false).ok()?;
    let mut found = Vec::new();
    loop {
        match records.next_record().ok()? {
            Record::Function(source) => found.push(source),
            Record::End(_) => return Some(found),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_loaded_replaced_and_removed_by_their_names() {
        let mut functions = Functions::default();
        let (a, b, newer) =
            (&b"#!lua name=a\none"[..], &b"#!lua name=b\ntwo"[..], &b"#!lua name=a\nthree"[..]);
        functions.follow(&[b"FUNCTION", b"LOAD", a]).expect("loaded");
        functions.follow(&[b"FUNCTION", b"LOAD", b]).expect("loaded");
        assert_eq!(functions.sources(), [a, b]);
        functions.follow(&[b"function", b"load", b"replace", newer]).expect("replaced");
        assert_eq!(functions.sources(), [newer, b]);
        functions.follow(&[b"FUNCTION", b"DELETE", b"a"]).expect("deleted");
        assert_eq!(functions.sources(), [b]);
        for words in [&[&b"FUNCTION"[..]][..], &[b"FUNCTION", b"LOAD"], &[b"FUNCTION", b"RESTORE", b"short"]]
        {
            assert!(functions.follow(words).is_err());
        }
        functions.follow(&[b"FUNCTION", b"FLUSH", b"ASYNC"]).expect("flushed");
        assert!(functions.sources().is_empty());
    }

    #[test]
    fn a_payload_brings_its_libraries() {
        let mut functions = Functions::default();
        functions.keep(b"#!lua name=a\none".to_vec());
        let mut payload = b"\xf5\x10#!lua name=b\ntwo".to_vec();
        payload.extend([11, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        functions.follow(&[b"FUNCTION", b"RESTORE", &payload]).expect("restored");
        assert_eq!(functions.sources().len(), 2);
        functions.follow(&[b"FUNCTION", b"RESTORE", &payload, b"FLUSH"]).expect("restored");
        assert_eq!(functions.sources(), [b"#!lua name=b\ntwo"]);
        payload[0] = 0;
        assert!(functions.follow(&[b"FUNCTION", b"RESTORE", &payload]).is_err(), "a key is no library");
    }
}
