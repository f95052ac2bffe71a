//! The two ends of a replication link, played by the benchmark: a replica that discards the stream and acknowledges
//! once a second, and a primary that sends a stream as fast as its replica receives it.
//!
//! Neither stores anything, so nearly all of the work is that of the server at the other end.

use super::Result;
use super::client::{Reply, push_request, read_reply};
use super::fork::{field, info};
use super::servers::Server;
use super::system::{self, Epoll};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The timeout for the other end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two acknowledgements of a replica.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// The most bytes that a replica discards at once.
const DISCARDED: usize = 1 << 20;

/// The most bytes of a snapshot received at once.
const CHUNK: usize = 256 << 10;

/// The end of a stream that is still being written, as an offset.
const UNKNOWN: u64 = u64::MAX;

/// The length of the mark at the end of a snapshot of unknown length.
const MARK: usize = 40;

/// A snapshot without keys and without a checksum.
const EMPTY_SNAPSHOT: &[u8] = b"REDIS0009\xff\0\0\0\0\0\0\0\0";

/// A replica that has received a snapshot and discards the stream after it.
#[derive(Debug)]
pub struct Sink {
    stream: TcpStream,
    offset: u64,
}

/// A replica whose snapshot has begun: the child was forked.
#[derive(Debug)]
pub struct Begun {
    input: BufReader<TcpStream>,
    stream: TcpStream,
    offset: u64,
    /// The line before the snapshot.
    length: String,
}

impl Begun {
    /// Requests a snapshot from a server.
    pub fn ask(server: &Server) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut input = BufReader::with_capacity(CHUNK, stream.try_clone()?);
        let setup: [&[&[u8]]; 3] = [
            &[b"PING"],
            &[b"REPLCONF", b"listening-port", b"1"],
            &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
        ];
        for words in setup {
            send(&stream, words)?;
            if let Reply::Error(text) = read_reply(&mut input)? {
                return Err(format!("the reply to a replica was {text:?}").into());
            }
        }
        send(&stream, &[b"PSYNC", b"?", b"-1"])?;
        let line = full_line(&mut input)?;
        let offset = line.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.split_once(' ')?.1.parse().ok());
        let offset = offset.ok_or_else(|| format!("the reply to PSYNC was {line:?}"))?;
        // The child writes this line.
        let length = full_line(&mut input)?;
        Ok(Self { input, stream, offset, length })
    }

    /// Receives the snapshot.
    pub fn receive(self) -> Result<Sink> {
        let Self { mut input, stream, offset, length } = self;
        if let Some(mark) = length.strip_prefix("$EOF:") {
            skip_to_mark(&mut input, mark.as_bytes())?;
        } else {
            let len = length.strip_prefix('$').and_then(|len| len.parse().ok());
            let len = len.ok_or_else(|| format!("expected a snapshot, got {length:?}"))?;
            std::io::copy(&mut (&mut input).take(len), &mut std::io::sink())?;
        }
        if !input.buffer().is_empty() {
            return Err("the stream began before its request".into());
        }
        let sink = Sink { stream, offset };
        sink.acknowledge()?;
        Ok(sink)
    }
}

impl Sink {
    /// Synchronizes with a server, which sends the whole snapshot.
    pub fn attach(server: &Server) -> Result<Self> {
        Begun::ask(server)?.receive()
    }

    fn acknowledge(&self) -> Result<()> {
        send(&self.stream, &[b"REPLCONF", b"ACK", self.offset.to_string().as_bytes()])
    }

    /// Discards the bytes that have arrived. The socket must be readable.
    fn discard(&mut self) -> Result<()> {
        match system::discard(&self.stream, DISCARDED) {
            Ok(0) => Err("the server closed the connection of a replica".into()),
            Ok(count) => {
                self.offset += count as u64;
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Calls `work` while a thread on `core` discards the streams of all `sinks`. Returns after they have received all that
/// `server` has written to the stream by then: sending the rest belongs to the work.
pub fn while_discarding<T>(
    sinks: &mut [Sink],
    core: usize,
    server: &Server,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let end = AtomicU64::new(UNKNOWN);
    let (result, discarded) = thread::scope(|scope| {
        // An error's text can be sent between threads, the error itself cannot.
        let thread = scope.spawn(|| {
            system::pin(core).map_err(|error| error.to_string())?;
            discard_until(sinks, &end).map_err(|error| error.to_string())
        });
        let result = work().and_then(|value| Ok((value, offset(server)?)));
        end.store(result.as_ref().map_or(0, |(_, offset)| *offset), Ordering::Relaxed);
        (result, thread.join())
    });
    let (value, _) = result?;
    discarded.map_err(|_| "the thread of the replicas has died")??;
    Ok(value)
}

/// The replication offset: how much of the stream a primary has written or a replica has applied.
pub fn offset(server: &Server) -> Result<u64> {
    let info = info(&mut server.connect()?)?;
    field(&info, "master_repl_offset")
        .map(|offset| offset as u64)
        .ok_or_else(|| "INFO lacks the offset".into())
}

/// Discards until all sinks have received the stream up to `end`.
fn discard_until(sinks: &mut [Sink], end: &AtomicU64) -> Result<()> {
    let mut epoll = Epoll::new(sinks.len().max(1))?;
    for (index, sink) in sinks.iter().enumerate() {
        epoll.add(&sink.stream, index as u64)?;
    }
    let (mut acknowledged, mut received) = (Instant::now(), Instant::now());
    while sinks.iter().any(|sink| sink.offset < end.load(Ordering::Relaxed)) {
        for event in 0..epoll.wait(50)? {
            sinks[epoll.token(event) as usize].discard()?;
            received = Instant::now();
        }
        if acknowledged.elapsed() >= ACKNOWLEDGE {
            acknowledged = Instant::now();
            sinks.iter().try_for_each(Sink::acknowledge)?;
        }
        if end.load(Ordering::Relaxed) != UNKNOWN && received.elapsed() > PATIENCE {
            return Err("a replica has not received the end of the stream in time".into());
        }
    }
    Ok(())
}

fn send(mut stream: &TcpStream, words: &[&[u8]]) -> Result<()> {
    let mut request = Vec::new();
    push_request(&mut request, words);
    Ok(stream.write_all(&request)?)
}

/// The next line that is not empty; a primary sends empty ones while a replica waits.
fn full_line(input: &mut impl BufRead) -> Result<String> {
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err("the primary closed the connection".into());
        }
        let line = line.trim();
        if !line.is_empty() {
            return Ok(line.into());
        }
    }
}

/// Receives up to and including `mark`; nothing after it may have arrived.
fn skip_to_mark(input: &mut impl BufRead, mark: &[u8]) -> Result<()> {
    if mark.len() != MARK {
        return Err(format!("expected a mark of {MARK} bytes").into());
    }
    let mut end = Vec::with_capacity(2 * MARK);
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Err("the primary closed the connection within a snapshot".into());
        }
        end.extend_from_slice(&bytes[bytes.len().saturating_sub(MARK)..]);
        end.drain(..end.len().saturating_sub(MARK));
        let count = bytes.len();
        input.consume(count);
        if end == mark {
            return Ok(());
        }
    }
}

/// A primary that has one replica.
#[derive(Debug)]
pub struct Source {
    input: BufReader<TcpStream>,
    output: TcpStream,
    offset: u64,
}

impl Source {
    /// Makes `replica` replicate this primary, which has no data.
    pub fn lead(replica: &Server) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        replica.connect()?.must(&[b"REPLICAOF", b"127.0.0.1", port.as_bytes()])?;
        let (output, _) = listener.accept()?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(PATIENCE))?;
        let mut source = Self { input: BufReader::new(output.try_clone()?), output, offset: 0 };
        loop {
            let words = source.request()?;
            let reply: &[u8] = match words.first().map(|word| word.to_ascii_lowercase()).as_deref() {
                Some(b"ping") => b"+PONG\r\n",
                Some(b"psync") => break,
                _ => b"+OK\r\n",
            };
            source.output.write_all(reply)?;
        }
        let mut reply =
            format!("+FULLRESYNC {} 0\r\n${}\r\n", "7".repeat(MARK), EMPTY_SNAPSHOT.len()).into_bytes();
        reply.extend_from_slice(EMPTY_SNAPSHOT);
        source.output.write_all(&reply)?;
        source.send_select()?;
        Ok(source)
    }

    fn send_select(&mut self) -> Result<()> {
        let mut request = Vec::new();
        push_request(&mut request, &[b"SELECT", b"0"]);
        self.stream(&request)?;
        self.wait()
    }

    /// Sends bytes of the stream.
    pub fn stream(&mut self, bytes: &[u8]) -> Result<()> {
        self.offset += bytes.len() as u64;
        Ok(self.output.write_all(bytes)?)
    }

    /// Waits until the replica has applied everything.
    pub fn wait(&mut self) -> Result<()> {
        let target = self.offset;
        let mut request = Vec::new();
        push_request(&mut request, &[b"REPLCONF", b"GETACK", b"*"]);
        self.stream(&request)?;
        loop {
            let words = self.request()?;
            let is_ack = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"ack"));
            let offset = words.get(2).and_then(|word| str::from_utf8(word).ok()?.parse::<u64>().ok());
            if is_ack && offset.is_some_and(|offset| offset >= target) {
                return Ok(());
            }
        }
    }

    /// The next request of the replica.
    fn request(&mut self) -> Result<Vec<Vec<u8>>> {
        let line = full_line(&mut self.input)?;
        let count = line.strip_prefix('*').and_then(|count| count.parse::<usize>().ok());
        let count = count.ok_or_else(|| format!("a replica sent {line:?}"))?;
        let word = |_| match read_reply(&mut self.input)? {
            Reply::Bulk(word) => Ok(word),
            other => Err(format!("a replica sent {other:?}").into()),
        };
        (0..count).map(word).collect()
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_ends_with_its_mark_however_it_is_cut() {
        let mark = [b'm'; MARK];
        let text = [&b"some data"[..], &mark[..17], b"no mark", &mark].concat();
        for capacity in [1, 7, 40, 41, 1000] {
            let mut input = BufReader::with_capacity(capacity, &text[..]);
            skip_to_mark(&mut input, &mark).unwrap();
            assert!(input.fill_buf().unwrap().is_empty());
            let mut input = BufReader::with_capacity(capacity, &text[..text.len() - 1]);
            assert!(skip_to_mark(&mut input, &mark).is_err());
        }
    }

    #[test]
    fn empty_lines_before_a_line_are_skipped() {
        let mut input = &b"\n\r\n+FULLRESYNC x 5\r\nrest"[..];
        assert_eq!(full_line(&mut input).unwrap(), "+FULLRESYNC x 5");
        assert_eq!(input, b"rest");
        assert!(full_line(&mut &b"\n"[..]).is_err());
    }
}
