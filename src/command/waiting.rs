//! How a command waits for keys.
//!
//! A blocking command that finds nothing calls [`super::Context::wait_for`] and returns. The server parks the request
//! and everything that its client sent after it, and executes it again as soon as one of the keys holds a value of the
//! right kind: immediately after the unit that put it there. A wait also ends at its deadline or by `CLIENT UNBLOCK`.

use crate::command::error::{Error, Result};
use crate::db::Ticket;
use crate::resp::Reply;
use crate::text::extended::Extended;
use crate::text::number;
use crate::types::Kind;

/// The reply where waiting is not allowed (in a transaction or a script). After a timeout it is always a null array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// A null bulk.
    Bulk,
    /// A null array.
    Array,
}

impl Null {
    /// Writes it.
    pub fn reply(self, reply: &mut Reply<'_>) {
        match self {
            Null::Bulk => reply.null(),
            Null::Array => reply.null_array(),
        }
    }
}

/// The reason for which a command waits.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Keys of the selected database, any of which may serve the command.
    pub keys: Vec<Vec<u8>>,
    /// The kind of value that it needs.
    pub kind: Kind,
    /// Whether it is also executed again when a key is deleted or holds another kind (`XREADGROUP`).
    pub even_if_gone: bool,
    /// Milliseconds until it gives up; `None`: never.
    pub timeout_ms: Option<u64>,
    /// The reply where waiting is not allowed.
    pub null: Null,
    /// Arguments to replace when the command is executed again, with their indices (`$` of `XREAD` by the last ID at
    /// the time of the call).
    pub rewritten: Vec<(usize, Vec<u8>)>,
}

/// Why a client is blocked. None of its requests is executed: the current one and the later ones are kept.
///
/// Only [`super::Session::blocked`] holds the reason. Other data of the wait is kept where the wait ends. Code that needs
/// all reasons matches them exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Its command waits for keys (`BLPOP`).
    Keys,
    /// Its command waits for acknowledgements of its writes (`WAIT`, `WAITAOF`).
    Acknowledgements,
    /// Its request waits for the end of `CLIENT PAUSE`.
    Pause,
    /// Its request waits until keys have been evicted.
    Memory,
    /// The reply of its command waits until memory has been freed (`FLUSHALL SYNC`).
    Freeing,
    /// Its command does its work in parts (`SUBSCRIBE` of many names).
    Part,
    /// Its keys are on their way to another server (`MIGRATE`).
    Migration,
    /// It has called `SHUTDOWN`, which waits for replicas.
    Shutdown,
    /// Its script runs long and is suspended.
    Script,
    /// Its command needs the connection, which an I/O thread is returning.
    Line,
}

impl Blocked {
    /// All reasons.
    pub const ALL: [Blocked; 10] = [
        Blocked::Keys,
        Blocked::Acknowledgements,
        Blocked::Pause,
        Blocked::Memory,
        Blocked::Freeing,
        Blocked::Part,
        Blocked::Migration,
        Blocked::Shutdown,
        Blocked::Script,
        Blocked::Line,
    ];

    /// Whether its command may have changed data already, and only the reply is to come.
    pub fn has_begun(self) -> bool {
        matches!(self, Blocked::Freeing | Blocked::Script)
    }

    /// Whether the server itself ends the wait, soon: the requests behind it are executed even if the client sends no
    /// more. Bytes that the client sends meanwhile, and its end of stream, stay in its socket.
    pub fn ends_by_itself(self) -> bool {
        matches!(self, Blocked::Memory | Blocked::Freeing | Blocked::Part | Blocked::Line)
    }
}

/// Why a request is parked.
#[derive(Clone, Debug)]
pub enum Parking {
    /// It found nothing, and is executed again when one of its keys serves it.
    Keys(Wait),
    /// It is done, but for memory that the background thread is still freeing: `OK` follows when that is gone
    /// (`FLUSHALL SYNC`).
    Freed(Ticket),
    /// Its client's writes lack acknowledgements (`WAIT`, `WAITAOF`).
    Acknowledged,
    /// It has done a part of its work, and continues from this argument in later iterations (`SUBSCRIBE` of many names).
    Part(usize),
    /// Its keys are on their way to another server; the reply follows when that has them (`MIGRATE`).
    Migrating,
    /// The server exits when the replicas have all data, unless that is aborted (`SHUTDOWN`).
    Shutdown,
    /// The script that it has begun takes long; the reply follows when that has ended.
    Script,
}

impl Parking {
    /// Why its client is blocked.
    pub fn reason(&self) -> Blocked {
        match self {
            Parking::Keys(_) => Blocked::Keys,
            Parking::Freed(_) => Blocked::Freeing,
            Parking::Acknowledged => Blocked::Acknowledgements,
            Parking::Part(_) => Blocked::Part,
            Parking::Migrating => Blocked::Migration,
            Parking::Shutdown => Blocked::Shutdown,
            Parking::Script => Blocked::Script,
        }
    }
}

/// The timeout of `BLPOP` and the like: seconds, with a fraction; 0 is forever. `now_ms` is Unix time.
pub fn seconds(arg: &[u8], now_ms: i64) -> Result<Option<u64>> {
    // Redis computes this in a `long double`, in which a thousand times -0.001 is a little above -1 and so rounds up to
    // 0.
    let seconds = Extended::parse(arg).ok_or(Error::new("ERR timeout is not a float or out of range"))?;
    in_range(seconds.scaled_up(1000), now_ms)
}

/// Parses the timeout of `XREAD`, whole milliseconds; `None` for 0, which is for ever.
pub fn milliseconds(arg: &[u8], now_ms: i64) -> Result<Option<u64>> {
    let ms = number::parse_i64(arg).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    in_range(ms, now_ms)
}

fn in_range(ms: i64, now_ms: i64) -> Result<Option<u64>> {
    match ms {
        ..0 => Err(Error::new("ERR timeout is negative")),
        0 => Ok(None),
        _ if ms.checked_add(now_ms).is_none() => Err(Error::new("ERR timeout is out of range")),
        _ => Ok(Some(ms as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked with redis-server 7.2.6.
    #[test]
    fn a_timeout_is_rounded_up_to_milliseconds_as_redis_rounds_it() {
        for (arg, expected) in [
            ("0", None),
            ("-0.001", None),
            ("-0.0001", None),
            ("-1e-400", None),
            ("1e-400", Some(1)),
            ("0.0009", Some(1)),
            ("0.5", Some(500)),
            ("1.0001", Some(1001)),
            ("0x1p-3", Some(125)),
            ("+1", Some(1000)),
            ("9223370000000000", Some(9_223_370_000_000_000_000)),
        ] {
            assert_eq!(seconds(arg.as_bytes(), 1_700_000_000_000).ok(), Some(expected), "{arg}");
        }
        for (arg, expected) in [
            ("-0.0011", "ERR timeout is negative"),
            ("-inf", "ERR timeout is negative"),
            ("-1e300", "ERR timeout is negative"),
            ("9223372036854775.807", "ERR timeout is out of range"),
            ("1e400", "ERR timeout is out of range"),
            ("inf", "ERR timeout is out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            ("1e5000", "ERR timeout is not a float or out of range"),
            ("1e-5000", "ERR timeout is not a float or out of range"),
            (" 1", "ERR timeout is not a float or out of range"),
            ("", "ERR timeout is not a float or out of range"),
        ] {
            let error = seconds(arg.as_bytes(), 1_700_000_000_000).expect_err(arg);
            assert_eq!(error.text(), expected.as_bytes(), "{arg}");
        }
    }
}
