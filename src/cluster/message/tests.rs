//! The codec against packets that nodes of Redis 7.2.6 sent to each other, and against damaged ones.

use super::*;
use crate::types::random::Random;

/// Packets of Redis 7.2.6, captured from the loopback interface.
const CAPTURED: [(&str, &[u8]); 11] = [
    ("meet", include_bytes!("captured/meet.bin")),
    ("ping_forgotten", include_bytes!("captured/ping_forgotten.bin")),
    ("ping_paused", include_bytes!("captured/ping_paused.bin")),
    ("pong", include_bytes!("captured/pong.bin")),
    ("fail", include_bytes!("captured/fail.bin")),
    ("publish", include_bytes!("captured/publish.bin")),
    ("publishshard", include_bytes!("captured/publishshard.bin")),
    ("auth_request", include_bytes!("captured/auth_request.bin")),
    ("auth_ack", include_bytes!("captured/auth_ack.bin")),
    ("update", include_bytes!("captured/update.bin")),
    ("mfstart", include_bytes!("captured/mfstart.bin")),
];

fn captured(name: &str) -> Packet<'static> {
    let (_, bytes) = CAPTURED.iter().find(|(known, _)| *known == name).expect("a captured packet");
    decode(bytes).expect(name)
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).expect("an ID")
}

#[test]
fn packets_of_redis_are_the_same_bytes_after_decoding_and_encoding() {
    for (name, bytes) in CAPTURED {
        assert_eq!(packet_len(bytes), Ok(Some(bytes.len())), "{name}");
        let Packet { header, body } = decode(bytes).expect(name);
        assert!(encode(&header, &body, None) == bytes, "{name}");
        // The same from entries and extensions one by one, as this node makes them.
        if let Body::Gossip(kind, entries, extensions) = body {
            let (entries, extensions): (Vec<_>, Vec<_>) =
                (entries.into_iter().collect(), extensions.collect());
            let gossip = Gossip { kind, entries: &entries, extensions: &extensions };
            assert!(encode(&header, &body, Some(gossip)) == bytes, "{name}");
        }
    }
}

#[test]
fn a_captured_ping_says_what_cluster_nodes_said() {
    let Packet { header, body } = captured("ping_paused");
    assert_eq!(header.sender, id("54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4"));
    assert_eq!((header.port, header.other_port, header.bus_port, header.ip), (17101, 0, 27101, ""));
    assert_eq!(header.flags, Flags::MASTER | Flags::MYSELF | Flags::MIGRATE_TO);
    assert_eq!(header.mflags, mflag::PAUSED | mflag::EXT_DATA);
    assert_eq!((header.primary, header.is_down), (None, false));
    assert_eq!(crate::cluster::SlotSet::from_bits(header.slots).to_string(), "0-5460");
    let Body::Gossip(Kind::Ping, entries, mut extensions) = body else { panic!("{body:?}") };
    let mut ports: Vec<u16> = entries.into_iter().map(|entry| entry.port).collect();
    ports.sort_unstable();
    assert!(ports.iter().all(|port| (17102..17106).contains(port)) && ports.len() == 3, "{ports:?}");
    assert!(entries.into_iter().all(|entry| entry.ip == "127.0.0.1" && entry.bus_port == entry.port + 10000));
    assert_eq!(extensions.next(), Some(Extension::Hostname("host-17101.example")));
    let shard = Extension::Shard(id("91cbab0a6034d96d98165d53258913001cfbac24"));
    assert_eq!((extensions.next(), extensions.next()), (Some(shard), None));
}

#[test]
fn the_other_captured_messages_have_their_content() {
    let forgotten = id("e07a3eebf4ed9cdc1bccefdbb0868038e24486f9");
    let Body::Gossip(_, _, mut extensions) = captured("ping_forgotten").body else { panic!() };
    assert!(extensions.any(|one| matches!(one, Extension::Forgotten(id, 1..=60) if id == forgotten)));
    assert!(matches!(captured("fail").body, Body::Fail(id) if id == forgotten));
    let Body::Publish { channel, message, sharded } = captured("publish").body else { panic!() };
    assert_eq!((channel, message, sharded), (&b"a"[..], &b"hello"[..], false));
    let Body::Publish { channel, message, sharded } = captured("publishshard").body else { panic!() };
    assert_eq!((channel, message, sharded), (&b"b"[..], &b"hello2"[..], true));
    let Body::Update { config_epoch, slots, .. } = captured("update").body else { panic!() };
    assert!(config_epoch > 3 && crate::cluster::SlotSet::from_bits(slots).to_string() == "0-5460");
    let request = captured("auth_request").header;
    assert!(request.primary.is_some() && request.flags.has(Flags::SLAVE));
    assert_eq!(request.mflags, mflag::FORCE_ACK);
    assert!(matches!(captured("auth_ack").body, Body::AuthAck));
    assert!(matches!(captured("mfstart").body, Body::MfStart));
    assert!(matches!(captured("meet").body, Body::Gossip(Kind::Meet, ..)));
}

#[test]
fn a_length_that_differs_from_the_content_is_refused() {
    for (name, bytes) in CAPTURED {
        for length in (0..bytes.len()).step_by(13) {
            assert!(decode(&bytes[..length]).is_err(), "{name} cut to {length} bytes");
            if length >= HEADER {
                // A packet that claims its cut length lacks a part of its body.
                let mut cut = bytes[..length].to_vec();
                cut[4..8].copy_from_slice(&(length as u32).to_be_bytes());
                let is_whole = matches!(name, "auth_request" | "auth_ack" | "mfstart");
                assert!(is_whole || decode(&cut).is_err(), "{name} cut to {length} bytes");
            }
        }
        let mut longer = [bytes, &[0; 8]].concat();
        let length = longer.len() as u32;
        longer[4..8].copy_from_slice(&length.to_be_bytes());
        assert!(decode(&longer).is_err(), "{name} with bytes after its end");
    }
}

#[test]
fn the_framing_refuses_bytes_that_are_not_of_the_bus() {
    assert_eq!(packet_len(b"RCmb\0\0\x08"), Ok(None));
    assert_eq!(packet_len(b"RCmb\0\0\x08\xd0"), Ok(Some(2256)));
    for bad in [&b"RCmb\0\0\x08\xcf"[..], b"*1\r\n$4\r\nPING\r\n", b"RCmB\0\0\x08\xd0"] {
        let error = packet_len(bad).expect_err("not of the bus");
        assert_eq!(error.to_string(), "Bad message length or signature received on the Cluster bus.");
    }
}

#[test]
fn counts_and_lengths_beyond_the_packet_are_refused() {
    let change = |name: &str, at: usize, bytes: &[u8]| {
        let (_, packet) = CAPTURED.iter().find(|(known, _)| *known == name).expect("a captured packet");
        let mut packet = packet.to_vec();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        decode(&packet).map(|packet| packet.body).map(|body| matches!(body, Body::Unknown(_)))
    };
    assert!(change("pong", 14, &[0xff, 0xff]).is_err(), "a count of entries");
    assert!(change("pong", 2214, &[0xff, 0xff]).is_err(), "a count of extensions");
    assert!(change("pong", 2214, &[0, 1]).is_err(), "fewer extensions than there are");
    assert!(change("meet", 2256, &[0xff; 4]).is_err(), "the length of an extension");
    assert!(change("meet", 2256, &[0, 0, 0, 0]).is_err(), "an extension without a length");
    assert!(change("meet", 2256, &[0, 0, 0, 20]).is_err(), "an extension that is not aligned");
    assert!(change("publish", 2256, &[0xff; 8]).is_err(), "the lengths of a message");
    assert!(change("publish", 8, &[0, 2]).is_err(), "another version");
    assert!(change("publish", 40, b"*").is_err(), "an ID that is none");
    assert_eq!(change("publish", 12, &[0, 99]), Ok(true), "a type of a later version");
}

#[test]
fn unsafe_names_and_unknown_extensions_are_skipped() {
    let Packet { header, .. } = captured("pong");
    let given = [
        Extension::Hostname("a b"),
        Extension::Unknown(77),
        Extension::Nodename("fine-1.x"),
        Extension::Hostname("new\nline"),
    ];
    let gossip = Gossip { kind: Kind::Pong, entries: &[], extensions: &given };
    let bytes = encode(&header, &Body::AuthAck, Some(gossip));
    let Ok(Packet { body: Body::Gossip(_, _, extensions), .. }) = decode(&bytes) else { panic!() };
    let read: Vec<_> = extensions.collect();
    assert_eq!(read[0], Extension::Unknown(0));
    assert_eq!(read[1..], [Extension::Unknown(77), Extension::Nodename("fine-1.x"), Extension::Unknown(0)]);
}

#[test]
fn no_damage_makes_the_decoder_panic() {
    let mut random = Random::new(3);
    for round in 0..20_000 {
        let (_, bytes) = CAPTURED[round % CAPTURED.len()];
        let mut bytes = bytes.to_vec();
        for _ in 0..=random.below(8) {
            let at = match random.below(3) {
                0 => random.below(bytes.len()),
                1 => random.below(16),
                _ => 2168 + random.below(bytes.len() - 2168),
            };
            bytes[at] = random.next() as u8;
        }
        if let Ok(Packet { body: Body::Gossip(_, entries, extensions), .. }) = decode(&bytes) {
            assert!(entries.into_iter().count() <= bytes.len() / ENTRY);
            assert!(extensions.count() <= bytes.len() / 8);
        }
    }
}
