//! The lower bound: a loop that waits, receives, counts requests, sends one fixed reply for each, and repeats.
//!
//! It makes only the system calls that a server needs (`epoll_wait`, `recv`, `send`, one of each per batch of
//! requests), without keys or commands. A `*` begins a request, and the benchmark's keys and values contain none, so
//! one vectorised pass counts the requests, whether or not they arrived whole. Replies have the form that the load
//! expects, are prepared in a buffer, and are sent with one call.
//!
//! It runs in a separate process (the benchmark started again with [`ARGUMENT`]), pinned and measured like any server.
//! Sockets are blocking: the load always reads, so a send never waits for long.

use super::Result;
use super::system::Epoll;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// The first argument that turns the benchmark's binary into the bare loop; port and reply follow.
pub const ARGUMENT: &str = "bare-loop";

/// The token of the listener; connections have their descriptors.
const LISTENER: u64 = u64::MAX;

/// The size of the buffer of prepared replies.
const READY_BYTES: usize = 256 * 1024;

/// Serves on `127.0.0.1:port` until the process is killed.
pub fn run(port: &str, reply: &str) -> Result<()> {
    serve(&TcpListener::bind(("127.0.0.1", port.parse()?))?, reply.as_bytes())
}

/// Replies to every request on every connection of `listener` with `reply`.
pub fn serve(listener: &TcpListener, reply: &[u8]) -> Result<()> {
    let ready = reply.repeat((READY_BYTES / reply.len()).max(1));
    let mut received = vec![0; 64 * 1024];
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut epoll = Epoll::new(1024)?;
    epoll.add(listener, LISTENER)?;
    loop {
        for index in 0..epoll.wait(-1)? {
            let token = epoll.token(index);
            if token == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let slot = stream.as_raw_fd() as usize;
                epoll.add(&stream, slot as u64)?;
                connections.resize_with(connections.len().max(slot + 1), || None);
                connections[slot] = Some(stream);
                continue;
            }
            let place = &mut connections[token as usize];
            let Some(stream) = place else { continue };
            match stream.read(&mut received) {
                Ok(len @ 1..) => answer(stream, &ready, reply.len(), count(&received[..len])),
                _ => *place = None,
            }
        }
    }
}

/// The number of requests that begin in `bytes`.
#[inline]
fn count(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'*', bytes).count()
}

/// Sends `requests` replies of `len` bytes each from the prepared ones.
#[inline]
fn answer(stream: &mut TcpStream, ready: &[u8], len: usize, mut requests: usize) {
    while requests > 0 {
        let batch = requests.min(ready.len() / len);
        // It is not an error if the load has disconnected; the next read sees that.
        if stream.write_all(&ready[..batch * len]).is_err() {
            break;
        }
        requests -= batch;
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::client::Client;
    use super::*;

    #[test]
    fn every_request_gets_one_reply_even_if_it_comes_in_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The loop never ends; the thread ends with the test's process.
        std::thread::spawn(move || serve(&listener, b"+OK\r\n").map_err(|error| error.to_string()));
        let mut client = Client::connect(port).unwrap();
        for _ in 0..10_000 {
            client.queue(&[b"SET", b"key", b"value"]).unwrap();
        }
        client.flush().unwrap();

        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        for piece in [&b"*1\r\n$4\r\nPI"[..], b"NG\r\n*1\r\n$4\r\nPING\r\n*", b"1\r\n$4\r\nPING\r\n"] {
            stream.write_all(piece).unwrap();
        }
        let mut replies = [0; 15];
        stream.read_exact(&mut replies).unwrap();
        assert_eq!(&replies, b"+OK\r\n+OK\r\n+OK\r\n");
        // Only three replies may arrive: the next one belongs to the next request.
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"+OK\r\n");
    }

    #[test]
    fn requests_are_counted_by_their_stars() {
        assert_eq!(count(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 2);
        assert_eq!(count(b"$4\r\nPING\r\n"), 0);
    }
}
