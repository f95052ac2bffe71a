//! `--pipe`: mass insertion. Standard input goes to the server unchanged: commands in the protocol or inline.
//!
//! One thread sends and one receives. Neither waits for the other, so a server that stops reading until its replies are
//! received never blocks both sides. An ECHO of random characters follows the input, and its reply is the last one.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::resp::value::ReplyEnd;
use crate::sys::{file, process};
use crate::tools::Progress;
use crate::tools::client::{Connection, Error, Writer, write_command};
use crate::tools::console::tell;

/// The number of bytes of input read at once.
const CHUNK: usize = 64 * 1024;
/// How often the receiver checks whether the sender is done, while no replies arrive.
const LOOK: Duration = Duration::from_millis(50);
/// The time limit for the next reply after everything was sent, in seconds.
const TIMEOUT: u64 = 30;
/// The random characters that ECHO returns.
const MARK: usize = 20;

/// Sends standard input and prints a summary; fails if any reply was an error.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let timeout = session.matches.get_one::<u64>("pipe-timeout").copied().unwrap_or(TIMEOUT);
    let mut connection = Connection::open(session.target)?;
    let input = File::from(stdin().as_fd().try_clone_to_owned()?);
    let writer = connection.writer().map_err(Error::Io)?;
    let mark = random_mark();
    let (sender, sent) = mpsc::channel();
    let tail = tail(&mark);
    thread::spawn(move || {
        // No outcome means that the server closed the connection: the receiver knows what arrived before that.
        if let Some(outcome) = send(&writer, input, &tail) {
            let _ = sender.send(outcome);
        }
    });

    let mut replies = Replies::new(&mark);
    let end = receive(&mut connection, &sent, timeout, &mut replies)?;
    let Replies { mut errors, count, .. } = replies;
    match end {
        End::Mark => write_line("Last reply received from server.")?,
        End::Timeout => {
            tell(format_args!("No replies for {timeout} seconds: exiting."));
            errors += 1;
        }
        End::Closed => {
            let text = format!("Server closed the connection after {count} replies, {errors} of them errors");
            return Err(Failure::Text(text));
        }
    }
    write_line(&format!("errors: {errors}, replies: {count}"))?;
    if errors > 0 { Err(Failure::Told) } else { Ok(()) }
}

/// Generates characters that occur in no other reply.
fn random_mark() -> [u8; MARK] {
    let mut mark = [0; MARK];
    process::random_bytes(&mut mark);
    mark.map(|byte| b'a' + byte % 26)
}

/// Returns the bytes after the input. They begin with a line end, for an inline command that lacks one.
fn tail(mark: &[u8; MARK]) -> Vec<u8> {
    let mut tail = b"\r\n".to_vec();
    write_command(&mut tail, &[b"ECHO", &mark[..]]);
    tail
}

/// Sends the input and the tail. Returns `None` if the server closed the connection.
fn send(writer: &Writer, mut input: File, tail: &[u8]) -> Option<Outcome> {
    let len = input.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
    let mut bar = Progress::delayed(len);
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let bytes = match input.read(&mut chunk) {
            Ok(0) => tail,
            Ok(len) => &chunk[..len],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let text = format!("Error reading from stdin: {}", file::reason(&error));
                return Some(Err(Failure::Text(text)));
            }
        };
        match writer.send_bytes(bytes) {
            Ok(()) => {}
            Err(Error::Closed) => return None,
            Err(error) => {
                return Some(Err(Failure::Text(format!("Error writing to the server: {error}"))));
            }
        }
        if bytes.as_ptr() == tail.as_ptr() {
            bar.clear();
            return Some(Ok(()));
        }
        done += bytes.len() as u64;
        bar.reach(done);
    }
}

/// The replies received so far.
struct Replies {
    /// The expected last reply, encoded.
    last: Vec<u8>,
    count: u64,
    errors: u64,
    /// The parser's position in an incomplete reply.
    end: ReplyEnd,
}

impl Replies {
    fn new(mark: &[u8; MARK]) -> Replies {
        let last = [format!("${MARK}\r\n").as_bytes(), mark, b"\r\n"].concat();
        Replies { last, count: 0, errors: 0, end: ReplyEnd::default() }
    }

    /// Counts the complete replies in `received` and prints the errors among them. Returns their length, and whether
    /// the last reply was there.
    fn count(&mut self, received: &[u8]) -> Result<(usize, bool), Error> {
        let mut at = 0;
        while let Some(len) = self.end.find(&received[at..]).map_err(Error::Malformed)? {
            let reply = &received[at..at + len];
            self.end = ReplyEnd::default();
            at += len;
            match reply[0] {
                b'$' if reply == self.last => return Ok((at, true)),
                b'-' | b'!' => {
                    self.errors += 1;
                    if let Ok(Some((Value::Error(text), _))) = Value::decode(reply) {
                        tell(String::from_utf8_lossy(&text));
                    }
                }
                // A push message, to no command.
                b'>' => continue,
                _ => {}
            }
            self.count += 1;
        }
        Ok((at, false))
    }
}

/// Why the wait for replies ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Mark,
    Timeout,
    Closed,
}

/// Counts replies to their end. A failure of the sender ends it too.
fn receive(
    connection: &mut Connection,
    sent: &Receiver<Outcome>,
    timeout: u64,
    replies: &mut Replies,
) -> Result<End, Failure> {
    let mut all_is_sent = false;
    let mut latest = Instant::now();
    loop {
        let (len, is_last) = replies.count(connection.received())?;
        connection.consume(len);
        // A reply may arrive before the sender reports that it is done; the report is then awaited.
        let outcome = if is_last && !all_is_sent { sent.recv().ok() } else { sent.try_recv().ok() };
        if let Some(outcome) = outcome {
            outcome?;
            write_line("All data transferred. Waiting for the last reply...")?;
            all_is_sent = true;
            latest = Instant::now();
        }
        if is_last {
            return Ok(End::Mark);
        }
        match connection.fill(Some(LOOK)) {
            Ok(Ok(())) => latest = Instant::now(),
            Ok(Err(_)) => {}
            Err(Error::Closed) => return Ok(End::Closed),
            Err(error) => return Err(error.into()),
        }
        if all_is_sent && timeout > 0 && latest.elapsed().as_secs() >= timeout {
            return Ok(End::Timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_errors_are_counted_in_any_pieces_up_to_the_mark() {
        let mark = [b'm'; MARK];
        let stream = [
            &b"+OK\r\n*2\r\n-ERR nested\r\n:1\r\n>2\r\n+a\r\n+b\r\n-ERR x\r\n!5\r\nERR y\r\n$20\r\n"[..],
            &[b'n'; MARK],
            b"\r\n$20\r\n",
            &mark,
            b"\r\n+more\r\n",
        ]
        .concat();
        for step in 1..stream.len() {
            let mut replies = Replies::new(&mark);
            let (mut start, mut end, mut is_last) = (0, 0, false);
            while !is_last {
                end = (end + step).min(stream.len());
                let (len, last) = replies.count(&stream[start..end]).unwrap();
                (start, is_last) = (start + len, last);
            }
            assert_eq!((replies.count, replies.errors), (5, 2), "in pieces of {step}");
            assert_eq!(&stream[start..], b"+more\r\n");
        }
    }
}
