//! A server as a store: requests are sent together, and of each reply only the presence of a value is kept.

use super::Result;
use super::replay::{Request, Store};
use super::traces::Sizes;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The timeout for a reply, after which the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection over which a trace is replayed.
#[derive(Debug)]
pub struct Connection {
    input: BufReader<TcpStream>,
    output: Vec<u8>,
    line: Vec<u8>,
    sizes: Sizes,
    value: Vec<u8>,
}

impl Connection {
    /// Connects to a server on this machine; `sizes` gives the lengths of values.
    pub fn open(port: u16, sizes: Sizes) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            input: BufReader::with_capacity(64 * 1024, stream),
            output: Vec::new(),
            line: Vec::new(),
            sizes,
            value: vec![b'x'; sizes.most()],
        })
    }

    fn push(&mut self, request: Request) -> Result<()> {
        let out = &mut self.output;
        match request {
            Request::Get(key) => write!(out, "*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n")?,
            Request::Set(key) => {
                let value = &self.value[..self.sizes.of(key)];
                write!(out, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n${}\r\n", value.len())?;
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

impl Store for Connection {
    fn exchange(&mut self, requests: &[Request], found: &mut Vec<bool>) -> Result<()> {
        self.output.clear();
        for &request in requests {
            self.push(request)?;
        }
        self.input.get_mut().write_all(&self.output)?;
        for &request in requests {
            let value = read(&mut self.input, &mut self.line)?;
            match (request, value) {
                (Request::Get(_), Reply::Missing) => found.push(false),
                (Request::Get(key), Reply::Value(len)) if len == self.sizes.of(key) => found.push(true),
                (Request::Set(_), Reply::Done) => {}
                (request, reply) => return Err(format!("the reply to {request:?} was {reply:?}").into()),
            }
        }
        Ok(())
    }
}

/// A reply, as far as a replay distinguishes them.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Done,
    Missing,
    Value(usize),
}

/// Reads a reply from `input`; `line` is a scratch buffer.
fn read(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<Reply> {
    line.clear();
    input.read_until(b'\n', line)?;
    let text = line.strip_suffix(b"\r\n").ok_or("the server closed the connection")?;
    match text {
        b"+OK" => Ok(Reply::Done),
        b"$-1" => Ok(Reply::Missing),
        [b'$', len @ ..] => {
            let len: usize = std::str::from_utf8(len)?.parse()?;
            let skipped = std::io::copy(&mut input.take(len as u64 + 2), &mut std::io::sink())?;
            if skipped == len as u64 + 2 { Ok(Reply::Value(len)) } else { Err("a truncated value".into()) }
        }
        _ => Err(format!("the server replied {:?}", String::from_utf8_lossy(text)).into()),
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart_and_errors_are_errors() {
        let mut input = &b"$-1\r\n$3\r\na\r\n\r\n+OK\r\n-OOM no\r\n$4\r\nab"[..];
        let mut line = Vec::new();
        let mut next = || read(&mut input, &mut line);
        assert_eq!(next().unwrap(), Reply::Missing);
        assert_eq!(next().unwrap(), Reply::Value(3));
        assert_eq!(next().unwrap(), Reply::Done);
        assert!(next().unwrap_err().to_string().contains("OOM no"));
        assert!(next().is_err());
        assert!(next().is_err());
    }
}
