//! The redirections of a cluster: `MOVED slot host:port` and `ASK slot host:port`.

use crate::resp::Value;
use crate::tools::client::Address;

/// Another node that has to execute a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The slot of the command's keys.
    slot: u32,
    /// The node's host; `None` for the host of the node that replied.
    host: Option<String>,
    port: u16,
    /// Whether the node executes the command only after ASKING, because the slot is still moving to it.
    pub is_temporary: bool,
}

impl Redirection {
    /// Parses a reply; `None` for any other reply.
    pub fn from_reply(reply: &Value) -> Option<Redirection> {
        let Value::Error(text) = reply else { return None };
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let is_temporary = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok()?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        // Nodes that do not know their host name send `?`, those that do not know their address send nothing.
        let host = Some(host).filter(|host| !matches!(*host, "" | "?")).map(String::from);
        Some(Redirection { slot, host, port: port.parse().ok()?, is_temporary })
    }

    /// Returns the address of the node; `from` is the address of the node that replied.
    pub fn address(&self, from: &Address) -> Address {
        let host = match (&self.host, from) {
            (Some(host), _) | (None, Address::Tcp(host, _)) => host.clone(),
            (None, Address::Unix(_)) => "127.0.0.1".to_string(),
        };
        Address::Tcp(host, self.port)
    }

    /// Returns the line that reports the redirection to `address`.
    pub fn line(&self, address: &Address) -> String {
        match address {
            Address::Tcp(host, port) => {
                format!("-> Redirected to slot [{}] located at {host}:{port}\n", self.slot)
            }
            Address::Unix(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Redirection> {
        Redirection::from_reply(&Value::Error(text.as_bytes().to_vec()))
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_string(), port)
    }

    #[test]
    fn a_redirection_names_a_node_and_tells_whether_to_ask_it() {
        let from = tcp("10.0.0.9", 6379);
        for (text, address, is_temporary) in [
            ("MOVED 3999 10.0.0.1:7000", tcp("10.0.0.1", 7000), false),
            ("ASK 1 node-2.example:7001", tcp("node-2.example", 7001), true),
            ("MOVED 0 :7002", tcp("10.0.0.9", 7002), false),
            ("MOVED 0 ?:7002", tcp("10.0.0.9", 7002), false),
            ("MOVED 5 2001:db8::1:7003", tcp("2001:db8::1", 7003), false),
        ] {
            let redirection = parse(text).expect(text);
            assert_eq!((redirection.address(&from), redirection.is_temporary), (address, is_temporary));
        }
        let line = parse("MOVED 3999 10.0.0.1:7000").map(|found| found.line(&found.address(&from)));
        assert_eq!(line.as_deref(), Some("-> Redirected to slot [3999] located at 10.0.0.1:7000\n"));
    }

    #[test]
    fn other_errors_are_no_redirections() {
        for text in
            ["ERR MOVED 1 a:1", "MOVED", "MOVED x a:1", "ASK 1 a", "MOVED 1 a:70000", "CROSSSLOT Keys"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(Redirection::from_reply(&Value::Bulk(b"MOVED 1 a:1".to_vec())), None);
    }
}
