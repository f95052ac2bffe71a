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
use super::scripts::redis::REPL_AOF;
use crate::db::{ExpiryPolicy, Listening};

/// The server's modes: states that affect more than one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// The data set is being loaded.
    pub loading: bool,
    /// A slow script is suspended; its unit has not ended.
    pub busy: bool,
    /// Why writes are refused, if persistence fails.
    pub denial: Option<Denial>,
    /// `CLIENT PAUSE` is in force.
    pub paused: bool,
    /// A client uses `MONITOR`.
    pub monitored: bool,
    /// Calls are needed: the stream has a reader.
    pub propagates: bool,
    /// The running script has switched off propagation to the AOF (`redis.set_repl`).
    pub muted: bool,
    /// Keyspace notifications have subscribers.
    pub announces: bool,
    /// A client uses `CLIENT TRACKING`.
    pub tracks: bool,
    /// `DEBUG JOURNAL` records the changes of each unit.
    pub records: bool,
}

/// The effects of the [`Modes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// Requests are executed by [`Server::execute_carefully`].
    careful: bool,
    /// Some commands are refused: because of loading, a failing disk or a slow script.
    refuses: bool,
    denial: Option<Denial>,
    expiry: ExpiryPolicy,
    listening: Listening,
}

impl Gate {
    /// Derives the gate from the modes.
    pub fn of(modes: &Modes) -> Gate {
        let refuses = modes.loading || modes.busy || modes.denial.is_some();
        let expiry = if modes.loading {
            // The AOF has a `DEL` for each key that expired.
            ExpiryPolicy::Ignore
        } else if modes.paused {
            ExpiryPolicy::Hide
        } else {
            ExpiryPolicy::Delete
        };
        // Loading is not a change: it is not propagated, published or tracked.
        let records = !modes.loading;
        let listening = Listening {
            changes: records && (modes.announces || modes.tracks || modes.records),
            calls: records && modes.propagates && !modes.muted,
            units: records && modes.records && !modes.muted,
        };
        Gate {
            careful: refuses || modes.paused || modes.monitored,
            refuses,
            denial: modes.denial,
            expiry,
            listening,
        }
    }

    /// Whether requests are executed by [`Server::execute_carefully`].
    #[inline(always)]
    pub fn is_careful(self) -> bool {
        self.careful
    }

    /// Whether some commands are refused now.
    pub fn refuses(self) -> bool {
        self.refuses
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
        let guards_snapshots = config.stop_writes_on_bgsave_error && !config.save.is_empty();
        Modes {
            loading: self.loading.is_active(),
            busy: self.is_busy(),
            denial: self.persistence.denial(guards_snapshots),
            paused: self.audience.pause().is_active(),
            monitored: self.audience.has_monitors(),
            propagates: self.core.keyspace.journal.stream().is_wanted(),
            muted: self.scripts.withheld & REPL_AOF != 0,
            announces: self.audience.announces(),
            tracks: self.audience.tracks(),
            records: self.audience.is_recording(),
        }
    }

    /// Computes the gate from the current modes and updates the keyspace and the journal. Called after a mode has
    /// changed.
    pub(super) fn refresh_gate(&mut self) {
        self.gate = Gate::of(&self.modes());
        self.core.keyspace.expiry = self.gate.expiry;
        self.core.keyspace.journal.listen(self.gate.listening);
    }

    /// Panics in debug builds if a mode has changed without [`Server::refresh_gate`]. Ignores a failing disk: another
    /// thread detects it, and cron refreshes the gate.
    pub(super) fn check_gate(&self) {
        debug_assert_eq!(
            self.gate,
            Gate::of(&Modes { denial: self.gate.denial, ..self.modes() }),
            "a mode was changed without refresh_gate"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVING: Modes = Modes {
        loading: false,
        busy: false,
        denial: None,
        paused: false,
        monitored: false,
        propagates: false,
        muted: false,
        announces: false,
        tracks: false,
        records: false,
    };

    const NOTHING: Listening = Listening { changes: false, calls: false, units: false };
    const CHANGES: Listening = Listening { changes: true, ..NOTHING };
    const CALLS: Listening = Listening { calls: true, ..NOTHING };

    #[test]
    fn each_mode_has_its_effect_and_no_other() {
        use ExpiryPolicy::{Delete, Hide, Ignore};
        let log = Modes { propagates: true, ..SERVING };
        let (plain, careful) = ((false, false), (true, false));
        let refusing = (true, true);
        // The modes; whether requests are executed carefully and whether some are refused; expiry; what the journal
        // records.
        let rows = [
            (SERVING, plain, Delete, NOTHING),
            (log, plain, Delete, CALLS),
            (Modes { loading: true, ..SERVING }, refusing, Ignore, NOTHING),
            (Modes { busy: true, ..log }, refusing, Delete, CALLS),
            (Modes { denial: Some(Denial::Snapshot), ..SERVING }, refusing, Delete, NOTHING),
            (Modes { denial: Some(Denial::Log), ..log }, refusing, Delete, CALLS),
            (Modes { paused: true, ..log }, careful, Hide, CALLS),
            (Modes { monitored: true, ..log }, careful, Delete, CALLS),
            (Modes { muted: true, ..log }, plain, Delete, NOTHING),
            (Modes { announces: true, ..SERVING }, plain, Delete, CHANGES),
            (Modes { tracks: true, ..SERVING }, plain, Delete, CHANGES),
            (Modes { announces: true, muted: true, ..log }, plain, Delete, CHANGES),
            (Modes { records: true, ..SERVING }, plain, Delete, Listening { units: true, ..CHANGES }),
            (Modes { records: true, muted: true, ..log }, plain, Delete, CHANGES),
        ];
        for (modes, (careful, refuses), expiry, listening) in rows {
            let gate = Gate { careful, refuses, denial: modes.denial, expiry, listening };
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
                Modes { propagates: true, muted: true, announces, tracks, monitored, busy, ..SERVING };
            assert!(!Gate::of(&modes).listening.calls, "{modes:?}");
        }
    }
}
