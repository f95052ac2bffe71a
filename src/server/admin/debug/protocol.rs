//! `DEBUG PROTOCOL`: a reply of each type, for the tests of clients.

use crate::command::error::{Error, Result};
use crate::resp::Protocol;
use crate::server::Server;
use crate::server::invoke::Caller;

impl Server {
    /// `DEBUG PROTOCOL type`: a reply of each type that the protocol has.
    pub(super) fn debug_protocol(&mut self, caller: &mut Caller<'_>, kind: &[u8]) -> Result {
        let mut reply = caller.reply(&mut self.net);
        match kind.to_ascii_lowercase().as_slice() {
            b"string" => reply.bulk(b"Hello World"),
            b"integer" => reply.integer(12345),
            #[expect(clippy::approx_constant, reason = "it is what Redis sends")]
            b"double" => reply.double(3.141),
            b"null" => reply.null(),
            b"array" => {
                reply.array(3);
                (0..3).for_each(|i| reply.integer(i));
            }
            b"set" => {
                reply.set(3);
                (0..3).for_each(|i| reply.integer(i));
            }
            b"map" => {
                reply.map(3);
                for i in 0..3 {
                    reply.integer(i);
                    reply.boolean(i == 1);
                }
            }
            b"attrib" => {
                if reply.attribute(1) {
                    reply.bulk(b"key-popularity");
                    reply.array(2);
                    reply.bulk(b"key:123");
                    reply.integer(90);
                }
                reply.bulk(b"Some real reply following the attribute");
            }
            b"push" => {
                if reply.protocol == Protocol::Resp2 {
                    return Err(Error::new("ERR RESP2 is not supported by this command"));
                }
                // A push is not a reply, so the command needs one as well. A command's pushes follow its reply.
                reply.bulk(b"Some real reply following the push reply");
                reply.push(2);
                reply.bulk(b"server-cpu-usage");
                reply.integer(42);
            }
            b"true" => reply.boolean(true),
            b"false" => reply.boolean(false),
            b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
            b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
            _ => {
                return Err(Error::new(
                    "ERR Wrong protocol type name. Please use one of the following: \
                    string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
                ));
            }
        }
        Ok(())
    }
}
