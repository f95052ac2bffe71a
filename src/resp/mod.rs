//! The wire protocol: requests in ([`parser`]), replies out ([`writer`]), RESP2 and RESP3.
//!
//! Neither side builds values: a request is a list of spans of the receive window, a reply is bytes in the output.

pub mod parser;
pub mod writer;

pub use parser::{Limits, Parsed, Partial, ProtocolError, Span, SpanKind, parse};
pub use writer::{Protocol, Reply};
