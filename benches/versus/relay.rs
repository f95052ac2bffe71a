//! A closed-loop load of several connections that belong together: teams that take turns, and an audience that only
//! receives. `redis-benchmark` supports neither transactions nor replies on other connections.
//!
//! ```text
//!   team:      member 0 ── 16 requests ──▶ server ── 16 replies ──▶ member 0, then member 1, …, then new numbers
//!   audience:                             server ── messages ─────▶ each listener
//! ```
//!
//! All expected bytes are known beforehand, so every byte of a reply is compared. Messages to listeners are compared
//! while [`Relay::check`] is set; otherwise the kernel discards and counts them unread: this side should cost little,
//! or a thousand listeners would slow the load down. A lost message is an error, and so is an additional one.
//!
//! Limits: one thread; the messages of a listener have one length.

use super::Result;
use super::client::push_request;
use super::system::{self, Epoll};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The number of requests that a member sends at once; the next follow when all their replies have arrived.
pub const DEPTH: usize = 16;

/// The most messages by which each listener may lag: as many as fifty publishers have in flight, which is far below the
/// limits at which a server closes a listener.
const LAG: u64 = 50 * DEPTH as u64;

/// The timeout without any received byte, after which the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// The text that a number replaces, as in `key:000000000042`.
const HOLE: &[u8; 12] = b"000000000000";

/// The token of listener 0; members have those below.
const LISTENERS: u64 = 1 << 32;

/// The most bytes received at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes with a twelve-digit number in place of each [`HOLE`].
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// A template of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let holes = bytes.windows(HOLE.len()).enumerate();
        let holes = holes.filter(|(_, window)| window == HOLE).map(|(at, _)| at).collect();
        Self { bytes: bytes.to_vec(), holes }
    }

    /// A template of one or more requests, each a list of words.
    pub fn requests(requests: &[&[&str]]) -> Self {
        let mut bytes = Vec::new();
        for request in requests {
            let words: Vec<&[u8]> = request.iter().map(|word| word.as_bytes()).collect();
            push_request(&mut bytes, &words);
        }
        Self::new(&bytes)
    }

    /// Appends the bytes with the first of `numbers` in the holes.
    fn render(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        for (&hole, &number) in self.holes.iter().zip(numbers) {
            let mut rest = number;
            for digit in out[begin + hole..begin + hole + HOLE.len()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    /// Whether `bytes` match the repeated template from `position` on, whatever the numbers.
    fn repeats(&self, position: u64, bytes: &[u8]) -> bool {
        let len = self.bytes.len();
        let in_hole = |at| self.holes.iter().any(|&hole| (hole..hole + HOLE.len()).contains(&at));
        let mut at = (position % len as u64) as usize;
        bytes.iter().all(|&byte| {
            let fits = if in_hole(at) { byte.is_ascii_digit() } else { byte == self.bytes[at] };
            at = (at + 1) % len;
            fits
        })
    }
}

/// The choice of a team's numbers.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Random numbers of this range, with a seed.
    Random(std::ops::Range<u64>, u64),
    /// Every number of this range, in scattered order, starting with this index; then again.
    Scattered(std::ops::Range<u64>, u64),
}

impl Numbers {
    fn draw(&mut self) -> u64 {
        match self {
            Self::Random(range, state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                range.start + *state % (range.end - range.start)
            }
            Self::Scattered(range, index) => {
                // A prime that divides none of the lengths in use.
                const STEP: u64 = 7919;
                *index += 1;
                range.start + *index * STEP % (range.end - range.start)
            }
        }
    }
}

/// One connection of a team, and its part of a turn.
#[derive(Debug)]
pub struct Member {
    stream: TcpStream,
    /// Sent [`DEPTH`] times.
    request: Template,
    /// The expected replies, each [`DEPTH`] times before the next.
    replies: Vec<Template>,
    expected: Vec<u8>,
    received: usize,
}

impl Member {
    /// A member that sends `request` repeatedly.
    pub fn new(stream: TcpStream, request: Template, replies: Vec<Template>) -> Self {
        Self { stream, request, replies, expected: Vec::new(), received: 0 }
    }

    /// Sets the expected replies for these numbers.
    fn expect(&mut self, numbers: &[u64]) {
        self.expected.clear();
        for reply in &self.replies {
            units(numbers).for_each(|numbers| reply.render(&mut self.expected, numbers));
        }
        self.received = 0;
    }

    fn send(&mut self, numbers: &[u64], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        units(numbers).for_each(|numbers| self.request.render(out, numbers));
        // All previous replies have been read, so this fits in the socket's buffer.
        Ok(self.stream.write_all(out)?)
    }

    /// Receives once. Returns whether all expected bytes have arrived.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let len = self.stream.read(buffer)?;
        if len == 0 {
            return Err("the server closed a connection of the load".into());
        }
        let rest = &self.expected[self.received..];
        if !rest.starts_with(&buffer[..len]) {
            return Err(format!("expected {}, not {}", shown(rest), shown(&buffer[..len])).into());
        }
        self.received += len;
        Ok(self.received == self.expected.len())
    }
}

/// For each unit of a turn, the numbers from its first on: all units have as many numbers as the first member's request
/// has holes.
fn units(numbers: &[u64]) -> impl Iterator<Item = &[u64]> {
    let each = numbers.len() / DEPTH;
    (0..DEPTH).map(move |unit| &numbers[unit * each..])
}

/// The beginning of some bytes, for an error message.
fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(120)]))
}

/// Connections that take turns with the same numbers: one after the other sends, and receives the expected replies.
#[derive(Debug)]
pub struct Team {
    members: Vec<Member>,
    numbers: Numbers,
    drawn: Vec<u64>,
    at_turn: usize,
}

impl Team {
    /// A team whose first member begins.
    pub fn new(members: Vec<Member>, numbers: Numbers) -> Self {
        Self { members, numbers, drawn: Vec::new(), at_turn: 0 }
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let holes = self.members[0].request.holes.len();
        self.drawn.clear();
        self.drawn.extend((0..DEPTH * holes).map(|_| self.numbers.draw()));
        self.members.iter_mut().for_each(|member| member.expect(&self.drawn));
        self.at_turn = 0;
        self.members[0].send(&self.drawn, out)
    }

    /// Receives once: replies to the member whose turn it is, or messages caused by another's requests. Returns whether
    /// all members have had their turn.
    fn receive(&mut self, member: usize, buffer: &mut [u8], out: &mut Vec<u8>) -> Result<bool> {
        if !self.members[member].receive(buffer)? || member != self.at_turn {
            return Ok(false);
        }
        self.at_turn += 1;
        match self.members.get_mut(self.at_turn) {
            Some(next) => next.send(&self.drawn, out).map(|()| false),
            None => Ok(true),
        }
    }
}

/// A connection that only receives.
#[derive(Debug)]
pub struct Listener {
    stream: TcpStream,
    /// The message for each unit; `None` if it must not receive any.
    message: Option<Template>,
    received: u64,
}

impl Listener {
    /// A listener that receives `message` for each unit of the load.
    pub fn new(stream: TcpStream, message: Template) -> Self {
        Self { stream, message: Some(message), received: 0 }
    }

    /// A connection that must not receive anything.
    pub fn idle(stream: TcpStream) -> Self {
        Self { stream, message: None, received: 0 }
    }

    fn message_len(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.bytes.len() as u64)
    }

    /// Receives once. Returns the number of bytes.
    fn receive(&mut self, buffer: &mut [u8], check: bool) -> Result<u64> {
        let message = self.message.as_ref().ok_or("a connection got something that it is not to get")?;
        let len = if check {
            let len = self.stream.read(buffer)?;
            if !message.repeats(self.received, &buffer[..len]) {
                return Err(format!(
                    "a listener expected {}, not {}",
                    shown(&message.bytes),
                    shown(&buffer[..len])
                )
                .into());
            }
            len
        } else {
            system::discard(&self.stream, PIECE_BYTES)?
        };
        if len == 0 {
            return Err("the server closed the connection of a listener".into());
        }
        self.received += len as u64;
        Ok(len as u64)
    }
}

/// The load of one row on one server, which stays connected between visits.
#[derive(Debug)]
pub struct Relay {
    /// Whether messages to listeners are compared, which costs time.
    pub check: bool,
    teams: Vec<Team>,
    listeners: Vec<Listener>,
    epoll: Epoll,
    buffer: Vec<u8>,
    out: Vec<u8>,
    patience: Duration,
    /// The units of all visits.
    units: u64,
    /// The bytes that all listeners have received.
    heard: u64,
}

impl Relay {
    /// A load of teams that all have the same number of members.
    pub fn new(teams: Vec<Team>, listeners: Vec<Listener>) -> Result<Self> {
        let epoll = Epoll::new(512)?;
        for (index, member) in teams.iter().flat_map(|team| &team.members).enumerate() {
            epoll.add(&member.stream, index as u64)?;
        }
        for (index, listener) in listeners.iter().enumerate() {
            epoll.add(&listener.stream, LISTENERS + index as u64)?;
        }
        let (buffer, out) = (vec![0; PIECE_BYTES], Vec::new());
        Ok(Self {
            check: false,
            teams,
            listeners,
            epoll,
            buffer,
            out,
            patience: PATIENCE,
            units: 0,
            heard: 0,
        })
    }

    /// Runs at least this many units, in whole turns, until all expected bytes have arrived. Returns the number of
    /// units.
    pub fn run(&mut self, units: usize) -> Result<usize> {
        let turns = units.div_ceil(DEPTH);
        let message_len: u64 = self.listeners.iter().map(Listener::message_len).sum();
        let mut ready: VecDeque<usize> = (0..self.teams.len()).collect();
        let mut left = turns;
        loop {
            while left > 0 && self.units * message_len - self.heard <= LAG * message_len {
                let Some(team) = ready.pop_front() else { break };
                self.teams[team].begin(&mut self.out)?;
                self.units += DEPTH as u64;
                left -= 1;
            }
            let behind = self.units * message_len - self.heard;
            if left == 0 && behind == 0 && ready.len() == self.teams.len() {
                break;
            }
            let count = self.epoll.wait(self.patience.as_millis() as i32)?;
            if count == 0 {
                let busy = self.teams.len() - ready.len();
                return Err(
                    format!("nothing arrives: {busy} teams wait, and {behind} bytes of messages").into()
                );
            }
            for event in 0..count {
                self.receive(self.epoll.token(event), &mut ready)?;
            }
        }
        self.each_has_its_share()?;
        Ok(turns * DEPTH)
    }

    fn receive(&mut self, token: u64, ready: &mut VecDeque<usize>) -> Result<()> {
        if let Some(listener) = token.checked_sub(LISTENERS) {
            let listener = &mut self.listeners[listener as usize];
            self.heard += listener.receive(&mut self.buffer, self.check)?;
            return Ok(());
        }
        let size = self.teams[0].members.len();
        let (team, member) = (token as usize / size, token as usize % size);
        if self.teams[team].receive(member, &mut self.buffer, &mut self.out)? {
            ready.push_back(team);
        }
        Ok(())
    }

    fn each_has_its_share(&self) -> Result<()> {
        for listener in &self.listeners {
            let expected = self.units * listener.message_len();
            if listener.received != expected {
                return Err(
                    format!("a listener got {} bytes instead of {expected}", listener.received).into()
                );
            }
        }
        Ok(())
    }

    /// Fails if more than the expected bytes arrive.
    pub fn is_quiet(&mut self) -> Result<()> {
        if self.epoll.wait(0)? == 0 { Ok(()) } else { Err("more arrived than was expected".into()) }
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::system::tests::connected;
    use super::*;
    use std::thread;

    const SENT: &[u8] = b"<000000000000>";
    const REPLY: &[u8] = b":1\r\n";

    #[test]
    fn a_template_has_numbers_in_its_holes() {
        let template = Template::requests(&[&["SET", "key:000000000000", "x"], &["GET", "key:000000000000"]]);
        let mut out = b"before".to_vec();
        template.render(&mut out, &[42, 999_999_999_999]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "before*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$1\r\nx\r\n\
             *2\r\n$3\r\nGET\r\n$16\r\nkey:999999999999\r\n"
        );
    }

    #[test]
    fn repetitions_are_known_from_any_position_whatever_their_numbers() {
        let template = Template::new(b"a000000000000b");
        assert!(template.repeats(0, b"a000000000123ba4"));
        assert!(template.repeats(14 * 1000 + 13, b"ba12"));
        assert!(!template.repeats(0, b"a00000000x123b"));
        assert!(!template.repeats(1, b"a"));
    }

    #[test]
    fn scattered_numbers_come_all_before_one_comes_again() {
        let mut numbers = Numbers::Scattered(100..4100, 0);
        for _ in 0..2 {
            let mut drawn: Vec<u64> = (0..4000).map(|_| numbers.draw()).collect();
            assert!(drawn[..DEPTH].windows(2).any(|pair| pair[1] != pair[0] + 1));
            drawn.sort_unstable();
            assert_eq!(drawn, (100..4100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn random_numbers_stay_in_their_range() {
        let mut numbers = Numbers::Random(5..9, 77);
        let drawn: Vec<u64> = (0..1000).map(|_| numbers.draw()).collect();
        assert!((5..9).all(|number| drawn.contains(&number)));
        assert!(drawn.iter().all(|number| (5..9).contains(number)));
    }

    /// A server for one publisher and one listener: calls `deliver` with the index of each request and its bytes.
    fn relay(mut deliver: impl FnMut(usize, &[u8], &mut TcpStream) + Send + 'static) -> Relay {
        let (publisher, mut from_publisher) = connected();
        let (listener, mut to_listener) = connected();
        thread::spawn(move || {
            let mut request = [0; SENT.len()];
            for index in 0.. {
                if from_publisher.read_exact(&mut request).is_err() {
                    return;
                }
                deliver(index, &request, &mut to_listener);
                from_publisher.write_all(REPLY).unwrap();
            }
        });
        let member = Member::new(publisher, Template::new(SENT), vec![Template::new(REPLY)]);
        let team = Team::new(vec![member], Numbers::Scattered(0..1000, 0));
        let mut relay = Relay::new(vec![team], vec![Listener::new(listener, Template::new(SENT))]).unwrap();
        relay.check = true;
        relay
    }

    #[test]
    fn whole_turns_run_and_all_messages_are_counted_checked_or_not() {
        let mut relay = relay(|_, request, listener| listener.write_all(request).unwrap());
        assert_eq!(relay.run(100).unwrap(), 112);
        relay.is_quiet().unwrap();
        relay.check = false;
        assert_eq!(relay.run(10_000).unwrap(), 10_000);
        assert_eq!(relay.heard, 10_112 * SENT.len() as u64);
    }

    #[test]
    fn a_lost_message_is_an_error() {
        let mut relay = relay(|index, request, listener| {
            if index != 50 {
                listener.write_all(request).unwrap();
            }
        });
        relay.patience = Duration::from_millis(50);
        let error = relay.run(100).unwrap_err().to_string();
        assert!(error.contains("and 14 bytes"), "{error}");
    }

    #[test]
    fn a_message_too_many_or_another_one_is_an_error() {
        let mut more = relay(|index, request, listener| {
            listener.write_all(request).unwrap();
            if index == 99 {
                listener.write_all(&request[..3]).unwrap();
            }
        });
        assert!(more.run(112).is_err());
        let mut other = relay(|_, _, listener| listener.write_all(b"<000000000000)").unwrap());
        assert!(other.run(16).unwrap_err().to_string().contains("a listener expected"));
    }

    /// A pair on one connection each; the server sends `before` to the second for each request of the first.
    #[test]
    fn members_take_turns_and_a_later_one_may_get_something_before() {
        let (first, mut from_first) = connected();
        let (second, mut from_second) = connected();
        thread::spawn(move || {
            let mut request = [0; SENT.len()];
            loop {
                for _ in 0..DEPTH {
                    if from_first.read_exact(&mut request).is_err() {
                        return;
                    }
                    from_second.write_all(&request).unwrap();
                    from_first.write_all(REPLY).unwrap();
                }
                for _ in 0..DEPTH {
                    from_second.read_exact(&mut request).unwrap();
                    from_second.write_all(REPLY).unwrap();
                }
            }
        });
        let first = Member::new(first, Template::new(SENT), vec![Template::new(REPLY)]);
        let second =
            Member::new(second, Template::new(SENT), vec![Template::new(SENT), Template::new(REPLY)]);
        let team = Team::new(vec![first, second], Numbers::Random(0..1000, 5));
        let mut relay = Relay::new(vec![team], Vec::new()).unwrap();
        assert_eq!(relay.run(160).unwrap(), 160);
        relay.is_quiet().unwrap();
    }
}
