//! Loads the primary's snapshot while it is received (`repl-diskless-load`).
//!
//! ```text
//!   on-empty-db: link ─▶ Incoming ─▶ the keyspace, which is empty
//!   swapdb:      link ─▶ Incoming ─▶ databases of their own ─▶ they replace the keyspace's when all is loaded
//! ```
//!
//! With `swapdb`, the old data survives a failed transfer. It is also served meanwhile if it is an earlier state of the
//! primary's data, which has the same replication ID then.

use super::{LoadFailed, LoadState, Loading, SLICE, Source, about};
use crate::db::Aside;
use crate::persist::rdb::file::{self as rdb, Incoming};
use crate::server::Server;
use crate::server::persistence::job::Work;
use crate::server::scripts::libraries::Libraries;
use crate::sys::clock::Since;

/// A snapshot that is loaded while it is received.
pub(super) struct Received {
    incoming: Incoming,
    /// The new databases, unless the data is loaded into the keyspace at once.
    aside: Option<Aside>,
    /// Whether the old data is served meanwhile.
    serves: bool,
    /// The libraries of the snapshot, once all is loaded.
    libraries: Libraries,
}

/// Where the snapshot is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Place {
    /// Into the keyspace, which is empty.
    Keyspace,
    /// Beside the old data, which is served meanwhile if `serves`.
    Aside {
        /// See [`Place::Aside`].
        serves: bool,
    },
}

impl LoadState {
    fn received(&self) -> Option<&Received> {
        match self {
            LoadState::BetweenSlices(loading) => match &loading.source {
                Source::Link(received) => Some(received),
                _ => None,
            },
            LoadState::Idle | LoadState::InSlice => None,
        }
    }

    fn received_mut(&mut self) -> Option<&mut Received> {
        match self {
            LoadState::BetweenSlices(loading) => match &mut loading.source {
                Source::Link(received) => Some(received),
                _ => None,
            },
            LoadState::Idle | LoadState::InSlice => None,
        }
    }

    /// Whether the next slice has something to load. If not, the rest has not been received.
    pub fn has_work(&self) -> bool {
        match self.received() {
            Some(Received { incoming, .. }) => incoming.can_load() || incoming.is_closed(),
            None => self.is_active(),
        }
    }

    /// Whether data is loaded beside the data set.
    pub fn is_aside(&self) -> bool {
        self.received().is_some_and(|received| received.aside.is_some())
    }

    /// Whether the old data is served while the new is loaded beside it.
    pub fn is_async(&self) -> bool {
        self.received().is_some_and(|received| received.serves)
    }
}

impl Server {
    /// Begins to load a snapshot of `len` bytes, if that is known, which is received in pieces.
    pub(in crate::server) fn load_while_receiving(&mut self, len: Option<u64>, place: Place) {
        let options = rdb::LoadOptions {
            checksum: self.core.config.rdbchecksum && self.core.keyspace.verifies_checksums,
            // The primary deletes them.
            drop_expired_before: None,
            merge: false,
        };
        let (aside, serves) = match place {
            Place::Keyspace => (None, false),
            Place::Aside { serves } => (Some(self.core.keyspace.make_aside()), serves),
        };
        let incoming = Incoming::new(len, options);
        let received = Received { incoming, aside, serves, libraries: Libraries::default() };
        let began_at = self.unix_seconds();
        self.start_loading(Loading::of(Source::Link(Box::new(received)), len.unwrap_or(0), began_at));
    }

    /// Takes bytes of the snapshot.
    pub(in crate::server) fn push_received(&mut self, bytes: &[u8]) {
        if let Some(received) = self.loading.received_mut() {
            received.incoming.push(bytes);
        }
    }

    /// Declares that the primary has sent the whole snapshot.
    pub(in crate::server) fn close_received(&mut self) {
        if let Some(received) = self.loading.received_mut() {
            received.incoming.close();
        }
    }

    /// Ends loading because the rest of the snapshot will not be received, or is damaged. Does nothing if no snapshot is
    /// loaded while it is received.
    pub(in crate::server) fn abandon_received(&mut self) {
        if self.loading.received().is_none() {
            return;
        }
        let LoadState::BetweenSlices(loading) = std::mem::replace(&mut self.loading, LoadState::InSlice)
        else {
            unreachable!("it is suspended")
        };
        self.discard_received(*loading);
        self.process.log.warning(format_args!(
            "Failed trying to load the MASTER synchronization DB from socket, check server logs."
        ));
    }

    /// Drops the loaded part: the keyspace is empty afterwards, or has the old data.
    pub(super) fn discard_received(&mut self, loading: Loading) {
        let Source::Link(received) = loading.source else { return };
        let Received { incoming, aside, .. } = *received;
        incoming.abandon(&mut self.core.keyspace);
        if let Some(aside) = aside {
            self.core.keyspace.discard_aside(aside);
            self.process
                .log
                .notice(format_args!("MASTER <-> REPLICA sync: Discarding temporary DB in background"));
        } else {
            self.drop_data();
        }
        self.end_loading();
    }

    /// Loads what has been received, for about one slice. Returns whether all is loaded.
    pub(super) fn load_received(&mut self, loading: &mut Loading) -> Result<bool, LoadFailed> {
        let Source::Link(received) = &mut loading.source else { return Ok(true) };
        let (incoming, keyspace) = (&mut received.incoming, &mut self.core.keyspace);
        let began = Since::now();
        let mut loaded = Ok(rdb::Step::More);
        // No client is served within a slice, so none sees the new databases in place of the old ones.
        if let Some(aside) = &mut received.aside {
            keyspace.exchange(aside);
        }
        while loaded.is_ok() && incoming.can_load() && began.elapsed() < SLICE {
            loaded = incoming.load_some(keyspace, super::CHUNK);
        }
        if let Some(aside) = &mut received.aside {
            keyspace.exchange(aside);
        }
        loaded.map_err(|error| {
            format!("{error} (received from the primary). Failure loading rdb format from socket")
        })?;
        let offset = incoming.offset();
        let report = incoming.report().cloned().unwrap_or_default();
        let is_whole = incoming.is_closed() && incoming.is_done();
        let surplus = incoming.surplus().unwrap_or(0);
        loading.done_bytes = offset;
        loading.done = report.keys;
        loading.used_memory = report.about.used_memory.unwrap_or(0);
        (loading.history, loading.replication_db) = about(&report.about);
        self.tell_progress(loading);
        if !is_whole {
            return Ok(false);
        }
        if surplus > 0 {
            return Err(String::from("Replication stream EOF marker is broken").into());
        }
        let mut libraries = Libraries::default();
        self.take_report(report, false, &mut libraries)?;
        if let Source::Link(received) = &mut loading.source {
            received.libraries = libraries;
        }
        Ok(true)
    }

    /// Makes the loaded data the data set. The link is then online.
    pub(super) fn received_loaded(&mut self, loading: Loading) {
        let Source::Link(received) = loading.source else { return };
        let Received { aside, libraries, serves, .. } = *received;
        let dirty = if serves { self.core.keyspace.counters.dirty } else { loading.dirty };
        self.end_loading();
        if let Some(aside) = aside {
            self.leave_old_data();
            self.process
                .log
                .notice(format_args!("MASTER <-> REPLICA sync: Swapping active DB with loaded DB"));
            self.drop_data();
            self.core.keyspace.replace_by(aside);
            self.settle_own();
            self.process.log.notice(format_args!("MASTER <-> REPLICA sync: Discarding old DB in background"));
        }
        self.libraries = libraries;
        // No snapshot on disk has this data.
        self.core.keyspace.counters.dirty = dirty + 1;
        let db = usize::try_from(loading.replication_db).unwrap_or(0);
        self.primary_loaded(db.min(self.core.keyspace.count() - 1));
    }

    /// Kills a child that writes a snapshot of data that is about to be replaced.
    pub(in crate::server) fn end_snapshot(&mut self) {
        if self.persistence.is_at(Work::Snapshot) {
            self.end_job();
        }
    }
}
