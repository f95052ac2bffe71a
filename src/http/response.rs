//! The head of a response.

use std::io::Write;

use super::Status;

/// The fields of a response's head.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// The type of the body.
    pub content_type: &'static str,
    /// Whether the body is omitted, as in the response to `HEAD`.
    pub head_only: bool,
    /// Whether the connection is kept alive.
    pub keep_alive: bool,
}

impl Response {
    /// Inserts the head before the body in `bytes`.
    ///
    /// The constant headers keep a browser from caching the page, guessing another type, showing it in another page's
    /// frame, or loading anything from it.
    pub fn complete(&self, bytes: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(512);
        // Writing to memory does not fail.
        let _ = write!(
            head,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n",
            self.status.text(),
            self.content_type,
            bytes.len(),
            if self.keep_alive { "keep-alive" } else { "close" },
        );
        if self.status == Status::MethodNotAllowed {
            head.extend_from_slice(b"Allow: GET, HEAD\r\n");
        }
        head.extend_from_slice(
            b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
              Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\r\n",
        );
        if self.head_only {
            bytes.clear();
        }
        bytes.splice(..0, head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_the_length_of_the_body_also_where_that_is_left_out() {
        let complete = |head_only| {
            let status = Status::MethodNotAllowed;
            let response = Response { status, content_type: "text/plain", head_only, keep_alive: false };
            let mut bytes = b"no\n".to_vec();
            response.complete(&mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        let whole = complete(false);
        assert!(whole.starts_with(
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
             Connection: close\r\nAllow: GET, HEAD\r\n"
        ));
        assert_eq!(whole, format!("{}no\n", complete(true)));
        assert!(complete(true).ends_with("\r\n\r\n"));
    }
}
