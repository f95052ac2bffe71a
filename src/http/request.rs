//! The decoder of a request's head (RFC 9112): method, path, and whether the connection is kept alive.
//!
//! ```text
//!   GET /metrics?x=1 HTTP/1.1\r\n     the request line: the path ends before the `?`
//!   Host: 10.0.0.1:9121\r\n           a header: Host, Connection, Content-Length and Transfer-Encoding matter
//!   \r\n                              the end of the head
//! ```
//!
//! [`Decoder::decode`] is called with all bytes of the request so far, each time more have arrived. It examines each
//! byte once, so a client that sends single bytes costs no more than others, and the result does not depend on how the
//! bytes were split. A head has at most [`MAX_HEAD`] bytes; nothing is allocated.
//!
//! It is strict where lenient parsers have let one request hide in another (folded lines, spaces before a colon, a lone
//! carriage return, two lengths that differ). It is lenient only in accepting lines without a carriage return, such as
//! those typed into a terminal.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::Status;

/// The longest head, line ends included.
pub const MAX_HEAD: usize = 8192;

/// The request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: as `GET`, without the body of the response.
    Head,
    /// Any other.
    Other,
}

/// A request whose head has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The range of the path in the decoded bytes: without the query, as sent. Empty if the target has none.
    pub path: Range<usize>,
    /// The range of the value of `Host` in the decoded bytes. Empty if there is none.
    pub host: Range<usize>,
    /// Whether the connection is kept alive after the response.
    pub keep_alive: bool,
    /// The length of the head in bytes.
    pub len: usize,
}

/// The contents of the headers so far.
#[derive(Clone, Debug, Default)]
struct Headers {
    hosts: u32,
    host: Range<usize>,
    length: Option<u64>,
    is_encoded: bool,
    close: bool,
    keep_alive: bool,
}

/// The state of the decoder in a request; `Default` is the beginning.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The number of bytes examined.
    seen: usize,
    /// The start of the line that has not ended yet.
    line: usize,
    /// Method, path and minor version, once the first line has been read.
    first: Option<(Method, Range<usize>, u8)>,
    headers: Headers,
}

impl Decoder {
    /// Whether no byte of a request has been examined.
    pub fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Continues with `bytes`: those of the last call, followed by the new ones. Returns a request as soon as its head
    /// is complete, and is then fresh: the next request begins [`Request::len`] bytes further on.
    ///
    /// # Errors
    /// The status of the response to malformed bytes. The connection cannot continue.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Option<Request>, Status> {
        let window = &bytes[..bytes.len().min(MAX_HEAD)];
        while let Some(&byte) = window.get(self.seen) {
            let follows_return = self.seen > self.line && window[self.seen - 1] == b'\r';
            self.seen += 1;
            match byte {
                b'\n' => {}
                _ if follows_return => return Err(Status::BadRequest),
                b'\r' | b'\t' | 0x20..=0x7e | 0x80.. => continue,
                _ => return Err(Status::BadRequest),
            }
            let end = self.seen - 1 - usize::from(follows_return);
            let (begin, line) = (self.line, &window[self.line..end]);
            self.line = self.seen;
            match &self.first {
                // An empty line before a request belongs to the previous one.
                None if line.is_empty() => {}
                None => self.first = Some(request_line(line, begin)?),
                Some(_) if line.is_empty() => return self.finish().map(Some),
                Some(_) => self.headers.take(line, begin)?,
            }
        }
        match &self.first {
            _ if bytes.len() < MAX_HEAD => Ok(None),
            None => Err(Status::UriTooLong),
            Some(_) => Err(Status::HeadTooLarge),
        }
    }

    /// Completes the request at the end of its head.
    fn finish(&mut self) -> Result<Request, Status> {
        let Decoder { seen, first, headers, .. } = std::mem::take(self);
        let (method, path, minor) = first.ok_or(Status::BadRequest)?;
        if minor > 0 && headers.hosts != 1 || headers.hosts > 1 {
            return Err(Status::BadRequest);
        }
        let has_body = headers.is_encoded || headers.length.is_some_and(|length| length > 0);
        let keep_alive = !has_body && !headers.close && (minor > 0 || headers.keep_alive);
        Ok(Request { method, path, host: headers.host, keep_alive, len: seen })
    }
}

/// Parses `METHOD target HTTP/1.x`, whose first byte is the one at `begin`.
fn request_line(line: &[u8], begin: usize) -> Result<(Method, Range<usize>, u8), Status> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Status::BadRequest);
    };
    let minor = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => minor - b'0',
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Status::VersionNotSupported);
        }
        _ => return Err(Status::BadRequest),
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err(Status::BadRequest);
    }
    let method = match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    };
    let path = path_of(target).unwrap_or(0..0);
    if path.is_empty() && method != Method::Other {
        return Err(Status::BadRequest);
    }
    let at = line.len() - version.len() - 1 - target.len() + begin;
    Ok((method, at + path.start..at + path.end, minor))
}

/// The range of the path in a target: `/path?query`, or `http://host/path?query` as a client sends it to a proxy.
fn path_of(target: &[u8]) -> Option<Range<usize>> {
    let scheme = b"http://";
    let is_absolute = target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let from = if is_absolute { scheme.len() } else { 0 };
    let start = from + target[from..].iter().position(|&byte| byte == b'/')?;
    if !is_absolute && start > 0 {
        return None;
    }
    let len = target[start..].iter().position(|byte| matches!(byte, b'?' | b'#'));
    Some(start..len.map_or(target.len(), |len| start + len))
}

impl Headers {
    /// Parses `Name: value`, whose first byte is the one at `begin`.
    fn take(&mut self, line: &[u8], begin: usize) -> Result<(), Status> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Status::BadRequest)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return Err(Status::BadRequest);
        }
        let is = |header: &str| name.eq_ignore_ascii_case(header.as_bytes());
        if is("host") {
            self.hosts += 1;
            let at = begin + line.len() - line[colon + 1..].trim_ascii_start().len();
            self.host = at..at + value.len();
        } else if is("transfer-encoding") {
            self.is_encoded = true;
        } else if is("content-length") {
            let length = length(value).ok_or(Status::BadRequest)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(Status::BadRequest);
            }
            self.length = Some(length);
        } else if is("connection") {
            for word in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }
}

/// Whether the value of a `Host` header is a name that a stranger may have given to this machine: neither an address
/// nor `localhost`, with or without a port. A page of another site can make a browser send such a request, under a name
/// that points to this machine only after the page was loaded; it cannot make it send one under an address, or without
/// a name.
pub fn is_foreign_name(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !host.ends_with(b"]") => (&host[..colon], &host[colon + 1..]),
        _ => (host, &b""[..]),
    };
    let bare = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let is_own = match (std::str::from_utf8(name), bare.map(std::str::from_utf8)) {
        (_, Some(Ok(bare))) => bare.parse::<Ipv6Addr>().is_ok(),
        (Ok(name), None) => {
            name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
        }
        _ => false,
    };
    !is_own || !port.iter().all(u8::is_ascii_digit)
}

/// Parses a length that consists only of digits.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `word` can be a method or the name of a header.
fn is_token(word: &[u8]) -> bool {
    !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `text`: method, path, whether the connection is kept alive, and the length.
    fn decoded(text: &str) -> Result<Option<(Method, &str, bool, usize)>, Status> {
        let request = Decoder::default().decode(text.as_bytes())?;
        Ok(request.map(|r| (r.method, &text[r.path], r.keep_alive, r.len)))
    }

    #[test]
    fn a_head_says_what_is_asked_for_and_where_it_ends() {
        let text = "GET /metrics?x=/1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\nGET";
        assert_eq!(decoded(text), Ok(Some((Method::Get, "/metrics", true, text.len() - 3))));
        assert_eq!(decoded("HEAD / HTTP/1.0\n\n"), Ok(Some((Method::Head, "/", false, 17))));
        assert_eq!(decoded("\r\nGET HTTP://h:1/a#b HTTP/1.9\r\nhost:\r\n\r\n").unwrap().unwrap().1, "/a");
        assert_eq!(decoded("OPTIONS * HTTP/1.0\r\n\r\n").unwrap().unwrap().0, Method::Other);
        assert_eq!(decoded("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
    }

    #[test]
    fn a_host_is_told_by_its_place_and_is_this_machine_or_a_foreign_name() {
        for (host, foreign) in [
            ("", false),
            ("localhost", false),
            ("LocalHost:9121", false),
            ("127.0.0.1:9121", false),
            ("10.0.0.1", false),
            ("[::1]", false),
            ("[::1]:9121", false),
            ("example.com", true),
            ("localhost.example.com:9121", true),
            ("127.0.0.1.example.com", true),
            ("127.0.0.1:x", true),
            ("[::1", true),
            ("[example.com]", true),
            ("\u{e9}", true),
        ] {
            for (before, after) in [("", ""), (" ", " "), (" \t", "\t")] {
                let text = format!("GET / HTTP/1.1\r\nA: b\r\nHost:{before}{host}{after}\r\nC: d\r\n\r\n");
                let request = Decoder::default().decode(text.as_bytes()).unwrap().unwrap();
                assert_eq!(&text[request.host], host, "{text:?}");
            }
            assert_eq!(is_foreign_name(host.as_bytes()), foreign, "{host:?}");
        }
        let request = Decoder::default().decode(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(request.host.is_empty());
    }

    #[test]
    fn a_connection_goes_on_as_its_version_and_its_headers_say() {
        let goes_on = |head: &str| decoded(&format!("{head}\r\n\r\n")).unwrap().unwrap().2;
        assert!(goes_on("GET / HTTP/1.1\r\nHost: a"));
        assert!(!goes_on("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close"));
        assert!(!goes_on("GET / HTTP/1.0"));
        assert!(goes_on("GET / HTTP/1.0\r\nconnection: Keep-Alive"));
        assert!(goes_on("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0"));
        // The bytes that follow may not be a request.
        assert!(!goes_on("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5"));
        assert!(!goes_on("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"));
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for (head, status) in [
            ("GET /", Status::BadRequest),
            ("GET / HTTP/1.1", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", Status::BadRequest),
            ("GET  / HTTP/1.0", Status::BadRequest),
            ("GET / HTTP/1.0 ", Status::BadRequest),
            ("GET x HTTP/1.0", Status::BadRequest),
            ("GET http://a HTTP/1.0", Status::BadRequest),
            ("G(T / HTTP/1.0", Status::BadRequest),
            ("GET /\u{e9} HTTP/1.0", Status::BadRequest),
            ("GET / http/1.0", Status::BadRequest),
            ("GET / HTTP/2.0", Status::VersionNotSupported),
            ("GET / HTTP/1.0\r\nA : b", Status::BadRequest),
            ("GET / HTTP/1.0\r\nA: b\r\n folded", Status::BadRequest),
            ("GET / HTTP/1.0\r\nA", Status::BadRequest),
            ("GET / HTTP/1.0\r\nA: b\rc", Status::BadRequest),
            ("GET / HTTP/1.0\r\nA: \0", Status::BadRequest),
            ("GET / HTTP/1.0\r\nContent-Length: -1", Status::BadRequest),
            ("GET / HTTP/1.0\r\nContent-Length:", Status::BadRequest),
            ("GET / HTTP/1.0\r\nContent-Length: 1, 1", Status::BadRequest),
            ("GET / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 2", Status::BadRequest),
            ("GET / HTTP/1.0\r\nContent-Length: 99999999999999999999", Status::BadRequest),
        ] {
            assert_eq!(decoded(&format!("{head}\r\n\r\n")), Err(status), "{head:?}");
        }
        // A client that speaks TLS gets the error at once.
        assert_eq!(Decoder::default().decode(b"\x16\x03\x01"), Err(Status::BadRequest));
    }

    #[test]
    fn a_head_has_its_longest_length() {
        let fits = |len: usize| {
            let head = "GET / HTTP/1.0\r\nA: ";
            decoded(&format!("{head}{}\r\n\r\n", "x".repeat(len - head.len() - 4))).map(|r| r.unwrap().3)
        };
        assert_eq!(fits(MAX_HEAD), Ok(MAX_HEAD));
        assert_eq!(fits(MAX_HEAD + 1), Err(Status::HeadTooLarge));
        assert_eq!(decoded(&format!("GET /{}", "x".repeat(MAX_HEAD - 5))), Err(Status::UriTooLong));
        assert_eq!(decoded(&format!("GET /{}", "x".repeat(MAX_HEAD - 6))), Ok(None));
        assert_eq!(decoded(&"\n".repeat(MAX_HEAD)), Err(Status::UriTooLong));
    }

    /// Decodes `bytes` as they arrive up to each of `cuts`, and then all.
    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Request>, Status> {
        let mut decoder = Decoder::default();
        for &cut in cuts {
            let arrived = decoder.decode(&bytes[..cut.min(bytes.len())]);
            if arrived != Ok(None) {
                return arrived;
            }
        }
        decoder.decode(bytes)
    }

    proptest! {
        #[test]
        fn a_request_is_the_same_however_it_arrives(
            lines in prop::collection::vec("(GET|HEAD|PUT) (/|/metrics)(\\?a)? HTTP/1\\.[01]|Host: [a-z]{0,3}|\
                Connection: (close|keep-alive)|Content-Length: [0-9]{1,2}|[ -~]{0,12}|", 0..8),
            ends in prop::collection::vec("\r\n|\n|\r|\u{0}", 8),
            mut cuts in prop::collection::vec(0..160_usize, 0..12),
        ) {
            let text: String = lines.iter().zip(&ends).flat_map(|(line, end)| [&**line, &**end]).collect();
            cuts.sort_unstable();
            let whole = Decoder::default().decode(text.as_bytes());
            prop_assert_eq!(in_pieces(text.as_bytes(), &cuts), whole.clone());
            let every: Vec<usize> = (1..text.len()).collect();
            prop_assert_eq!(in_pieces(text.as_bytes(), &every), whole);
        }
    }
}
