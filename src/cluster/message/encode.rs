//! From messages to bytes.

use super::{Body, ENTRY, Entry, Extension, HEADER, Header, IP, Kind, mflag};

/// The body of a `PING`, `PONG` or `MEET` to encode.
#[derive(Clone, Copy, Debug)]
pub struct Gossip<'a> {
    /// The type.
    pub kind: Kind,
    /// The entries.
    pub entries: &'a [Entry<'a>],
    /// The extensions.
    pub extensions: &'a [Extension<'a>],
}

/// Encodes a message. The gossip section of a `PING`, `PONG` or `MEET` is `gossip`, that of `body` is ignored.
pub fn encode(header: &Header, body: &Body, gossip: Option<Gossip>) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(HEADER + gossip.map_or(2048, |gossip| gossip.entries.len() * ENTRY + 256));
    out.resize(HEADER, 0);
    let (mut count, mut extensions) = (0, 0);
    let kind = match (body, gossip) {
        (_, Some(gossip)) => {
            gossip.entries.iter().for_each(|entry| push_entry(&mut out, entry));
            extensions = gossip.extensions.iter().map(|extension| push_extension(&mut out, extension)).sum();
            count = gossip.entries.len() as u16;
            gossip.kind as u16
        }
        (Body::Gossip(kind, entries, rest), None) => {
            out.extend_from_slice(entries.0);
            out.extend_from_slice(rest.0);
            (count, extensions) = ((entries.0.len() / ENTRY) as u16, rest.count() as u16);
            *kind as u16
        }
        (body, None) => push_body(&mut out, body),
    };
    let length = out.len() as u32;
    put(&mut out, 0, b"RCmb");
    put(&mut out, 4, &length.to_be_bytes());
    put(&mut out, 8, &1u16.to_be_bytes());
    put(&mut out, 10, &header.port.to_be_bytes());
    put(&mut out, 12, &kind.to_be_bytes());
    put(&mut out, 14, &count.to_be_bytes());
    put(&mut out, 16, &header.current_epoch.to_be_bytes());
    put(&mut out, 24, &header.config_epoch.to_be_bytes());
    put(&mut out, 32, &header.offset.to_be_bytes());
    put(&mut out, 40, header.sender.as_bytes());
    put(&mut out, 80, header.slots);
    if let Some(primary) = header.primary {
        put(&mut out, 2128, primary.as_bytes());
    }
    put(&mut out, 2168, ip(header.ip));
    put(&mut out, 2214, &extensions.to_be_bytes());
    put(&mut out, 2246, &header.other_port.to_be_bytes());
    put(&mut out, 2248, &header.bus_port.to_be_bytes());
    put(&mut out, 2250, &header.flags.0.to_be_bytes());
    let with_extensions = if extensions > 0 { mflag::EXT_DATA } else { 0 };
    put(&mut out, 2252, &[u8::from(header.is_down), header.mflags | with_extensions]);
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The address, cut to what fits in front of its zero byte.
fn ip(ip: &str) -> &[u8] {
    &ip.as_bytes()[..ip.len().min(IP - 1)]
}

fn push_entry(out: &mut Vec<u8>, entry: &Entry) {
    let start = out.len();
    out.resize(start + ENTRY, 0);
    let out = &mut out[start..];
    put(out, 0, entry.id.as_bytes());
    put(out, 40, &entry.ping_sent.to_be_bytes());
    put(out, 44, &entry.pong_received.to_be_bytes());
    put(out, 48, ip(entry.ip));
    put(out, 94, &entry.port.to_be_bytes());
    put(out, 96, &entry.bus_port.to_be_bytes());
    put(out, 98, &entry.flags.0.to_be_bytes());
    put(out, 100, &entry.other_port.to_be_bytes());
}

/// Appends an extension, padded to 8 bytes. Returns the number of extensions appended.
fn push_extension(out: &mut Vec<u8>, extension: &Extension) -> u16 {
    let start = out.len();
    out.resize(start + 8, 0);
    let kind: u16 = match extension {
        Extension::Hostname(name) | Extension::Nodename(name) => {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            u16::from(matches!(extension, Extension::Nodename(_)))
        }
        Extension::Forgotten(id, seconds) => {
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
            2
        }
        Extension::Shard(id) => {
            out.extend_from_slice(id.as_bytes());
            3
        }
        Extension::Unknown(kind) => *kind,
    };
    out.resize(out.len().next_multiple_of(8), 0);
    let length = (out.len() - start) as u32;
    put(out, start, &length.to_be_bytes());
    put(out, start + 4, &kind.to_be_bytes());
    1
}

/// Appends a body without gossip. Returns the number of its type.
fn push_body(out: &mut Vec<u8>, body: &Body) -> u16 {
    let kind = match body {
        Body::Gossip(kind, ..) => *kind,
        Body::Fail(id) => {
            out.extend_from_slice(id.as_bytes());
            Kind::Fail
        }
        Body::Publish { channel, message, sharded } => {
            out.extend_from_slice(&(channel.len() as u32).to_be_bytes());
            out.extend_from_slice(&(message.len() as u32).to_be_bytes());
            out.extend_from_slice(channel);
            out.extend_from_slice(message);
            if *sharded { Kind::PublishShard } else { Kind::Publish }
        }
        Body::AuthRequest => Kind::AuthRequest,
        Body::AuthAck => Kind::AuthAck,
        Body::Update { config_epoch, node, slots } => {
            out.extend_from_slice(&config_epoch.to_be_bytes());
            out.extend_from_slice(node.as_bytes());
            out.extend_from_slice(*slots);
            Kind::Update
        }
        Body::MfStart => Kind::MfStart,
        Body::Module => {
            out.extend_from_slice(&[0; 13]);
            Kind::Module
        }
        Body::Unknown(kind) => return *kind,
    };
    kind as u16
}
