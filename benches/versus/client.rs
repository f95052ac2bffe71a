//! A small blocking client that fills servers, queries them, and checks their replies.
//!
//! Requests are sent in batches small enough to fit in the socket buffers of both sides while the other side is not
//! reading, so one thread can write a batch and then read its replies.

use super::Result;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Requests are sent once this many bytes have been queued.
const BATCH_BYTES: usize = 48 * 1024;

/// The timeout for a reply, after which the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends one request in the multibulk form.
pub fn push_request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    let _ = write!(out, "*{}\r\n", arguments.len());
    for argument in arguments {
        let _ = write!(out, "${}\r\n", argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// A reply, as far as the benchmark distinguishes them.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status, number or null.
    Line(String),
    /// An error's text without the `-`.
    Error(String),
    /// A string.
    Bulk(Vec<u8>),
    /// An array of this many elements, which were read and discarded.
    Array(usize),
}

/// Reads one reply, in RESP2 or in the part of RESP3 that a connection's setup uses.
pub fn read_reply(input: &mut impl BufRead) -> Result<Reply> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or("the server closed the connection")?;
    let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
    let count = || -> Result<Option<usize>> {
        let count: i64 = text.parse().map_err(|_| format!("expected a length, got {text:?}"))?;
        Ok(usize::try_from(count).ok())
    };
    match line.first() {
        Some(b'+' | b':') => Ok(Reply::Line(text)),
        Some(b'-') => Ok(Reply::Error(text)),
        Some(b'$') => {
            let Some(len) = count()? else { return Ok(Reply::Line("nil".into())) };
            let mut bytes = vec![0; len + 2];
            input.read_exact(&mut bytes)?;
            bytes.truncate(len);
            Ok(Reply::Bulk(bytes))
        }
        Some(b'*') => {
            let Some(len) = count()? else { return Ok(Reply::Line("nil".into())) };
            for _ in 0..len {
                read_reply(input)?;
            }
            Ok(Reply::Array(len))
        }
        Some(b'%') => {
            let len = 2 * count()?.unwrap_or(0);
            for _ in 0..len {
                read_reply(input)?;
            }
            Ok(Reply::Array(len))
        }
        _ => Err(format!("expected a reply, got {:?}", String::from_utf8_lossy(line)).into()),
    }
}

/// A blocking connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: Vec<u8>,
    outstanding: usize,
}

impl Client {
    /// Connects to a server on this machine.
    pub fn connect(port: u16) -> Result<Self> {
        Self::with_buffer(port, 64 * 1024)
    }

    /// Connects with a buffer of `len` bytes for replies.
    pub fn with_buffer(port: u16, len: usize) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { input: BufReader::with_capacity(len, stream), output: Vec::new(), outstanding: 0 })
    }

    /// Sends one request. Returns its reply, which may be an error.
    pub fn ask(&mut self, arguments: &[&[u8]]) -> Result<Reply> {
        self.flush()?;
        push_request(&mut self.output, arguments);
        self.send()?;
        read_reply(&mut self.input)
    }

    /// Like [`Client::ask`], but an error reply is an `Err`.
    pub fn must(&mut self, arguments: &[&[u8]]) -> Result<Reply> {
        match self.ask(arguments)? {
            Reply::Error(text) => Err(format!(
                "the reply to {} was {text:?}",
                String::from_utf8_lossy(arguments.first().unwrap_or(&&b""[..]))
            )
            .into()),
            reply => Ok(reply),
        }
    }

    /// One call of SCAN. Returns the next cursor, and the number of keys in the reply.
    pub fn scan(&mut self, cursor: &[u8], count: &[u8]) -> Result<(Vec<u8>, usize)> {
        self.flush()?;
        push_request(&mut self.output, &[b"SCAN", cursor, b"COUNT", count]);
        self.send()?;
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        if line != "*2\r\n" {
            return Err(format!("the reply to SCAN was {line:?}").into());
        }
        match (read_reply(&mut self.input)?, read_reply(&mut self.input)?) {
            (Reply::Bulk(next), Reply::Array(len)) => Ok((next, len)),
            other => Err(format!("the reply to SCAN was {other:?}").into()),
        }
    }

    /// Sends one request. Returns the strings of the array that is its reply.
    pub fn strings(&mut self, arguments: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        self.flush()?;
        push_request(&mut self.output, arguments);
        self.send()?;
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        let count = line.strip_prefix('*').and_then(|count| count.trim_end().parse().ok());
        let count: usize = count.ok_or_else(|| format!("expected an array, got {line:?}"))?;
        let string = |_| match read_reply(&mut self.input)? {
            Reply::Bulk(text) => Ok(text),
            other => Err(format!("expected a string, got {other:?}").into()),
        };
        (0..count).map(string).collect()
    }

    /// The connection itself, after all replies have been read.
    pub fn into_stream(mut self) -> Result<TcpStream> {
        self.flush()?;
        if !self.input.buffer().is_empty() {
            return Err("received more than the expected replies".into());
        }
        let stream = self.input.into_inner();
        Ok(stream)
    }

    /// Whether the server has a command, that is, does not reply that it is unknown.
    pub fn knows(&mut self, command: &[u8]) -> Result<bool> {
        // Without arguments the command changes nothing: its reply is an error about their number.
        match self.ask(&[command])? {
            Reply::Error(text) => Ok(!text.to_ascii_lowercase().contains("unknown command")),
            _ => Ok(true),
        }
    }

    /// Queues a request. It is sent with others, and the only check of its reply is that it is not an error.
    pub fn queue(&mut self, arguments: &[&[u8]]) -> Result<()> {
        push_request(&mut self.output, arguments);
        self.outstanding += 1;
        if self.output.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// [`Client::queue`] for a request with several replies.
    pub fn queue_for(&mut self, arguments: &[&[u8]], replies: usize) {
        push_request(&mut self.output, arguments);
        self.outstanding += replies;
    }

    /// Sends the queued requests and reads all replies.
    pub fn flush(&mut self) -> Result<()> {
        self.send()?;
        for _ in 0..std::mem::take(&mut self.outstanding) {
            if let Reply::Error(text) = read_reply(&mut self.input)? {
                return Err(format!("a reply while filling was {text:?}").into());
            }
        }
        Ok(())
    }

    /// Sends the queued requests; the next [`Client::flush`] reads the replies.
    pub fn send(&mut self) -> Result<()> {
        self.input.get_mut().write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}

/// A key or member in redis-benchmark's format: a prefix and twelve digits.
pub fn numbered(prefix: &str, number: usize) -> Vec<u8> {
    format!("{prefix}{number:012}").into_bytes()
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Reply> {
        let mut input = bytes;
        let mut replies = Vec::new();
        while !input.is_empty() {
            replies.push(read_reply(&mut input).unwrap());
        }
        replies
    }

    #[test]
    fn requests_are_written_as_multibulk() {
        let mut out = Vec::new();
        push_request(&mut out, &[b"SET", b"k", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_of_every_shape_are_told_apart() {
        let replies =
            read(b"+OK\r\n:12\r\n-ERR no\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n$1\r\nx\r\n*1\r\n:1\r\n*-1\r\n%1\r\n+a\r\n:1\r\n");
        assert_eq!(
            replies,
            [
                Reply::Line("OK".into()),
                Reply::Line("12".into()),
                Reply::Error("ERR no".into()),
                Reply::Bulk(b"a\r\n".to_vec()),
                Reply::Line("nil".into()),
                Reply::Array(2),
                Reply::Line("nil".into()),
                Reply::Array(2),
            ]
        );
    }

    #[test]
    fn a_truncated_or_unknown_reply_is_an_error() {
        for bytes in [&b"+OK"[..], b"", b"$5\r\nab", b"hello\r\n", b"\r\n", b"*x\r\n"] {
            assert!(read_reply(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn numbered_keys_are_sixteen_bytes() {
        assert_eq!(numbered("key:", 42), b"key:000000000042");
    }
}
