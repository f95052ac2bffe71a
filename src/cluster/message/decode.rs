//! From bytes to messages. Every length is compared with the packet before it is used.

use super::{BITMAP, Flags, NodeId, mflag};
use super::{
    BadPacket, Body, ENTRY, Entries, Entry, Extension, Extensions, HEADER, Header, IP, Kind, Packet,
};
use crate::cluster::node::ID;

/// Returns the length of the packet that starts with these bytes; `None` if fewer than 8 are there.
///
/// # Errors
/// The bytes are not of the bus: the link must be closed.
pub fn packet_len(bytes: &[u8]) -> Result<Option<usize>, BadPacket> {
    let [a, b, c, d, length @ ..] = bytes else { return Ok(None) };
    let Some(length) = length.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if [*a, *b, *c, *d] != *b"RCmb" || length < HEADER {
        return Err(BadPacket("Bad message length or signature received on the Cluster bus.".into()));
    }
    Ok(Some(length))
}

/// Decodes a whole packet.
///
/// # Errors
/// The packet is malformed and must be ignored; its link stays.
pub fn decode(packet: &[u8]) -> Result<Packet<'_>, BadPacket> {
    let short = || BadPacket("Received a packet shorter than its header".into());
    let header: &[u8; HEADER] = packet.first_chunk().ok_or_else(short)?;
    if packet_len(packet)? != Some(packet.len()) {
        return Err(BadPacket("Received a packet of another length than it claims".into()));
    }
    let version = u16_at(header, 8);
    if version != 1 {
        return Err(BadPacket(format!("Received a packet of protocol version {version}")));
    }
    let bad_id = || BadPacket("Received a packet with an invalid node ID".into());
    let (body, kind, count) = (&packet[HEADER..], u16_at(header, 12), u16_at(header, 14));
    let header = Header {
        current_epoch: u64_at(header, 16),
        config_epoch: u64_at(header, 24),
        offset: u64_at(header, 32) as i64,
        sender: NodeId::parse(&header[40..80]).ok_or_else(bad_id)?,
        slots: header[80..2128].first_chunk().expect("the length of a bitmap"),
        primary: match &header[2128..2168] {
            id if id.iter().all(|byte| *byte == 0) => None,
            id => Some(NodeId::parse(id).ok_or_else(bad_id)?),
        },
        ip: ip(&header[2168..2214]),
        port: u16_at(header, 10),
        other_port: u16_at(header, 2246),
        bus_port: u16_at(header, 2248),
        flags: Flags(u16_at(header, 2250)),
        is_down: header[2252] != 0,
        mflags: header[2253],
    };
    let extensions = match header.mflags & mflag::EXT_DATA {
        0 => 0,
        _ => u16_at(&packet[..HEADER], 2214),
    };
    let wrong = |kind: &str| {
        BadPacket(format!("Received invalid {kind} packet of length {}, not of its content's", packet.len()))
    };
    let kind = match Kind::ALL.get(usize::from(kind)) {
        Some(kind) => *kind,
        None => return Ok(Packet { header, body: Body::Unknown(kind) }),
    };
    let body = decode_body(kind, body, usize::from(count), extensions).ok_or_else(|| wrong(kind.name()))?;
    Ok(Packet { header, body })
}

fn decode_body(kind: Kind, body: &[u8], count: usize, extensions: u16) -> Option<Body<'_>> {
    match kind {
        Kind::Ping | Kind::Pong | Kind::Meet => {
            let (entries, rest) = body.split_at_checked(count * ENTRY)?;
            let mut left = rest;
            for _ in 0..extensions {
                (_, left) = split_extension(left)?;
            }
            left.is_empty().then_some(Body::Gossip(kind, Entries(entries), Extensions(rest)))
        }
        Kind::Fail => Some(Body::Fail(NodeId::parse(body)?)),
        Kind::Publish | Kind::PublishShard => {
            let (lengths, rest) = body.split_at_checked(8)?;
            let (channel, message) = (u32_at(lengths, 0) as usize, u32_at(lengths, 4) as usize);
            let (channel, rest) = rest.split_at_checked(channel)?;
            let sharded = kind == Kind::PublishShard;
            (rest.len() == message).then_some(Body::Publish { channel, message: rest, sharded })
        }
        Kind::Update => {
            let (fixed, slots) = body.split_at_checked(8 + ID)?;
            let slots: &[u8; BITMAP] = slots.try_into().ok()?;
            Some(Body::Update { config_epoch: u64_at(fixed, 0), node: NodeId::parse(&fixed[8..])?, slots })
        }
        Kind::AuthRequest => body.is_empty().then_some(Body::AuthRequest),
        Kind::AuthAck => body.is_empty().then_some(Body::AuthAck),
        Kind::MfStart => body.is_empty().then_some(Body::MfStart),
        // A module ID, the length of the payload, a type, the payload.
        Kind::Module => {
            let length = u32_at(body.get(8..12)?, 0) as usize;
            (body.len() == length.checked_add(13)?).then_some(Body::Module)
        }
    }
}

/// Splits the first extension off. Its length counts its header, and is a multiple of 8.
fn split_extension(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(bytes.get(..4)?, 0) as usize;
    if length < 8 || !length.is_multiple_of(8) {
        return None;
    }
    bytes.split_at_checked(length)
}

/// Entries whose ID is invalid are skipped.
impl<'a> IntoIterator for Entries<'a> {
    type Item = Entry<'a>;
    type IntoIter = std::iter::FilterMap<std::slice::ChunksExact<'a, u8>, fn(&'a [u8]) -> Option<Entry<'a>>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.chunks_exact(ENTRY).filter_map(|entry| {
            Some(Entry {
                id: NodeId::parse(&entry[..40])?,
                ping_sent: u32_at(entry, 40),
                pong_received: u32_at(entry, 44),
                ip: ip(&entry[48..94]),
                port: u16_at(entry, 94),
                bus_port: u16_at(entry, 96),
                flags: Flags(u16_at(entry, 98)),
                other_port: u16_at(entry, 100),
            })
        })
    }
}

/// An extension of a known type with invalid content is returned as unknown.
#[expect(clippy::copy_iterator, reason = "a body is a view of a packet, and is copied as one")]
impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;
    fn next(&mut self) -> Option<Extension<'a>> {
        let (extension, rest) = split_extension(self.0)?;
        self.0 = rest;
        let (kind, data) = (u16_at(extension, 4), &extension[8..]);
        let known = match kind {
            0 => name(data).map(Extension::Hostname),
            1 => name(data).map(Extension::Nodename),
            2 if data.len() == ID + 8 => {
                NodeId::parse(&data[..ID]).map(|id| Extension::Forgotten(id, u64_at(data, ID)))
            }
            3 => NodeId::parse(data).map(Extension::Shard),
            _ => None,
        };
        Some(known.unwrap_or(Extension::Unknown(kind)))
    }
}

/// The text before the first zero byte.
fn text(bytes: &[u8], is_allowed: impl Fn(u8) -> bool) -> Option<&str> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    text.iter().all(|byte| is_allowed(*byte)).then(|| std::str::from_utf8(text).ok())?
}

/// An announced name. Other characters than these would break the lines of `nodes.conf`.
fn name(bytes: &[u8]) -> Option<&str> {
    text(bytes, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// An address; empty if it is not one, like an unknown address.
fn ip(bytes: &[u8]) -> &str {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'%');
    text(&bytes[..bytes.len().min(IP - 1)], is_allowed).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(*bytes[at..].first_chunk().expect("the caller checked the length"))
}
