//! A replica receives its primary's snapshot: into a file that is loaded when it is complete, or into the loader at once
//! (`repl-diskless-load`). A file is checked while it is received.
//!
//! The log texts are those of Redis.

use std::os::fd::AsFd;

use super::Server;
use super::loading::Place;
use super::persistence::job::Work;
use super::persistence::log::State;
use super::replication::upstream::{Linking, Progress, Sink, Spool};
use super::syncing::random_id;
use crate::config::DisklessLoad;
use crate::db::Ticket;
use crate::replication::link::{Failure, Level};
use crate::sys::poller::Poller;
use crate::sys::{disk, file};

impl Server {
    /// Whether a slice of loading is due. A suspended script must not see the data replaced.
    pub(super) fn loads_now(&self) -> bool {
        self.loading.has_work() && !(self.loading.is_aside() && self.is_busy()) && !self.waits_to_load()
    }

    /// Decides where the snapshot goes that begins, of `length` bytes if that is known.
    pub(super) fn begin_receiving(
        &mut self,
        linking: &mut Linking,
        length: Option<u64>,
    ) -> Result<(), Failure> {
        let is_empty = || (0..self.core.keyspace.count()).all(|db| self.core.keyspace.db(db).is_empty());
        let place = match self.core.config.repl_diskless_load {
            DisklessLoad::Swapdb => {
                // Otherwise the old data is not an earlier state of the primary's.
                let serves = linking.history.is_some_and(|(id, _)| id == self.replication.history.id());
                Some(Place::Aside { serves })
            }
            DisklessLoad::OnEmptyDb if is_empty() => Some(Place::Keyspace),
            DisklessLoad::OnEmptyDb | DisklessLoad::Disabled => None,
        };
        let to = if place.is_some() { "to parser" } else { "to disk" };
        match length {
            Some(length) => self
                .process
                .log
                .notice(format_args!("MASTER <-> REPLICA sync: receiving {length} bytes from master {to}")),
            None => self.process.log.notice(format_args!(
                "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF {to}"
            )),
        }
        let Some(place) = place else {
            linking.sink = Some(Sink::File(self.create_spool()?));
            return Ok(());
        };
        linking.sink = Some(Sink::Loader);
        self.end_snapshot();
        if place == Place::Keyspace {
            self.leave_old_data();
            self.drop_old_data();
        }
        self.process.log.notice(format_args!("MASTER <-> REPLICA sync: Loading DB in memory"));
        self.load_while_receiving(length, place);
        Ok(())
    }

    fn create_spool(&self) -> Result<Spool, Failure> {
        let path = format!("temp-{}.{}.rdb", self.unix_seconds(), std::process::id());
        Spool::create(path.into(), self.core.config.rdbchecksum).map_err(|error| {
            Failure(
                Level::Warning,
                format!(
                    "Opening the temp file needed for MASTER <-> REPLICA synchronization: {}",
                    file::reason(&error)
                ),
            )
        })
    }

    /// Takes bytes of the snapshot.
    pub(super) fn take_snapshot(&mut self, linking: &mut Linking, bytes: &[u8]) -> Result<(), Failure> {
        match &mut linking.sink {
            None => Ok(()),
            Some(Sink::Loader) => {
                self.push_received(bytes);
                Ok(())
            }
            Some(Sink::File(spool)) => spool.append(bytes).map_err(|error| {
                Failure(
                    Level::Warning,
                    format!(
                        "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA \
                         synchronization: {}",
                        file::reason(&error)
                    ),
                )
            }),
        }
    }

    /// Starts the stream, or loads the snapshot first.
    pub(super) fn link_complete(&mut self, mut linking: Box<Linking>) {
        let Some(sink) = linking.sink.take() else { return self.go_online(linking) };
        // The stream waits in the socket.
        let _ = self.net.poller.remove(linking.channel.as_fd());
        match sink {
            Sink::Loader => {
                self.close_received();
                if let Some(upstream) = &mut self.replication.upstream {
                    upstream.progress = Progress::Loading(linking);
                }
            }
            Sink::File(spool) => self.load_spool(linking, spool),
        }
    }

    /// Loads a received file. A damaged one replaces neither the data nor `dbfilename`; Redis notices the damage when
    /// the old data is gone, and exits.
    fn load_spool(&mut self, linking: Box<Linking>, spool: Spool) {
        if let Err(error) = spool.check() {
            self.process.log.warning(format_args!(
                "The snapshot from MASTER is damaged, the data and {} stay",
                self.core.config.dbfilename.as_path().display()
            ));
            return self.primary_load_failed(&error, "disk");
        }
        let target = self.core.config.dbfilename.as_path().to_path_buf();
        if self.persistence.is_at(Work::Snapshot) {
            self.process.log.notice(format_args!(
                "Replica is about to load the RDB file received from the master, but there is a pending RDB child running. \
                 Killing process to avoid race"
            ));
            self.end_snapshot();
        }
        let moved = spool.finish().and_then(|path| disk::rename_durably(&path, &target));
        if let Err(error) = moved {
            self.process.log.warning(format_args!(
                "Failed trying to rename the temp DB into {} in MASTER <-> REPLICA synchronization: {}",
                target.display(),
                file::reason(&error)
            ));
            return;
        }
        self.leave_old_data();
        let freed = self.drop_old_data();
        self.process.log.notice(format_args!("MASTER <-> REPLICA sync: Loading DB in memory"));
        let Some(upstream) = &mut self.replication.upstream else { return };
        upstream.progress = Progress::Loading(linking);
        if let Err(failed) = self.load_from_primary(freed) {
            self.primary_load_failed(&failed, "disk");
            self.remove_received_snapshot();
        }
    }

    /// Disconnects the replicas and closes the AOF, since other data takes the place of theirs.
    pub(super) fn leave_old_data(&mut self) {
        self.drop_replicas();
        let stops_log = self.persistence.log.state() != State::Off;
        if stops_log {
            self.end_log();
        }
        // Even if loading fails, the data no longer belongs to the old history.
        let end = self.core.keyspace.journal.stream().settled();
        self.replication.history.restart(random_id(), end);
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.restarts_log |= stops_log;
            upstream.needs_snapshot = true;
        }
    }

    /// Drops the old data. Loading has to wait for the ticket that is returned, if any.
    ///
    /// The background thread frees all but the smallest databases, so no client waits for that. Without
    /// `replica-lazy-flush`, old and new data are not in memory at the same time.
    fn drop_old_data(&mut self) -> Option<Ticket> {
        self.process.log.notice(format_args!("MASTER <-> REPLICA sync: Flushing old data"));
        let is_lazy = self.core.config.replica_lazy_flush;
        let mut waits = false;
        for db in 0..self.core.keyspace.count() {
            let in_background = is_lazy || !self.core.keyspace.is_soon_freed(db);
            let flushed = self.core.keyspace.flush(db, in_background);
            waits |= flushed > 0 && in_background && !is_lazy;
        }
        self.core.keyspace.own_expiries.forget();
        self.libraries.clear();
        self.settle_own();
        waits.then(|| self.core.keyspace.lazy().latest())
    }
}
