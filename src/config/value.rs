//! The values of directives: the trait that every field's type implements, and the simple types.
//!
//! A field of [`Config`](super::Config) has an ordinary Rust type (`u16`, `bool`, an enum), which can be parsed from
//! words and shown. Requirements beyond the type (bounds, a unit, a check of a text) are in the directive's [`Shape`]
//! in the table. Composite values are in `special.rs`.
//!
//! Error texts are Redis's, because clients and operators match on them.

use super::size::{format_size, lenient_integer, parse_size};
use crate::text::{number, words};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The reason why a value was refused, in Redis's words.
pub(super) type Reason = Cow<'static, str>;

/// The trait of every field type in the configuration.
pub(super) trait Value {
    /// Parses the words after the directive's name. `adds` is set while files are read, when a repeated directive with
    /// a list adds to it. After an error the value may be half set: the caller works on a copy.
    fn set(&mut self, words: &[&[u8]], shape: &Shape, adds: bool) -> Result<(), Reason>;

    /// The value as `CONFIG GET` returns it.
    fn show(&self, shape: &Shape) -> Vec<u8>;

    /// The text after the directive's name in the config file, one element per line.
    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        vec![self.show(shape)]
    }

    /// The permitted values, in a few words for the documentation.
    #[cfg(test)]
    fn describe(&self, shape: &Shape) -> String;
}

/// Requirements on a directive's value beyond its type.
pub(super) enum Shape {
    /// Nothing.
    Plain,
    /// A number from `min` to `max`, which is then clamped to `keep`.
    Number { min: i128, max: i128, unit: Unit, keep: (i128, i128) },
    /// Only `no`, for a reason.
    OnlyNo(&'static str),
    /// A text that satisfies a check.
    Text(fn(&[u8]) -> Result<(), &'static str>),
}

/// The notation of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Decimal,
    /// A size such as `64mb`.
    Bytes,
    /// File permissions.
    Octal,
}

impl Shape {
    /// A decimal number within bounds.
    pub const fn int(min: i64, max: i64) -> Shape {
        Shape::number(min as i128, max as i128, Unit::Decimal)
    }

    /// A size within bounds.
    pub const fn bytes(min: u64, max: u64) -> Shape {
        Shape::number(min as i128, max as i128, Unit::Bytes)
    }

    /// An octal number from 0 to `max`.
    pub const fn octal(max: i64) -> Shape {
        Shape::number(0, max as i128, Unit::Octal)
    }

    const fn number(min: i128, max: i128, unit: Unit) -> Shape {
        Shape::Number { min, max, unit, keep: (min, max) }
    }

    /// Returns the same bounds, with the value clamped to `low..=high`.
    pub const fn kept(self, low: i64, high: i64) -> Shape {
        match self {
            Shape::Number { min, max, unit, .. } => {
                Shape::Number { min, max, unit, keep: (low as i128, high as i128) }
            }
            _ => panic!("only a number is kept within a range"),
        }
    }

    /// Any text.
    pub const fn any_text() -> Shape {
        Shape::Text(|_| Ok(()))
    }

    fn parse_number(&self, word: &[u8]) -> Result<i128, Reason> {
        let Shape::Number { min, max, unit, keep } = *self else {
            unreachable!("a number's directive has a number's shape");
        };
        let value = match unit {
            Unit::Decimal => number::parse_i64(word)
                .map(i128::from)
                .ok_or("argument couldn't be parsed into an integer")?,
            Unit::Bytes => parse_size(word).map(i128::from).ok_or("argument must be a memory value")?,
            Unit::Octal => lenient_integer(word, 8)
                .map(i128::from)
                .ok_or("argument couldn't be parsed as an octal number")?,
        };
        if (min..=max).contains(&value) {
            return Ok(value.clamp(keep.0, keep.1));
        }
        Err(match unit {
            Unit::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
            _ => format!("argument must be between {min} and {max} inclusive"),
        }
        .into())
    }

    fn unit(&self) -> Unit {
        match self {
            Shape::Number { unit, .. } => *unit,
            _ => Unit::Decimal,
        }
    }

    #[cfg(test)]
    fn describe_number(&self) -> String {
        let Shape::Number { min, max, unit, .. } = *self else { unreachable!() };
        let bound = |bound: i128| match bound {
            _ if bound == i128::from(i32::MAX) => "2^31-1".to_owned(),
            _ if bound == i128::from(i32::MIN) => "-2^31".to_owned(),
            _ if bound == i128::from(u32::MAX) => "2^32-1".to_owned(),
            _ if bound == i128::from(i64::MAX) => "2^63-1".to_owned(),
            _ if bound == i128::from(u64::MAX) => "2^64-1".to_owned(),
            _ if unit == Unit::Octal => format!("{bound:o}"),
            _ if unit == Unit::Bytes => format_size(bound as u64),
            _ => bound.to_string(),
        };
        let kind = match unit {
            Unit::Decimal => "",
            Unit::Bytes => "size, ",
            Unit::Octal => "octal, ",
        };
        format!("{kind}{} to {}", bound(min), bound(max))
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn set(&mut self, words: &[&[u8]], shape: &Shape, _adds: bool) -> Result<(), Reason> {
                let value = shape.parse_number(words[0])?;
                *self = <$type>::try_from(value).map_err(|_| "argument is too large for this machine")?;
                Ok(())
            }

            fn show(&self, shape: &Shape) -> Vec<u8> {
                match shape.unit() {
                    Unit::Octal => format!("{self:o}").into_bytes(),
                    _ => self.to_string().into_bytes(),
                }
            }

            fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
                match (shape.unit(), u64::try_from(*self)) {
                    (Unit::Bytes, Ok(bytes)) => vec![format_size(bytes).into_bytes()],
                    _ => vec![self.show(shape)],
                }
            }

            #[cfg(test)]
            fn describe(&self, shape: &Shape) -> String {
                shape.describe_number()
            }
        }
    )*};
}

numbers!(u16 u32 u64 usize i32 i64);

impl Value for bool {
    fn set(&mut self, words: &[&[u8]], shape: &Shape, _adds: bool) -> Result<(), Reason> {
        *self = if words[0].eq_ignore_ascii_case(b"yes") {
            if let Shape::OnlyNo(why) = shape {
                return Err((*why).into());
            }
            true
        } else if words[0].eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "yes, no".into()
    }
}

/// A text of arbitrary bytes: a path, a password, a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteText(Vec<u8>);

impl ByteText {
    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

/// Lets it be used as a path.
impl AsRef<Path> for ByteText {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

/// For `Path::new`.
impl AsRef<OsStr> for ByteText {
    fn as_ref(&self) -> &OsStr {
        self.as_path().as_os_str()
    }
}

impl Deref for ByteText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for ByteText {
    fn from(text: &str) -> ByteText {
        ByteText(text.as_bytes().to_vec())
    }
}

/// For log lines: bytes that are not UTF-8 are replaced.
impl fmt::Display for ByteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Value for ByteText {
    fn set(&mut self, words: &[&[u8]], shape: &Shape, _adds: bool) -> Result<(), Reason> {
        if let Shape::Text(check) = shape {
            check(words[0])?;
        }
        self.0 = words[0].to_vec();
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        self.0.clone()
    }

    fn lines(&self, _shape: &Shape) -> Vec<Vec<u8>> {
        vec![words::quote(&self.0).into()]
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "text".into()
    }
}

/// Parses one of several names, in any case; the error lists the names.
pub(super) fn choose<T: Copy>(names: &[(&str, T)], word: &[u8]) -> Result<T, Reason> {
    if let Some((_, value)) = names.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)) {
        return Ok(*value);
    }
    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    Err(format!("argument(s) must be one of the following: {}", names.join(", ")).into())
}

/// Enums whose variants are written as names. If a variant has several names, the first is shown.
macro_rules! choices {
    ($($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal $(| $other:literal)*),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $(#[doc = concat!("`", $name, "`")] $variant),*
        }

        impl $type {
            const NAMES: &[(&str, $type)] =
                &[$(($name, $type::$variant) $(, ($other, $type::$variant))*),*];

            /// The name in the config file.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),*
                }
            }
        }

        impl Value for $type {
            fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
                *self = choose(Self::NAMES, words[0])?;
                Ok(())
            }

            fn show(&self, _shape: &Shape) -> Vec<u8> {
                self.name().into()
            }

            #[cfg(test)]
            fn describe(&self, _shape: &Shape) -> String {
                let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                names.join(", ")
            }
        }
    )*};
}

choices! {
    /// The level of logging. Each level includes those after it.
    LogLevel {
        Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing",
    }

    /// Which keys are evicted when memory is full; also determines what an entry's access clock measures.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", Noeviction = "noeviction",
    }

    /// When the append-only file is synced to disk.
    AppendFsync { Everysec = "everysec", Always = "always", No = "no" }

    /// Which clients may use a dangerous feature: none, all, or those on this machine.
    Allowed { No = "no", Yes = "yes", Local = "local" }

    /// The supervisor of the process.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }

    /// The syslog facility of log lines.
    SyslogFacility {
        User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
        Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }

    /// Whether a replica loads a snapshot straight from the socket.
    DisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb" }

    /// How the kernel's out-of-memory score is set.
    OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute" }

    /// Which channels a new user may use.
    PubsubDefault { Allchannels = "allchannels", Resetchannels = "resetchannels" }

    /// Whose payloads RESTORE checks thoroughly.
    SanitizePayload { No = "no", Yes = "yes", Clients = "clients" }

    /// The kind of address that a cluster node announces to clients.
    EndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" }

    /// The reaction to a command from the primary or the append-only file that fails.
    PropagationError { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }

    /// Whether TLS clients must present a certificate.
    TlsClients { No = "no", Yes = "yes", Optional = "optional" }
}

impl Allowed {
    /// Whether a client has permission; `local` means that it connected over loopback or a Unix socket.
    pub fn permits(self, local: bool) -> bool {
        match self {
            Allowed::No => false,
            Allowed::Yes => true,
            Allowed::Local => local,
        }
    }
}

impl MaxmemoryPolicy {
    /// Whether eviction orders keys by the time of their last access.
    pub fn is_lru(self) -> bool {
        matches!(self, Self::VolatileLru | Self::AllkeysLru)
    }

    /// Whether an entry's access clock is a frequency counter rather than a time.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }
}
