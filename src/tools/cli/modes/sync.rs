//! Receives a snapshot from a master: the handshake of a replica, and how to find the snapshot's end.
//!
//! After SYNC, a master sends line ends while it creates the snapshot. Then follow `$LENGTH` and that many bytes, or,
//! if it does not know the length in advance, `$EOF:` with 40 random characters, and the bytes up to a repetition of
//! those.

use memchr::memmem;

use super::Failure;
use crate::resp::Value;
use crate::sys::terminal;
use crate::tools::client::{Connection, Error};
use crate::tools::console::tell;

/// The length of an end marker.
pub(super) const MARKER: usize = 40;
/// A longer line does not start a snapshot.
const LONGEST_LINE: usize = 1024;

/// How to find the end of a snapshot.
pub(super) enum End {
    /// After this many bytes.
    Length(u64),
    /// At these characters, which follow it.
    Marker(Vec<u8>),
}

/// Sends the server a property of this replica; `value` may be empty. A server may reject an option that it does not
/// know.
pub(super) fn configure(connection: &mut Connection, option: &str, value: &str) -> Result<(), Failure> {
    tell(format_args!("sending REPLCONF {option} {value}"));
    if let Value::Error(text) = connection.call(&["REPLCONF", option, value])? {
        tell(format_args!("REPLCONF {option} error: {}", String::from_utf8_lossy(&text)));
    }
    Ok(())
}

/// Requests a snapshot, and waits until it begins.
pub(super) fn begin(connection: &mut Connection) -> Result<End, Failure> {
    connection.send(&["SYNC"])?;
    let line = loop {
        let received = connection.received();
        let ends = received.iter().take_while(|byte| **byte == b'\n').count();
        if ends > 0 {
            connection.consume(ends);
        } else if let Some(len) = memchr::memchr(b'\n', received) {
            let line = received[..len].trim_ascii_end().to_vec();
            connection.consume(len + 1);
            break line;
        } else if received.len() > LONGEST_LINE {
            return Err(Failure::Text("SYNC with master failed: not a snapshot".to_string()));
        } else {
            fill(connection, "Error reading bulk length while SYNCing")?;
        }
    };
    let length = line.strip_prefix(b"$").unwrap_or_default();
    if let Some(marker) = length.strip_prefix(b"EOF:").filter(|marker| marker.len() == MARKER) {
        return Ok(End::Marker(marker.to_vec()));
    }
    match std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()) {
        Some(length) if length > 0 => Ok(End::Length(length)),
        _ => Err(Failure::Text(format!("SYNC with master failed: {}", String::from_utf8_lossy(&line)))),
    }
}

/// Passes the bytes of a snapshot to `take`, with the number of bytes before them, and returns their total number.
/// Bytes after the snapshot stay in the connection. `broken` is the error message for a broken connection.
pub(super) fn receive(
    connection: &mut Connection,
    end: &End,
    broken: &str,
    mut take: impl FnMut(&[u8], u64) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut taken = 0;
    loop {
        let received = connection.received();
        // The number of bytes that belong to the snapshot, and, at its end, the length of the marker.
        let (len, ended) = match end {
            End::Length(length) => {
                let left = length - taken;
                let len = left.min(received.len() as u64) as usize;
                (len, (len as u64 == left).then_some(0))
            }
            End::Marker(marker) => match memmem::find(received, marker) {
                Some(len) => (len, Some(MARKER)),
                None => (received.len().saturating_sub(MARKER - 1), None),
            },
        };
        take(&received[..len], taken)?;
        connection.consume(len + ended.unwrap_or(0));
        taken += len as u64;
        if ended.is_some() {
            return Ok(taken);
        }
        fill(connection, broken)?;
    }
}

/// Waits for more bytes; Ctrl-C ends the wait.
fn fill(connection: &mut Connection, broken: &str) -> Result<(), Failure> {
    loop {
        if terminal::is_interrupted() {
            return Err(Failure::Interrupted);
        }
        match connection.fill(None) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => {}
            Err(Error::Closed) => return Err(Failure::Text(broken.to_string())),
            Err(error) => return Err(Failure::Text(format!("{broken}: {error}"))),
        }
    }
}
