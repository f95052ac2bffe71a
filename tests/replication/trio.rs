//! Three nodes, and a proxy for each way from one to another: who follows whom, and what becomes of the links.

use crate::nodes::Node;
use crate::support::Random;
use crate::support::proxy::Proxy;
use crate::{field, until};

pub const NODES: usize = 3;

/// See the module's head.
pub struct Trio {
    pub nodes: [Node; NODES],
    /// How a node reaches another one, by their indexes.
    pub links: [[Proxy; NODES]; NODES],
    pub primary: usize,
    /// Whom each node follows.
    upstreams: [Option<usize>; NODES],
}

impl Trio {
    /// The first node is the primary, and nobody follows it yet.
    pub fn new(nodes: [Node; NODES], random: &mut Random) -> Trio {
        let links = std::array::from_fn(|_| {
            std::array::from_fn(|to| Proxy::new(nodes[to].server().port(), random.next()))
        });
        Trio { nodes, links, primary: 0, upstreams: [None; NODES] }
    }

    pub fn replicas(&self) -> [usize; NODES - 1] {
        std::array::from_fn(|n| (self.primary + 1 + n) % NODES)
    }

    /// Makes a node follow another one.
    pub fn follow(&mut self, index: usize, upstream: usize) {
        self.upstreams[index] = Some(upstream);
        let port = self.links[index][upstream].port();
        match self.nodes[index].try_run(&format!("REPLICAOF 127.0.0.1 {port}")) {
            // Its configuration file may have told it already.
            Some(reply) => assert!(reply.text().starts_with("OK"), "{reply:?}"),
            None => until("a node without a reply ends", || self.nodes[index].exited().is_some()),
        }
    }

    /// The proxy between a replica and the node that it follows.
    pub fn link(&self, index: usize) -> &Proxy {
        &self.links[index][self.upstreams[index].expect("a replica")]
    }

    pub fn upstream(&self, index: usize) -> Option<usize> {
        self.upstreams[index]
    }

    /// Repairs all links.
    pub fn heal_links(&self) {
        self.links.iter().flatten().for_each(Proxy::heal);
    }

    /// Waits until the replicas have a link, and what the primary has written by now. A primary that was restarted may
    /// have another history, in which the same offset is another place.
    pub fn wait_until_synchronized(&self) {
        let wanted = self.offset(self.primary);
        let history = |index: usize| self.nodes[index].field("master_replid");
        for index in self.replicas() {
            let port = self.link(index).port();
            until("a replica is synchronized", || {
                self.nodes[index].follows(port)
                    && history(index) == history(self.primary)
                    && self.offset(index) >= wanted
            });
        }
    }

    pub fn offset(&self, index: usize) -> i64 {
        let text = field(&mut self.nodes[index].client(), "master_repl_offset");
        text.parse().expect("an offset")
    }

    /// Promotes the replica with the highest offset; the other one follows it.
    pub fn promote_best(&mut self) {
        let replicas = self.replicas();
        for index in replicas {
            // One that loads a snapshot has not got its data yet.
            self.nodes[index].wait_until_loaded();
        }
        let best = *replicas.iter().max_by_key(|index| self.offset(**index)).expect("there are two");
        self.nodes[best].client().ok("REPLICAOF NO ONE");
        self.has_promoted(best);
        for index in replicas.into_iter().filter(|index| *index != best) {
            self.follow(index, best);
        }
    }

    /// Takes note that a node is the primary now.
    pub fn has_promoted(&mut self, index: usize) {
        self.primary = index;
        self.upstreams[index] = None;
    }

    /// Starts a dead node again, with its files.
    pub fn restart(&mut self, index: usize) {
        self.nodes[index].restart();
        self.nodes[index].wait_until_loaded();
        let port = self.nodes[index].server().port();
        for from in &self.links {
            from[index].set_target(port);
        }
    }
}
