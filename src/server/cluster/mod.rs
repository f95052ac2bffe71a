//! The cluster bus: its listeners, and the connections to and from other nodes.
//!
//! ```text
//!   accepted ──────────────┐
//!   connecting ─▶ connected ─┴─▶ packets in both directions ─▶ closed by either side
//! ```
//!
//! A link has a number that is never reused, by which [`crate::cluster`] names it. The connections are not clients: they
//! are not limited by `maxclients`, and their peers send no commands.

pub mod config_file;
pub mod link;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use crate::sys::net::{Address, Listener, Socket};
use crate::sys::poller::{Interest, NativePoller, Poller, Source};
use crate::tls::Channel;
use link::BusLink;

/// The interval in which failed sessions with one peer are logged once.
const COMPLAIN_MS: u64 = 10_000;

/// The most peers whose failed sessions are logged in an interval.
const MAX_COMPLAINTS: usize = 1000;

/// See the module's head.
#[derive(Default)]
pub struct Bus {
    listeners: Vec<Listener>,
    links: BTreeMap<u32, BusLink>,
    /// When a failed session with a peer was last logged, by the peer's address.
    complained_ms: BTreeMap<String, u64>,
}

impl Bus {
    /// Registers listeners with the poller.
    ///
    /// # Errors
    /// The kernel refuses to watch one.
    pub fn open(&mut self, poller: &mut NativePoller, listeners: Vec<Listener>) -> io::Result<()> {
        for listener in listeners {
            let source = Source::BusListener(self.listeners.len() as u32);
            poller.add(listener.as_fd(), source, Interest::READ)?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    /// Closes all listeners and connections.
    pub fn close(&mut self, poller: &mut NativePoller) {
        for listener in self.listeners.drain(..) {
            let _ = poller.remove(listener.as_fd());
        }
        for link in std::mem::take(&mut self.links).into_values() {
            let _ = poller.remove(link.channel.as_fd());
        }
    }

    /// Watches the listener `index` for connections or not.
    pub fn watch_listener(&self, poller: &mut NativePoller, index: u32, interest: Interest) {
        if let Some(listener) = self.listeners.get(index as usize) {
            // If the kernel refuses, the listener stays as it is.
            let _ = poller.modify(listener.as_fd(), Source::BusListener(index), interest);
        }
    }

    /// The next connection that waits at the listener `index`.
    ///
    /// # Errors
    /// There are not enough descriptors.
    pub fn accept(&self, index: usize) -> io::Result<Option<(Socket, Address)>> {
        self.listeners.get(index).map_or(Ok(None), Listener::accept)
    }

    /// Adds a connection with the number `number`.
    ///
    /// # Errors
    /// The kernel refuses to watch it.
    pub fn add(
        &mut self,
        poller: &mut NativePoller,
        number: u32,
        channel: Channel,
        is_connected: bool,
        now_ms: u64,
    ) -> io::Result<()> {
        let _ = channel.socket().set_nodelay(true);
        let interest = if is_connected { Interest::READ } else { Interest::WRITE };
        poller.add(channel.as_fd(), Source::Bus(number), interest)?;
        self.links.insert(number, BusLink::new(channel, is_connected, now_ms));
        Ok(())
    }

    /// The connection with this number.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut BusLink> {
        self.links.get_mut(&number)
    }

    /// The connection with this number.
    pub fn get(&self, number: u32) -> Option<&BusLink> {
        self.links.get(&number)
    }

    /// Watches a connection for what it waits for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn watch(&self, poller: &mut NativePoller, number: u32) -> io::Result<()> {
        let Some(link) = self.links.get(&number) else { return Ok(()) };
        let interest = match (link.is_connected, link.waits_to_send()) {
            (false, _) => Interest::WRITE,
            (true, false) => Interest::READ,
            (true, true) => Interest::BOTH,
        };
        poller.modify(link.channel.as_fd(), Source::Bus(number), interest)
    }

    /// Closes a connection.
    pub fn remove(&mut self, poller: &mut NativePoller, number: u32) {
        if let Some(link) = self.links.remove(&number) {
            let _ = poller.remove(link.channel.as_fd());
        }
    }

    /// The connections whose TLS handshake has lasted longer than `most_ms`.
    pub fn stalled(&self, now_ms: u64, most_ms: u64) -> Vec<u32> {
        let stalls =
            |link: &BusLink| link.channel.is_handshaking() && now_ms.saturating_sub(link.since_ms) > most_ms;
        self.links.iter().filter(|(_, link)| stalls(link)).map(|(number, _)| *number).collect()
    }

    /// Whether to log a failed session with `peer`: it connects again several times a second.
    pub fn may_complain(&mut self, peer: &str, now_ms: u64) -> bool {
        self.complained_ms.retain(|_, last| now_ms.saturating_sub(*last) < COMPLAIN_MS);
        if self.complained_ms.contains_key(peer) || self.complained_ms.len() >= MAX_COMPLAINTS {
            return false;
        }
        self.complained_ms.insert(peer.to_owned(), now_ms);
        true
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// The memory of all connections, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.links.values().map(BusLink::memory_bytes).sum()
    }
}
