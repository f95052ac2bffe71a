//! A node of a cluster that receives any packets, from known and unknown nodes, on links that it made and on others.
//!
//! It holds that
//!
//! * no packet makes the codec or the machine panic, and a decoded packet encodes to the same bytes;
//! * the number of nodes grows only by what packets of known nodes contain;
//! * actions name existing links only, and the saved configuration can be loaded again.
//!
//! Input: blocks of a byte that selects a link and an event, a length of two bytes, and a packet. The length and the
//! signature of the packet are corrected, so that the fuzzer reaches what is behind them.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use redstart::cluster::message::{Body, decode, encode};
use redstart::cluster::{Action, Cluster, Facts, LinkId, Settings, packet_len};

const FILE: &str = include_str!("../cluster_nodes.conf");

struct Node {
    cluster: Cluster,
    links: BTreeSet<LinkId>,
    now_ms: u64,
}

impl Node {
    fn facts(&self) -> Facts {
        Facts { offset: self.now_ms as i64, ..Facts::default() }
    }

    fn drain(&mut self) {
        while let Some(action) = self.cluster.next_action() {
            match action {
                Action::Connect { link, .. } => assert!(self.links.insert(link), "a new link"),
                Action::Close { link } => assert!(self.links.remove(&link), "an open link"),
                Action::Send { link, bytes } => {
                    assert!(self.links.contains(&link), "an open link");
                    assert_eq!(packet_len(&bytes), Ok(Some(bytes.len())));
                    decode(&bytes).expect("a valid packet");
                }
                Action::SaveConfig { .. } => {
                    let text = self.cluster.config_text();
                    let loaded = Cluster::load(text.as_bytes(), Settings::default(), 1, self.now_ms);
                    if let Err(error) = loaded {
                        panic!("{error}\n{text}");
                    }
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, kind: u8, packet: &[u8]) {
        let all: Vec<LinkId> = self.links.iter().copied().collect();
        let link = all.get(usize::from(kind >> 3) % all.len().max(1)).copied();
        let (now_ms, facts) = (self.now_ms, self.facts());
        match (kind & 7, link) {
            (0, _) => {
                let link = self.cluster.link_accepted("10.0.0.9", "10.0.0.1", now_ms);
                self.links.insert(link);
            }
            (1, Some(link)) => self.cluster.link_connected(link, "10.0.0.2", "10.0.0.1", now_ms),
            (2, Some(link)) => {
                self.links.remove(&link);
                self.cluster.link_closed(link, now_ms);
            }
            (3, _) => {
                self.now_ms += u64::from(kind) * 40;
                self.cluster.tick(self.now_ms, &facts);
            }
            (_, Some(link)) => self.cluster.received(link, packet, now_ms, &facts),
            _ => {}
        }
        self.cluster.settle(self.now_ms, &facts);
        self.drain();
    }
}

fuzz_target!(|input: &[u8]| {
    let cluster = Cluster::load(FILE.as_bytes(), Settings::default(), 1, 1_000_000).expect("the file");
    let mut node = Node { cluster, links: BTreeSet::new(), now_ms: 1_000_000 };
    node.event(3, &[]);
    node.event(1, &[]);
    node.event(0, &[]);
    let mut left = input;
    while let [kind, high, low, rest @ ..] = left {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let mut packet = rest[..length].to_vec();
        if length >= 8 {
            packet[..4].copy_from_slice(b"RCmb");
            packet[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        }
        if let Ok(decoded) = decode(&packet)
            && !matches!(decoded.body, Body::Module | Body::Unknown(_))
        {
            let again = encode(&decoded.header, &decoded.body, None);
            assert_eq!(again.len(), packet.len());
            decode(&again).expect("what was encoded");
        }
        let before = node.cluster.nodes().count();
        node.event(*kind, &packet);
        assert!(node.cluster.nodes().count() <= before + 1 + packet.len() / 104);
        left = &rest[length..];
    }
});
