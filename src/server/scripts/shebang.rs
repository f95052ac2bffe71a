//! The first line of a script or library, which declares its properties: `#!lua name=mylib`, `#!lua
//! flags=no-writes,allow-oom`.
//!
//! A script may have one, and then says with its flags what it does; a library must have one, with its name, and its
//! functions have flags of their own. The line is split into words as a line of the configuration file. It stays in the
//! source, and what is compiled is the rest from the line feed on, so that the numbers of lines are right.

use crate::command::Error;
use crate::text::words::{self, shown};

/// The declared properties of a script or a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

/// The names of the flags, in the order of their bits: it writes nothing; it may run when there is no memory left for data;
/// on a replica whose data are stale; it cannot run in a cluster; its keys may be in different slots.
const NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

impl Flags {
    /// It writes nothing.
    pub const NO_WRITES: Flags = Flags(1);

    const ALLOW_OOM: Flags = Flags(2);

    /// It may run on a replica that does not serve stale data.
    pub const ALLOW_STALE: Flags = Flags(4);

    /// It does not run on a node of a cluster.
    pub const NO_CLUSTER: Flags = Flags(8);

    const ALLOW_CROSS_SLOT_KEYS: Flags = Flags(16);

    /// Whether it may access keys of different hash slots, as long as all of them are on this node.
    pub fn allows_several_slots(self) -> bool {
        self.has(Self::ALLOW_CROSS_SLOT_KEYS)
    }

    /// Whether it may run when memory is over the limit: it declares so, or writes nothing.
    pub fn allows_oom(self) -> bool {
        self.has(Self::ALLOW_OOM) || self.has(Self::NO_WRITES)
    }

    /// Returns the flag of this name.
    pub fn named(name: &[u8]) -> Option<Flags> {
        let bit = NAMES.iter().position(|known| known.as_bytes() == name)?;
        Some(Flags(1 << bit))
    }

    /// Whether it contains all flags of `other`.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the flags of `other`.
    pub fn insert(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// One bit each, in the order of their names.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The flags with these bits.
    pub fn from_bits(bits: u8) -> Flags {
        Flags(bits)
    }

    /// Their names, in the order in which replies list them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 != 0).map(|(_, name)| name)
    }
}

/// The first line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its flags. `None` if there is no such line: then it is treated as scripts were before there were flags.
    pub flags: Option<Flags>,
    /// The offset at which the compiled part begins.
    pub body: usize,
}

/// Reads the first line of a script.
///
/// # Errors
/// There is one, and it is not `#!lua [flags=…]`.
pub fn of_script(source: &[u8]) -> Result<Script, Error> {
    if !source.starts_with(b"#!") {
        return Ok(Script { flags: None, body: 0 });
    }
    let body = end_of_line(source).ok_or("ERR Invalid script shebang")?;
    let words = words::split(&source[..body]).unwrap_or_default();
    let Some((engine, options)) = words.split_first() else {
        return Err("ERR Invalid engine in script shebang".into());
    };
    if shown(engine) != b"#!lua" {
        return Err(Error::concat(&[b"ERR Unexpected engine in script shebang: ", shown(engine)]));
    }
    let mut flags = Flags::default();
    for option in options {
        let list = option
            .strip_prefix(b"flags=")
            .ok_or_else(|| Error::concat(&[b"ERR Unknown lua shebang option: ", shown(option)]))?;
        if list.is_empty() {
            continue;
        }
        for name in list.split(|byte| *byte == b',') {
            let name = shown(name);
            flags.insert(
                Flags::named(name)
                    .ok_or_else(|| Error::concat(&[b"ERR Unexpected flag in script shebang: ", name]))?,
            );
        }
    }
    Ok(Script { flags: Some(flags), body })
}

/// The first line of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// The offset at which the compiled part begins.
    pub body: usize,
}

/// Reads the first line of a library.
///
/// # Errors
/// It has none, it is not `#!lua name=…`, or the name is not a word.
pub fn of_library(source: &[u8]) -> Result<Library, Error> {
    if !source.starts_with(b"#!") {
        return Err("ERR Missing library metadata".into());
    }
    const INVALID: &str = "ERR Invalid library metadata";
    let body = end_of_line(source).ok_or(INVALID)?;
    let words = words::split(&source[..body]).map_err(|_| INVALID)?;
    let (engine, options) = words.split_first().ok_or(INVALID)?;
    let mut name = None;
    for option in options {
        match option.split_at_checked(b"name=".len()) {
            Some((key, _)) if key.eq_ignore_ascii_case(b"name=") && name.is_some() => {
                return Err("ERR Invalid metadata value, name argument was given multiple times".into());
            }
            Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => name = Some(value),
            _ => return Err(Error::concat(&[b"ERR Invalid metadata value given: ", shown(option)])),
        }
    }
    let name = name.ok_or("ERR Library name was not given")?;
    verify_name(name)?;
    let engine = engine.get(2..).unwrap_or_default();
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(Error::concat(&[b"ERR Engine '", engine, b"' not found"]));
    }
    Ok(Library { name: name.to_vec(), body })
}

/// A name of a library or a function is a word of letters, digits and underscores.
pub fn verify_name(name: &[u8]) -> Result<(), &'static str> {
    if !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Ok(());
    }
    Err("ERR Library names can only contain letters, numbers, or underscores(_) \
         and must be at least one character long")
}

/// Where the first line ends: at its line feed, before which there is no zero byte.
fn end_of_line(source: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', 0, source).filter(|end| source[*end] == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
        String::from_utf8(outcome.expect_err("an error").text().to_vec()).expect("text")
    }

    #[test]
    fn a_script_without_a_first_line_has_no_flags_and_one_with_an_empty_list_has_none_set() {
        assert_eq!(of_script(b"return 1"), Ok(Script { flags: None, body: 0 }));
        assert_eq!(of_script(b"#comment\n"), Ok(Script { flags: None, body: 0 }));
        assert_eq!(of_script(b"#!lua\nx"), Ok(Script { flags: Some(Flags::default()), body: 5 }));
        assert_eq!(of_script(b"#!lua flags=\nx"), Ok(Script { flags: Some(Flags::default()), body: 12 }));
    }

    #[test]
    fn flags_of_several_lists_add_up_and_are_listed_in_one_order() {
        let script = of_script(b"#!lua flags=allow-stale,no-writes \"flags=allow-oom\"\r\n").expect("read");
        let flags = script.flags.expect("flags");
        assert!(flags.has(Flags::NO_WRITES));
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom", "allow-stale"]);
    }

    #[test]
    fn what_is_wrong_with_the_first_line_of_a_script() {
        for (source, text) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!lua \0\n", "ERR Invalid script shebang"),
            ("#!lua \"flags=no-writes\n", "ERR Invalid engine in script shebang"),
            ("#!LUA\n", "ERR Unexpected engine in script shebang: #!LUA"),
            ("#! lua\n", "ERR Unexpected engine in script shebang: #!"),
            ("#!lua name=a\n", "ERR Unknown lua shebang option: name=a"),
            ("#!lua FLAGS=no-writes\n", "ERR Unknown lua shebang option: FLAGS=no-writes"),
            ("#!lua flags=no-writes,\n", "ERR Unexpected flag in script shebang: "),
            ("#!lua \"flags=a\\x00b\"\n", "ERR Unexpected flag in script shebang: a"),
        ] {
            assert_eq!(refused(of_script(source.as_bytes())), text, "{source}");
        }
    }

    #[test]
    fn a_library_has_a_name_and_an_engine_in_any_case() {
        let library = of_library(b"#!LUA NAME=my_lib2\nrest").expect("read");
        assert_eq!(library, Library { name: b"my_lib2".to_vec(), body: 18 });
    }

    #[test]
    fn what_is_wrong_with_the_first_line_of_a_library() {
        let names = "ERR Library names can only contain letters, numbers, or underscores(_) \
                     and must be at least one character long";
        for (source, text) in [
            ("", "ERR Missing library metadata"),
            (" #!lua name=a\n", "ERR Missing library metadata"),
            ("#!lua name=a", "ERR Invalid library metadata"),
            ("#!lua \"name=a\n", "ERR Invalid library metadata"),
            ("#!\n", "ERR Library name was not given"),
            ("#!lua name=a name=b\n", "ERR Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=a flags=no-writes\n", "ERR Invalid metadata value given: flags=no-writes"),
            ("#!lua name=\n", names),
            ("#!lua name=a-b\n", names),
            ("#! name=a\n", "ERR Engine '' not found"),
            ("#!foo name=a\n", "ERR Engine 'foo' not found"),
        ] {
            assert_eq!(refused(of_library(source.as_bytes())), text, "{source}");
        }
    }
}
