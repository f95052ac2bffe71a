//! The exchange of `MIGRATE` with its target: a `RESTORE` for each key, and the replies to them.
//!
//! ```text
//!   AUTH?  SELECT?  RESTORE …  RESTORE … ───────▶ target
//!   +OK    +OK      +OK        -BUSYKEY … ◀──────
//! ```
//!
//! All requests are sent at once, as Redis does. [`Exchange`] takes the target's bytes and the time. It returns the keys
//! All requests are sent at once, as Redis does. [`Exchange`] takes the target's bytes and the time. It returns the
//! keys that the target has restored, and whether the caller should retry over a new connection. A key counts as
//! restored only if the target has replied with a status to its `RESTORE`, and without an error to `AUTH` and `SELECT`.
//! Redis treats every reply except an error as success, and deletes the key even if the target is not a Redis server;
//! here such a reply closes the connection.
//!
//! The timeout limits the time without progress, in which the target neither receives nor sends a byte.

use crate::resp::{Protocol, Reply};

/// The kept bytes of a reply line, as in Redis. The rest of a longer line is skipped.
const MAX_LINE: usize = 1023;

/// The requests to the target.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    has_auth: bool,
    has_select: bool,
    keys: usize,
}

impl Requests {
    fn push(&mut self, words: &[&[u8]]) {
        let mut request = Reply::new(&mut self.bytes, Protocol::Resp2);
        request.array(words.len());
        for word in words {
            request.bulk(word);
        }
    }

    /// Adds `AUTH`, with or without a user.
    pub fn auth(&mut self, user: Option<&[u8]>, password: &[u8]) {
        match user {
            Some(user) => self.push(&[b"AUTH", user, password]),
            None => self.push(&[b"AUTH", password]),
        }
        self.has_auth = true;
    }

    /// Adds `SELECT`, for a connection that has another database selected.
    pub fn select(&mut self, db: i64) {
        self.push(&[b"SELECT", db.to_string().as_bytes()]);
        self.has_select = true;
    }

    /// Adds `RESTORE` of one key. A time to live of 0 means none. With `asks`, a target that imports the key's slot takes
    /// it.
    pub fn restore(&mut self, key: &[u8], ttl_ms: i64, payload: &[u8], replaces: bool, asks: bool) {
        let ttl = ttl_ms.to_string();
        let verb: &[u8] = if asks { b"RESTORE-ASKING" } else { b"RESTORE" };
        let words: [&[u8]; 5] = [verb, key, ttl.as_bytes(), payload, b"REPLACE"];
        self.push(&words[..4 + usize::from(replaces)]);
        self.keys += 1;
    }
}

/// The reason why the exchange was not completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The connection failed or was closed.
    Closed,
    /// There was no progress for the timeout.
    TimedOut,
    /// The target sent a reply other than a status or an error.
    Garbage,
}

/// The reason why some keys were not restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No connection before the timeout, or the address does not exist. For a target that refuses connections, Redis
    /// reports [`Failure::Writing`].
    Connecting,
    /// The target has not received all requests.
    Writing,
    /// Replies are missing.
    Reading,
    /// The target's first error.
    Refused(Vec<u8>),
}

impl Failure {
    /// The error reply of `MIGRATE`.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Failure::Connecting => b"IOERR error or timeout connecting to the client".to_vec(),
            Failure::Writing => b"IOERR error or timeout writing to target instance".to_vec(),
            Failure::Reading => b"IOERR error or timeout reading to target instance".to_vec(),
            Failure::Refused(text) => [b"ERR Target instance replied with error: ", &text[..]].concat(),
        }
    }
}

/// The end of an exchange.
#[derive(PartialEq, Eq, Debug)]
pub struct End {
    /// The restored keys, by the order of their `RESTORE`.
    pub restored: Vec<usize>,
    /// The reason why some keys are missing on the target.
    pub failure: Option<Failure>,
    /// Whether the connection can be used again.
    pub reusable: bool,
}

/// The next action after a lost connection.
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send the requests again over a new connection; no key is known to be restored.
    Retry,
    /// The exchange has ended.
    End(End),
}

/// The state of an exchange; see the module's head.
#[derive(Debug)]
pub struct Exchange {
    requests: Requests,
    sent: usize,
    is_connected: bool,
    timeout_ms: u64,
    /// The time of the last progress.
    progress_ms: u64,
    line: Vec<u8>,
    /// The number of complete replies.
    replies: usize,
    restored: Vec<usize>,
    /// The error of `AUTH` or `SELECT`.
    denial: Option<Vec<u8>>,
    /// The error to report.
    refusal: Option<Vec<u8>>,
    /// Whether the target has sent more replies than expected.
    has_surplus: bool,
}

impl Exchange {
    /// An exchange that began at `now_ms`, over a connection that may not be established yet.
    pub fn new(requests: Requests, is_connected: bool, timeout_ms: u64, now_ms: u64) -> Exchange {
        Exchange {
            requests,
            sent: 0,
            is_connected,
            timeout_ms,
            progress_ms: now_ms,
            line: Vec::new(),
            replies: 0,
            restored: Vec::new(),
            denial: None,
            refusal: None,
            has_surplus: false,
        }
    }

    /// Notes that the connection is established.
    pub fn connected(&mut self, now_ms: u64) {
        self.is_connected = true;
        self.progress_ms = now_ms;
    }

    /// See [`Exchange::connected`].
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The bytes that the target has not received.
    pub fn unsent(&self) -> &[u8] {
        &self.requests.bytes[self.sent..]
    }

    /// Notes that the target has received `count` bytes.
    pub fn took(&mut self, count: usize, now_ms: u64) {
        self.sent += count;
        assert!(self.sent <= self.requests.bytes.len(), "sent more than the requests");
        self.progress_ms = now_ms;
    }

    /// The time at which the exchange times out.
    pub fn deadline_ms(&self) -> u64 {
        self.progress_ms.saturating_add(self.timeout_ms)
    }

    /// Whether all replies have arrived.
    pub fn is_complete(&self) -> bool {
        self.replies == self.greetings() + self.requests.keys
    }

    /// The number of requests before the first `RESTORE`.
    fn greetings(&self) -> usize {
        usize::from(self.requests.has_auth) + usize::from(self.requests.has_select)
    }

    /// Parses `bytes` from the target.
    ///
    /// # Errors
    /// The bytes are not replies of a Redis server.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Lost> {
        self.progress_ms = now_ms;
        for &byte in bytes {
            if self.is_complete() {
                self.has_surplus = true;
                break;
            }
            if byte == b'\n' {
                self.take_line()?;
            } else if self.line.len() < MAX_LINE {
                self.line.push(byte);
                if !matches!(self.line[0], b'+' | b'-') {
                    return Err(Lost::Garbage);
                }
            }
        }
        Ok(())
    }

    fn take_line(&mut self) -> Result<(), Lost> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (&kind, text) = line.split_first().ok_or(Lost::Garbage)?;
        let index = self.replies.checked_sub(self.greetings());
        self.replies += 1;
        let error = (kind == b'-').then(|| text.to_vec());
        let Some(index) = index else {
            self.denial = self.denial.take().or(error);
            return Ok(());
        };
        match self.denial.clone().or(error) {
            Some(error) => self.refusal = self.refusal.take().or(Some(error)),
            None => self.restored.push(index),
        }
        Ok(())
    }

    /// Returns the result once the replies are complete.
    pub fn end(&mut self) -> End {
        assert!(self.is_complete());
        let reusable = !self.has_surplus && self.unsent().is_empty();
        let failure = self.refusal.take().map(Failure::Refused);
        End { reusable, restored: std::mem::take(&mut self.restored), failure }
    }

    /// Handles a lost connection. `may_retry` is set on the first attempt.
    pub fn lost(&mut self, why: Lost, may_retry: bool) -> Verdict {
        let nothing_known = self.replies <= self.greetings();
        if why == Lost::Closed && may_retry && nothing_known {
            return Verdict::Retry;
        }
        let failure = match self.refusal.take() {
            Some(text) => Failure::Refused(text),
            None if !self.is_connected && why == Lost::TimedOut => Failure::Connecting,
            None if self.sent < self.requests.bytes.len() => Failure::Writing,
            None => Failure::Reading,
        };
        let restored = std::mem::take(&mut self.restored);
        Verdict::End(End { restored, failure: Some(failure), reusable: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(keys: usize) -> Requests {
        let mut requests = Requests::default();
        requests.auth(None, b"secret");
        requests.select(3);
        for index in 0..keys {
            requests.restore(format!("k{index}").as_bytes(), 0, b"payload", index > 0, false);
        }
        requests
    }

    /// An exchange at 1000 ms, with all requests sent.
    fn sent(keys: usize) -> Exchange {
        let mut exchange = Exchange::new(requests(keys), true, 100, 0);
        exchange.took(exchange.unsent().len(), 1000);
        exchange
    }

    fn failed(verdict: Verdict) -> (Vec<usize>, Failure) {
        match verdict {
            Verdict::End(end) => {
                assert!(!end.reusable);
                (end.restored, end.failure.expect("a failure"))
            }
            Verdict::Retry => panic!("it tries again"),
        }
    }

    #[test]
    fn requests_are_those_of_redis() {
        let mut requests = Requests::default();
        requests.auth(Some(b"user"), b"password");
        requests.select(12);
        requests.restore(b"a", 0, b"p\0", false, false);
        requests.restore(b"", 17, b"q", true, false);
        let expected =
            b"*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$8\r\npassword\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n\
            *4\r\n$7\r\nRESTORE\r\n$1\r\na\r\n$1\r\n0\r\n$2\r\np\0\r\n\
            *5\r\n$7\r\nRESTORE\r\n$0\r\n\r\n$2\r\n17\r\n$1\r\nq\r\n$7\r\nREPLACE\r\n";
        assert_eq!(requests.bytes, expected);
    }

    #[test]
    fn replies_mean_the_same_however_they_are_divided() {
        let replies = b"+OK\r\n+OK\r\n+OK\r\n-BUSYKEY taken\r\n+OK\r\n-ERR another\r\n";
        for first in 0..replies.len() {
            for second in first..replies.len() {
                let mut exchange = sent(4);
                for part in [&replies[..first], &replies[first..second], &replies[second..]] {
                    assert!(!exchange.is_complete());
                    exchange.receive(part, 1000).unwrap();
                }
                assert!(exchange.is_complete());
                let failure = Some(Failure::Refused(b"BUSYKEY taken".to_vec()));
                assert_eq!(exchange.end(), End { restored: vec![0, 2], failure, reusable: true });
            }
        }
    }

    #[test]
    fn nothing_counts_as_restored_after_an_error_of_auth_or_select() {
        for (greetings, error) in [
            ("-WRONGPASS no\r\n-NOAUTH\r\n", "WRONGPASS no"),
            ("+OK\r\n-ERR DB index is out of range\r\n", "ERR DB index is out of range"),
        ] {
            let mut exchange = sent(2);
            exchange.receive(greetings.as_bytes(), 0).unwrap();
            exchange.receive(b"+OK\r\n-ERR of the key\r\n", 0).unwrap();
            let end = exchange.end();
            assert_eq!((end.restored, end.failure), (vec![], Some(Failure::Refused(error.into()))));
        }
    }

    #[test]
    fn a_lost_connection_is_retried_once_and_only_if_no_key_has_a_reply() {
        assert_eq!(sent(1).lost(Lost::Closed, true), Verdict::Retry);
        assert_eq!(failed(sent(1).lost(Lost::Closed, false)), (vec![], Failure::Reading));
        assert_eq!(failed(sent(1).lost(Lost::TimedOut, true)), (vec![], Failure::Reading));
        let mut unsent = Exchange::new(requests(1), true, 100, 0);
        assert_eq!(failed(unsent.lost(Lost::Closed, false)), (vec![], Failure::Writing));
        let mut apart = Exchange::new(requests(1), false, 100, 0);
        assert_eq!(apart.lost(Lost::Closed, true), Verdict::Retry);
        assert_eq!(failed(apart.lost(Lost::Closed, false)), (vec![], Failure::Writing));
        assert_eq!(failed(apart.lost(Lost::TimedOut, true)), (vec![], Failure::Connecting));
        let mut half = sent(3);
        half.receive(b"+OK\r\n+OK\r\n+OK\r\n+O", 0).unwrap();
        assert_eq!(failed(half.lost(Lost::Closed, true)), (vec![0], Failure::Reading));
        let mut refused = sent(3);
        refused.receive(b"+OK\r\n+OK\r\n-BUSYKEY\r\n+OK\r\n", 0).unwrap();
        let failure = Failure::Refused(b"BUSYKEY".to_vec());
        assert_eq!(failed(refused.lost(Lost::Closed, true)), (vec![1], failure));
    }

    #[test]
    fn a_reply_that_is_no_status_and_no_error_ends_the_exchange_and_restores_nothing() {
        for garbage in ["HTTP/1.1 400 Bad Request\r\n", ":1\r\n", "$2\r\nOK\r\n", "\r\n", "\n", "\0"] {
            let mut exchange = sent(1);
            exchange.receive(b"+OK\r\n+OK\r\n", 0).unwrap();
            assert_eq!(exchange.receive(garbage.as_bytes(), 0), Err(Lost::Garbage), "{garbage:?}");
            assert_eq!(failed(exchange.lost(Lost::Garbage, true)), (vec![], Failure::Reading));
        }
    }

    #[test]
    fn a_long_line_is_one_reply_and_its_beginning_is_reported() {
        let mut exchange = sent(2);
        exchange.receive(b"+OK\r\n+OK\r\n-", 0).unwrap();
        for _ in 0..100_000 {
            exchange.receive(b"long", 0).unwrap();
        }
        exchange.receive(b"\r\n+OK\r\n", 0).unwrap();
        let End { restored, failure, .. } = exchange.end();
        let Some(Failure::Refused(text)) = failure else { panic!("{failure:?}") };
        assert_eq!((restored, text.len()), (vec![1], MAX_LINE - 1));
    }

    #[test]
    fn the_timeout_begins_again_with_every_byte() {
        let mut exchange = Exchange::new(requests(1), false, 100, 50);
        assert_eq!(exchange.deadline_ms(), 150);
        exchange.connected(140);
        assert_eq!(exchange.deadline_ms(), 240);
        exchange.took(1, 200);
        assert_eq!(exchange.deadline_ms(), 300);
        exchange.receive(b"+", 299).unwrap();
        assert_eq!(exchange.deadline_ms(), 399);
        assert_eq!(Exchange::new(requests(1), true, u64::MAX, 50).deadline_ms(), u64::MAX);
    }

    #[test]
    fn a_connection_on_which_more_came_than_was_asked_for_is_not_used_again() {
        let mut exchange = sent(1);
        exchange.receive(b"+OK\r\n+OK\r\n+OK\r\n+", 0).unwrap();
        assert_eq!(exchange.end(), End { restored: vec![0], failure: None, reusable: false });
    }
}
