//! One node whose peers a test plays: for tests of single parts of the machine.
//!
//! The node is 0, its peers are 1 and up. [`Peers::say`] sends a packet to the node as a peer does; [`Peers::sent`] are the
//! node's packets to a peer since the last look.

use std::ops::RangeInclusive;

use super::message::{Body, Entry, Extension, Gossip, Header, Kind, Packet, decode, encode};
use super::*;

/// When the node starts.
pub(super) const START_MS: u64 = 1_700_000_000_000;

/// What the node's `nodes.conf` has about itself and its peers.
#[derive(Clone)]
pub(super) enum Role {
    /// A primary with these slots, in this epoch.
    Primary(RangeInclusive<u16>, u64),
    /// A primary without slots.
    Empty,
    /// A replica of this node.
    Replica(usize),
}

/// A node, and the ends of its links.
pub(super) struct Peers {
    pub(super) cluster: Cluster,
    pub(super) now_ms: u64,
    pub(super) facts: Facts,
    roles: Vec<Role>,
    actions: Vec<Action>,
    /// The link that each peer has established.
    inbound: Vec<Option<LinkId>>,
}

pub(super) fn id(number: usize) -> NodeId {
    NodeId::random(&mut Random::new(1000 + 2 * number as u64))
}

pub(super) fn ip(number: usize) -> String {
    format!("10.0.0.{}", number + 1)
}

impl Peers {
    pub(super) fn new(roles: &[Role]) -> Peers {
        Peers::with(roles, Settings::default())
    }

    pub(super) fn with(roles: &[Role], settings: Settings) -> Peers {
        let line = |(number, role): (usize, &Role)| {
            let (flags, primary, shard, epoch, slots) = match role {
                Role::Primary(slots, epoch) => {
                    ("master", "-".into(), number, *epoch, format!(" {}-{}", slots.start(), slots.end()))
                }
                Role::Empty => ("master", "-".into(), number, 0, String::new()),
                Role::Replica(of) => ("slave", id(*of).to_string(), *of, 0, String::new()),
            };
            let myself = if number == 0 { "myself," } else { "" };
            let (id, ip, shard) = (id(number), ip(number), id(100 + shard));
            format!(
                "{id} {ip}:6379@16379,,tls-port=0,shard-id={shard} {myself}{flags} {primary} 0 0 {epoch} \
                 connected{slots}\n"
            )
        };
        let lines: String = roles.iter().enumerate().map(line).collect();
        let text = format!("{lines}vars currentEpoch 9 lastVoteEpoch 0\n");
        let cluster = Cluster::load(text.as_bytes(), settings, 1, START_MS).expect("a valid file");
        Peers {
            cluster,
            now_ms: START_MS,
            facts: Facts { is_following: matches!(roles[0], Role::Replica(_)), ..Facts::default() },
            roles: roles.to_vec(),
            actions: Vec::new(),
            inbound: vec![None; roles.len()],
        }
    }

    /// As [`Peers::new`], with links in both directions, and a reply to the first `PING` to each peer.
    pub(super) fn connected(roles: &[Role]) -> Peers {
        let mut peers = Peers::new(roles);
        peers.run(100);
        for peer in 1..roles.len() {
            peers.establish(peer);
            peers.gossip(peer, Kind::Pong, &[]);
        }
        peers.take();
        peers
    }

    /// Lets time pass, in ticks of 100 ms. Peers are silent meanwhile.
    pub(super) fn run(&mut self, for_ms: u64) {
        self.run_with(for_ms, |_| ());
    }

    /// Lets time pass, and after each tick plays what `each` says.
    pub(super) fn run_with(&mut self, for_ms: u64, mut each: impl FnMut(&mut Peers)) {
        for _ in 0..for_ms / 100 {
            self.now_ms += 100;
            self.cluster.tick(self.now_ms, &self.facts);
            self.settle();
            each(self);
        }
    }

    /// Replies to each `PING` that these peers get while time passes.
    pub(super) fn run_answered(&mut self, for_ms: u64, by: &[usize]) {
        self.run_with(for_ms, |peers| by.iter().for_each(|peer| peers.gossip(*peer, Kind::Pong, &[])));
    }

    pub(super) fn settle(&mut self) {
        self.cluster.settle(self.now_ms, &self.facts);
        self.actions.extend(std::iter::from_fn(|| self.cluster.next_action()));
    }

    /// The actions since the last look.
    pub(super) fn take(&mut self) -> Vec<Action> {
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// The log lines since the last look; other actions are kept.
    pub(super) fn logged(&mut self) -> Vec<String> {
        self.settle();
        let is_log = |action: &mut Action| matches!(action, Action::Log(..));
        let lines = self.actions.extract_if(.., is_log);
        lines.filter_map(|line| if let Action::Log(_, text) = line { Some(text) } else { None }).collect()
    }

    /// Whether there is such an action; all are kept.
    pub(super) fn has(&mut self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.settle();
        self.actions.iter().any(wanted)
    }

    /// The place of a peer in the node's table.
    pub(super) fn index(&self, peer: usize) -> NodeIndex {
        self.cluster.find(id(peer).as_bytes()).expect("the node knows it").0
    }

    pub(super) fn node(&self, peer: usize) -> &Node {
        self.cluster.find(id(peer).as_bytes()).expect("the node knows it").1
    }

    /// Whether the node knows a peer.
    pub(super) fn knows(&self, peer: usize) -> bool {
        self.cluster.find(id(peer).as_bytes()).is_some()
    }

    /// Accepts the connection of the node to a peer, and connects the peer to the node.
    pub(super) fn establish(&mut self, peer: usize) {
        let link = self.node(peer).link.expect("a tick has connected");
        self.cluster.link_connected(link, &ip(peer), &ip(0), self.now_ms);
        self.inbound[peer] = Some(self.cluster.link_accepted(&ip(peer), &ip(0), self.now_ms));
        self.settle();
    }

    /// Sends a packet on the link that a peer has established; `change` alters its header.
    pub(super) fn say(&mut self, peer: usize, body: &Body, change: impl FnOnce(&mut Header)) {
        let link = self.inbound(peer);
        self.packet(link, peer, body, None, change);
    }

    /// Sends a `PONG` on the node's own link to a peer, any other packet on the peer's.
    pub(super) fn gossip(&mut self, peer: usize, kind: Kind, entries: &[Entry]) {
        let gossip = Gossip { kind, entries, extensions: &[] };
        let own = if kind == Kind::Pong { self.node(peer).link } else { None };
        let link = own.unwrap_or_else(|| self.inbound(peer));
        self.packet(link, peer, &Body::AuthAck, Some(gossip), |_| ());
    }

    /// The connection of a peer to the node, which the peer makes again if it was closed.
    fn inbound(&mut self, peer: usize) -> LinkId {
        let open = self.inbound[peer].filter(|link| self.cluster.links.contains_key(link));
        let link = open.unwrap_or_else(|| self.cluster.link_accepted(&ip(peer), &ip(0), self.now_ms));
        self.inbound[peer] = Some(link);
        link
    }

    /// Sends a `PING` with extensions.
    pub(super) fn extend(&mut self, peer: usize, extensions: &[Extension]) {
        let link = self.inbound(peer);
        let gossip = Gossip { kind: Kind::Ping, entries: &[], extensions };
        self.packet(link, peer, &Body::AuthAck, Some(gossip), |_| ());
    }

    /// A peer claims to be the primary of these slots.
    pub(super) fn claim(&mut self, peer: usize, slots: RangeInclusive<u16>, epoch: u64) {
        self.roles[peer] = Role::Primary(slots, epoch);
        self.gossip(peer, Kind::Ping, &[]);
    }

    /// Sends a packet of a peer on any link.
    pub(super) fn packet(
        &mut self,
        link: LinkId,
        peer: usize,
        body: &Body,
        gossip: Option<Gossip>,
        change: impl FnOnce(&mut Header),
    ) {
        let role = self.roles.get(peer).cloned().unwrap_or(Role::Empty);
        let of = |role: &Role| match role {
            Role::Primary(slots, epoch) => (SlotSet::from_range(slots.clone()), *epoch),
            _ => (SlotSet::default(), 0),
        };
        let (primary, flags) = match role {
            Role::Replica(of) => (Some(of), Flags::SLAVE),
            _ => (None, Flags::MASTER),
        };
        let (slots, config_epoch) = of(primary.map_or(&role, |primary| &self.roles[primary]));
        let mut header = Header {
            current_epoch: 9,
            config_epoch,
            offset: 0,
            sender: id(peer),
            slots: slots.bits(),
            primary: primary.map(id),
            ip: "",
            port: 6379,
            other_port: 0,
            bus_port: 16379,
            flags,
            is_down: false,
            mflags: 0,
        };
        change(&mut header);
        let bytes = encode(&header, body, gossip);
        self.cluster.received(link, &bytes, self.now_ms, &self.facts);
        self.settle();
    }

    /// What an entry about a peer says, with these flags.
    pub(super) fn entry(peer: usize, flags: Flags, ip: &str) -> Entry<'_> {
        let (port, bus_port) = (6379, 16379);
        Entry { id: id(peer), ping_sent: 0, pong_received: 0, ip, port, bus_port, flags, other_port: 0 }
    }

    /// The packets to a peer since the last look, on the node's link or on that of the peer.
    pub(super) fn sent(&mut self, peer: usize) -> Vec<Arc<[u8]>> {
        self.settle();
        let links = [self.node(peer).link, self.inbound[peer]];
        let is_to =
            |action: &mut Action| matches!(action, Action::Send { link, .. } if links.contains(&Some(*link)));
        let sent = self.actions.extract_if(.., is_to);
        sent.filter_map(|action| if let Action::Send { bytes, .. } = action { Some(bytes) } else { None })
            .collect()
    }

    /// The types of [`Peers::sent`].
    pub(super) fn kinds(&mut self, peer: usize) -> Vec<Kind> {
        let packets = self.sent(peer);
        packets.iter().map(|bytes| kind(&read(bytes))).collect()
    }
}

/// A packet of the node.
pub(super) fn read(bytes: &[u8]) -> Packet<'_> {
    decode(bytes).expect("a packet of the machine")
}

/// The type of a packet of the node.
pub(super) fn kind(packet: &Packet) -> Kind {
    match packet.body {
        Body::Gossip(kind, ..) => kind,
        Body::Fail(_) => Kind::Fail,
        Body::Publish { .. } => Kind::Publish,
        Body::AuthRequest => Kind::AuthRequest,
        Body::AuthAck => Kind::AuthAck,
        Body::Update { .. } => Kind::Update,
        Body::MfStart => Kind::MfStart,
        Body::Module | Body::Unknown(_) => Kind::Module,
    }
}
