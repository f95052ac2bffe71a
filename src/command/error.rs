//! The errors of commands: why one was refused, as the text of the reply.
//!
//! A command returns its error. The caller writes the reply and counts the code, or passes the text on (a script).

use std::borrow::Cow;

/// The text of an error reply without the `-`: a code (`ERR`, `WRONGTYPE`), a space, and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

/// The result of a command: either the reply has been written, or the command was refused.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// `ERR syntax error`.
pub const SYNTAX: Error = Error::new("ERR syntax error");
/// `WRONGTYPE …`.
pub const WRONG_TYPE: Error = Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
/// `ERR value is not an integer or out of range`.
pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
/// An integer that cannot be negated.
pub const LEAST_INTEGER: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
/// `ERR value is not a valid float`.
pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
/// `ERR DB index is out of range`.
pub const DB_OUT_OF_RANGE: Error = Error::new("ERR DB index is out of range");
/// `ERR Bad data format`: the value in a payload cannot be read.
pub const BAD_DATA: Error = Error::new("ERR Bad data format");
/// `ERR no such key`.
pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");

impl Error {
    /// An error with a fixed text.
    pub const fn new(text: &'static str) -> Error {
        Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with the text of `parts`, concatenated.
    pub fn concat(parts: &[&[u8]]) -> Error {
        Error(Cow::Owned(parts.concat()))
    }

    /// `ERR wrong number of arguments for '<name>' command`.
    pub fn wrong_arity(name: &str) -> Error {
        format!("ERR wrong number of arguments for '{name}' command").into()
    }

    /// The text, its code first.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// The code: the text before the first space.
    pub fn code(&self) -> &[u8] {
        let end = self.0.iter().position(|b| matches!(b, b' ' | b'\r' | b'\n')).unwrap_or(self.0.len());
        &self.0[..end]
    }
}

impl AsRef<[u8]> for Error {
    fn as_ref(&self) -> &[u8] {
        self.text()
    }
}

impl From<&'static str> for Error {
    fn from(text: &'static str) -> Error {
        Error::new(text)
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Error {
    fn from(text: Vec<u8>) -> Error {
        Error(Cow::Owned(text))
    }
}
