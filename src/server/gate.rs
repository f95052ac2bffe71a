//! The gate: how the server's modes (loading, paused, …) affect requests, expired keys and the journal.
//!
//! ```text
//!   loading, busy script, failing disk, pause, monitors, readers, listeners ─▶ Modes ─▶ Gate::of ─▶ Gate
//!                                                                                    │ requests: one test
//!                                                                                    │ keyspace: what happens to expired keys
//!                                                                                    └ journal:  what it records
//! ```
//!
//! The modes are plain data, read from the parts that own them. [`Gate::of`] is a pure function of the modes, so the
//! order in which modes begin and end does not matter. Code that changes a mode calls [`Server::refresh_gate`]. Debug
//! builds check after each iteration that the gate is up to date.

use super::Server;
use super::persistence::Denial;
use super::scripts::redis::{REPL_ALL, REPL_AOF};
use crate::command::flags::{MAY_REPLICATE, NO_DATA, WRITE};
use crate::db::{ExpiryPolicy, Listening, Target};
use crate::sys::raw_log;

/// The server's modes: states that affect more than one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// The data set is being loaded.
    pub loading: bool,
    /// It is being loaded beside the old one, which is served (`repl-diskless-load swapdb`).
    pub loads_aside: bool,
    /// A slow script is suspended; its unit has not ended.
    pub busy: bool,
    /// Why writes are refused, if persistence fails.
    pub denial: Option<Denial>,
    /// `CLIENT PAUSE` is in force.
    pub paused: bool,
    /// A client uses `MONITOR`.
    pub monitored: bool,
    /// The stream has a reader, so the journal records calls.
    pub propagates: bool,
    /// Where the calls of the running script are not propagated (`redis.set_repl`): bits of [`REPL_ALL`].
    pub withheld: u8,
    /// There is an AOF.
    pub logs: bool,
    /// Keyspace notifications have subscribers.
    pub announces: bool,
    /// A client uses `CLIENT TRACKING`.
    pub tracks: bool,
    /// `DEBUG JOURNAL` records the changes of each unit.
    pub records: bool,
    /// This server is a replica.
    pub follows: bool,
    /// Requests of the primary are being executed.
    pub applies: bool,
    /// Clients may not write, since this is a replica (`replica-read-only`).
    pub read_only: bool,
    /// The data may be old, and is not served (`replica-serve-stale-data no`).
    pub stale: bool,
    /// There are too few replicas to write (`min-replicas-to-write`, `min-replicas-to-ack`).
    pub lacks_replicas: bool,
    /// Replies wait for acknowledgements (`min-replicas-to-ack`).
    pub confirms: bool,
    /// This server is a node of a cluster: requests for keys of other nodes are redirected.
    pub redirects: bool,
}

/// The flags of commands that may change data.
const WRITES: u64 = WRITE | MAY_REPLICATE;

/// A flag that no command has, for all commands.
const EVERY: u64 = 1 << 63;

/// The reasons to refuse commands because of the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplicaDenial {
    /// See [`Modes::read_only`].
    pub read_only: bool,
    /// See [`Modes::stale`].
    pub stale: bool,
    /// See [`Modes::lacks_replicas`].
    pub lacks_replicas: bool,
}

/// The effects of the [`Modes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// [`Server::execute_carefully`] handles requests with one of these flags; all requests have [`EVERY`].
    careful: u64,
    /// [`Gate::careful`] for a request whose slot this node serves.
    careful_if_served: u64,
    /// Some commands are refused: because of loading, a failing disk, a slow script, or the role.
    refuses: bool,
    denial: Option<Denial>,
    replica: ReplicaDenial,
    confirms: bool,
    expiry: ExpiryPolicy,
    listening: Listening,
    target: Target,
    /// Whether keys that get a time to live are noted, since no primary deletes them.
    notes_expiries: bool,
}

impl Gate {
    /// Derives the gate from the modes.
    pub fn of(modes: &Modes) -> Gate {
        let refuses_all =
            modes.loading || modes.loads_aside || modes.busy || modes.denial.is_some() || modes.stale;
        let refuses_writes = modes.read_only || modes.lacks_replicas;
        let expiry = if modes.loading || modes.applies {
            // The AOF and the primary send a `DEL` for each expired key.
            ExpiryPolicy::Ignore
        } else if modes.paused || modes.read_only {
            ExpiryPolicy::Hide
        } else if modes.follows {
            ExpiryPolicy::HideFromReads
        } else {
            ExpiryPolicy::Delete
        };
        // Loading is not a change: it is not propagated, published or tracked.
        let records = !modes.loading;
        // The primary's bytes are copied to the stream as received; writes by a replica's own clients are only logged.
        let is_own = modes.follows && !modes.applies;
        let target = match modes.withheld {
            _ if modes.applies => Target::All,
            _ if is_own => Target::Log,
            0 | REPL_ALL => Target::All,
            REPL_AOF => Target::Replicas,
            _ => Target::Log,
        };
        let muted = modes.withheld == REPL_ALL || is_own && modes.withheld & REPL_AOF != 0;
        let propagates = modes.propagates && !muted && (!modes.follows || is_own && modes.logs);
        let listening = Listening {
            changes: records && (modes.announces || modes.tracks || modes.records),
            calls: records && propagates,
            units: records && modes.records && !muted,
        };
        let careful_if_served = if refuses_all || modes.paused || modes.monitored {
            EVERY
        } else {
            // The short path does not note which replies are independent of the data.
            (if refuses_writes { WRITES } else { 0 }) | if modes.confirms { NO_DATA } else { 0 }
        };
        Gate {
            careful: if modes.redirects { EVERY } else { careful_if_served },
            careful_if_served,
            refuses: refuses_all || refuses_writes,
            denial: modes.denial,
            replica: ReplicaDenial {
                read_only: modes.read_only,
                stale: modes.stale,
                lacks_replicas: modes.lacks_replicas,
            },
            confirms: modes.confirms,
            expiry,
            listening,
            target,
            notes_expiries: is_own && !modes.loading,
        }
    }

    /// Whether [`Server::execute_carefully`] handles all requests.
    #[inline(always)]
    pub fn is_careful(self) -> bool {
        self.careful == EVERY
    }

    /// Whether [`Server::execute_carefully`] handles requests for a command with these flags.
    #[inline(always)]
    pub fn is_careful_with(self, command_flags: u64) -> bool {
        self.careful & (command_flags | EVERY) != 0
    }

    /// [`Gate::is_careful_with`] for a request whose slot this node serves.
    #[inline(always)]
    pub fn is_careful_if_served(self, command_flags: u64) -> bool {
        self.careful_if_served & (command_flags | EVERY) != 0
    }

    /// The reasons to refuse commands because of the role.
    pub fn replica_denial(self) -> ReplicaDenial {
        self.replica
    }

    /// Whether some commands are refused now.
    pub fn refuses(self) -> bool {
        self.refuses
    }

    /// Whether replies wait for acknowledgements.
    #[inline]
    pub fn confirms(self) -> bool {
        self.confirms
    }

    /// Why writes are refused, if persistence fails.
    pub fn denial(self) -> Option<Denial> {
        self.denial
    }
}

impl Server {
    /// The modes at this moment.
    pub(super) fn modes(&self) -> Modes {
        let config = &self.core.config;
        let upstream = self.replication.upstream.as_ref();
        Modes {
            loading: self.loading.is_active() && !self.loading.is_async(),
            loads_aside: self.loading.is_async(),
            busy: self.is_busy(),
            denial: self.persistence.denial(self.guards_snapshots()),
            paused: self.audience.pause().is_active(),
            monitored: self.audience.has_monitors(),
            propagates: self.core.keyspace.journal.stream().is_wanted(),
            withheld: self.scripts.withheld,
            logs: self.persistence.log.is_open(),
            announces: self.audience.announces(),
            tracks: self.audience.tracks(),
            records: self.audience.is_recording(),
            follows: upstream.is_some(),
            applies: self.applying.is_active,
            read_only: upstream.is_some() && config.replica_read_only,
            stale: upstream.is_some_and(|upstream| !upstream.is_online()) && !config.replica_serve_stale_data,
            lacks_replicas: self.lacks_replicas(),
            confirms: upstream.is_none() && config.min_replicas_to_ack > 0,
            redirects: self.cluster.is_some(),
        }
    }

    fn guards_snapshots(&self) -> bool {
        self.core.config.stop_writes_on_bgsave_error && !self.core.config.save.is_empty()
    }

    /// Why writes are refused, if persistence fails. The gate learns only from cron that a background sync succeeded.
    pub(super) fn denial(&self) -> Option<Denial> {
        self.gate.denial()?;
        self.persistence.denial(self.guards_snapshots())
    }

    /// Whether there are fewer replicas than `min-replicas-to-write` or `min-replicas-to-ack`.
    fn lacks_replicas(&self) -> bool {
        let config = &self.core.config;
        let lag = config.min_replicas_max_lag;
        let to_write = if lag > 0 { config.min_replicas_to_write } else { 0 };
        let least = to_write.max(config.min_replicas_to_ack);
        least > 0
            && self.replication.upstream.is_none()
            && self.replication.good(self.core.keyspace.moment.unix_ms, lag) < least as usize
    }

    /// Whether the number of replicas decides if writes are refused.
    pub(super) fn counts_replicas(&self) -> bool {
        self.core.config.min_replicas_to_write > 0 || self.core.config.min_replicas_to_ack > 0
    }

    /// Computes the gate from the current modes and updates the keyspace and the journal. Called after a mode has
    /// changed.
    pub(super) fn refresh_gate(&mut self) {
        let modes = self.modes();
        raw_log::set_replica(modes.follows);
        if modes.confirms && !self.gate.confirms {
            // The replies before a promotion were those of a replica, which wait for nobody.
            self.net.output.note_all_independent();
        }
        self.gate = Gate::of(&modes);
        let wanted = if modes.confirms { self.core.config.min_replicas_to_ack } else { 0 };
        self.replication.confirmation.set_wanted(wanted as usize);
        let selected = modes.follows.then(|| self.replication_db());
        let keyspace = &mut self.core.keyspace;
        keyspace.expiry = self.gate.expiry;
        keyspace.own_expiries.are_noted = self.gate.notes_expiries;
        if !modes.follows {
            keyspace.own_expiries.forget();
        }
        keyspace.journal.listen(self.gate.listening);
        keyspace.journal.stream_mut().set_target(self.gate.target, selected);
    }

    /// Panics in debug builds if a mode has changed without [`Server::refresh_gate`]. Ignores a failing disk: another
    /// thread detects it, and cron refreshes the gate.
    pub(super) fn check_gate(&self) {
        debug_assert_eq!(
            self.gate,
            Gate::of(&Modes {
                denial: self.gate.denial,
                lacks_replicas: self.gate.replica.lacks_replicas,
                ..self.modes()
            }),
            "a mode was changed without refresh_gate"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVING: Modes = Modes {
        loading: false,
        loads_aside: false,
        busy: false,
        denial: None,
        paused: false,
        monitored: false,
        propagates: false,
        withheld: 0,
        logs: false,
        announces: false,
        tracks: false,
        records: false,
        follows: false,
        applies: false,
        read_only: false,
        stale: false,
        lacks_replicas: false,
        confirms: false,
        redirects: false,
    };

    const NOTHING: Listening = Listening { changes: false, calls: false, units: false };
    const CHANGES: Listening = Listening { changes: true, ..NOTHING };
    const CALLS: Listening = Listening { calls: true, ..NOTHING };

    #[test]
    fn each_mode_has_its_effect_and_no_other() {
        use ExpiryPolicy::{Delete, Hide, HideFromReads, Ignore};
        let muted = REPL_ALL;
        let log = Modes { propagates: true, ..SERVING };
        let (plain, careful) = ((0, false), (EVERY, false));
        let (refusing, refusing_writes) = ((EVERY, true), (WRITES, true));
        let replica = Modes { follows: true, read_only: true, propagates: true, ..SERVING };
        // The modes; whether requests are executed carefully and whether some are refused; expiry; what the journal
        // records.
        let rows = [
            (SERVING, plain, Delete, NOTHING),
            (log, plain, Delete, CALLS),
            (Modes { loading: true, ..SERVING }, refusing, Ignore, NOTHING),
            (Modes { loads_aside: true, ..log }, refusing, Delete, CALLS),
            (Modes { busy: true, ..log }, refusing, Delete, CALLS),
            (Modes { denial: Some(Denial::Snapshot), ..SERVING }, refusing, Delete, NOTHING),
            (Modes { denial: Some(Denial::Log), ..log }, refusing, Delete, CALLS),
            (Modes { paused: true, ..log }, careful, Hide, CALLS),
            (Modes { monitored: true, ..log }, careful, Delete, CALLS),
            (Modes { withheld: muted, ..log }, plain, Delete, NOTHING),
            (Modes { announces: true, ..SERVING }, plain, Delete, CHANGES),
            (Modes { tracks: true, ..SERVING }, plain, Delete, CHANGES),
            (Modes { announces: true, withheld: muted, ..log }, plain, Delete, CHANGES),
            (Modes { records: true, ..SERVING }, plain, Delete, Listening { units: true, ..CHANGES }),
            (Modes { records: true, withheld: muted, ..log }, plain, Delete, CHANGES),
            (replica, refusing_writes, Hide, NOTHING),
            (Modes { logs: true, ..replica }, refusing_writes, Hide, CALLS),
            (Modes { logs: true, applies: true, ..replica }, refusing_writes, Ignore, NOTHING),
            (Modes { logs: true, withheld: REPL_AOF, ..replica }, refusing_writes, Hide, NOTHING),
            (Modes { applies: true, ..replica }, refusing_writes, Ignore, NOTHING),
            (Modes { read_only: false, ..replica }, plain, HideFromReads, NOTHING),
            (Modes { stale: true, ..replica }, refusing, Hide, NOTHING),
            (Modes { lacks_replicas: true, ..log }, refusing_writes, Delete, CALLS),
            (Modes { confirms: true, ..log }, (NO_DATA, false), Delete, CALLS),
            (Modes { confirms: true, lacks_replicas: true, ..log }, (WRITES | NO_DATA, true), Delete, CALLS),
            (Modes { redirects: true, ..log }, plain, Delete, CALLS),
            (Modes { redirects: true, ..replica }, refusing_writes, Hide, NOTHING),
        ];
        for (modes, (careful_if_served, refuses), expiry, listening) in rows {
            let Modes { denial, read_only, stale, lacks_replicas, confirms, .. } = modes;
            let careful = if modes.redirects { EVERY } else { careful_if_served };
            let replica = ReplicaDenial { read_only, stale, lacks_replicas };
            let notes_expiries = modes.follows && !modes.applies;
            let target = if notes_expiries { Target::Log } else { Target::All };
            let gate = Gate {
                careful,
                careful_if_served,
                refuses,
                denial,
                replica,
                confirms,
                expiry,
                listening,
                target,
                notes_expiries,
            };
            assert_eq!(Gate::of(&modes), gate, "{modes:?}");
        }
    }

    #[test]
    fn nothing_is_recorded_during_loading_whatever_other_modes_are_on() {
        let everybody = Modes {
            loading: true,
            paused: true,
            propagates: true,
            announces: true,
            tracks: true,
            records: true,
            ..SERVING
        };
        let gate = Gate::of(&everybody);
        assert_eq!((gate.listening, gate.expiry), (NOTHING, ExpiryPolicy::Ignore));
    }

    #[test]
    fn a_script_that_has_switched_off_propagation_is_not_logged_whatever_other_modes_are_on() {
        for (announces, tracks, monitored, busy) in
            [(true, false, false, true), (false, true, true, false), (false, false, false, true)]
        {
            let modes =
                Modes { propagates: true, withheld: REPL_ALL, announces, tracks, monitored, busy, ..SERVING };
            assert!(!Gate::of(&modes).listening.calls, "{modes:?}");
        }
    }

    #[test]
    fn a_script_chooses_the_readers_of_its_calls() {
        let target = |withheld| Gate::of(&Modes { propagates: true, withheld, ..SERVING }).target;
        let only_log = REPL_ALL & !REPL_AOF;
        assert_eq!([0, only_log, REPL_AOF].map(target), [Target::All, Target::Log, Target::Replicas]);
    }
}
