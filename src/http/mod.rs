//! The part of HTTP/1.x that the metrics endpoint uses: request heads, and the status of a response.
//!
//! A request with a body gets its response and is the last of its connection, so no byte of the body can be mistaken
//! for a request.

pub mod request;
pub mod response;

pub use request::{Decoder, MAX_HEAD, Method, Request, is_foreign_name};
pub use response::Response;

/// The status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 400: the bytes are not HTTP.
    BadRequest,
    /// 403: protected mode refuses the client's address, or the name that the request gives this server.
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 414: the first line is too long.
    UriTooLong,
    /// 431: the head is too long.
    HeadTooLarge,
    /// 503: not now.
    Unavailable,
    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported,
}

impl Status {
    /// Number and words, as in the first line of a response.
    pub fn text(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::UriTooLong => "414 URI Too Long",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}
