//! The wire protocol: requests in ([`parser`]), replies out ([`writer`]), RESP2 and RESP3.
//!
//! Neither builds values: a request is a list of spans of the receive window, and a reply is bytes in the output. Only
//! the client side of tests and tools reads replies as values ([`value`]).

pub mod parser;
pub mod value;
pub mod writer;

pub use parser::{
    BIG_ARGUMENT, Limits, MAX_PIECE, MAX_PIECE_START, MAX_WINDOW, Parsed, Partial, ProtocolError, Span,
    SpanKind, parse,
};
pub use value::Value;
pub use writer::{Deferred, Protocol, Reply};
