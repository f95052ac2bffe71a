//! `FAILOVER`: a primary hands its role over to a replica that has acknowledged the whole stream.
//!
//! ```text
//!   FAILOVER ─▶ writes are paused ─▶ a replica has acknowledged all ─▶ this server follows it: PSYNC … FAILOVER
//!                     │ timeout: aborted, or forced                             │ accepted: it is the primary
//!                     ▼                                                         ▼ rejected: aborted
//! ```
//!
//! No write is lost: writes stay paused between the last acknowledgement and the promotion. The state has no socket and
//! no clock: [`Failover::check`] gets both.

/// The progress of a failover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    WaitingForSync,
    InProgress,
}

/// The next action of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing yet.
    Wait,
    /// Abort: the deadline has passed.
    Expire,
    /// Follow this replica, and request that it take over.
    Proceed {
        /// The address of the replica.
        host: String,
        /// The port of the replica.
        port: u16,
        /// Whether the deadline passed before the replica had acknowledged everything.
        is_forced: bool,
    },
}

/// An online replica: its address, its port, and its acknowledged offset.
pub type Candidate = (String, i64, i64);

/// The meaning of an error reply from the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It does not take over: the failover is aborted.
    Rejected,
    /// An earlier request, whose reply was lost, has promoted it.
    Promoted,
    /// An earlier request, whose reply was lost, may have promoted it: aborting could make two primaries.
    Unclear,
}

/// A requested failover.
#[derive(Clone, Debug)]
pub struct Failover {
    state: State,
    target: Option<(String, i64)>,
    /// The deadline in Unix milliseconds.
    deadline_ms: Option<i64>,
    force: bool,
    /// Whether a connection was lost after the request to take over: the target may have been promoted.
    maybe_promoted: bool,
}

impl Failover {
    /// A failover to `target`, or to the first replica that has acknowledged everything. After `deadline_ms` it is
    /// aborted, or with `force` proceeds to `target` in any case.
    pub fn new(target: Option<(String, i64)>, deadline_ms: Option<i64>, force: bool) -> Failover {
        Failover { state: State::WaitingForSync, target, deadline_ms, force, maybe_promoted: false }
    }

    /// The name of the state in `INFO replication`.
    pub fn name(&self) -> &'static str {
        match self.state {
            State::WaitingForSync => "waiting-for-sync",
            State::InProgress => "failover-in-progress",
        }
    }

    /// Whether the target takes over now, or has received the request.
    pub fn is_in_progress(&self) -> bool {
        self.state == State::InProgress
    }

    /// The replica that takes over, if the command or [`Failover::check`] has chosen one.
    pub fn target(&self) -> Option<(&str, i64)> {
        self.target.as_ref().map(|(host, port)| (host.as_str(), *port))
    }

    /// Decides the next action at `now_ms`, from the offsets that the replicas have acknowledged of the stream up to
    /// `offset`.
    pub fn check(
        &mut self,
        now_ms: i64,
        offset: i64,
        mut replicas: impl Iterator<Item = Candidate>,
    ) -> Decision {
        if self.state != State::WaitingForSync {
            return Decision::Wait;
        }
        if self.deadline_ms.is_some_and(|deadline_ms| now_ms >= deadline_ms) {
            return match self.target.clone() {
                Some((host, port)) if self.force => self.proceed(host, port, true),
                _ => Decision::Expire,
            };
        }
        let target = self.target.as_ref();
        let has_everything = |(host, port, acknowledged): &Candidate| {
            *acknowledged == offset && target.is_none_or(|(name, number)| name == host && number == port)
        };
        match replicas.find(has_everything) {
            Some((host, port, _)) => self.proceed(host, port, false),
            None => Decision::Wait,
        }
    }

    fn proceed(&mut self, host: String, port: i64, is_forced: bool) -> Decision {
        let Ok(number) = u16::try_from(port) else { return Decision::Expire };
        self.state = State::InProgress;
        self.target = Some((host.clone(), port));
        Decision::Proceed { host, port: number, is_forced }
    }

    /// Notes that the connection to the target was lost after the request to take over.
    pub fn lost_after_request(&mut self) {
        self.maybe_promoted = true;
    }

    /// The meaning of a target's refusal.
    pub fn refused(&self, refusal: &str) -> Refused {
        match self.maybe_promoted {
            true if refusal.contains("PSYNC FAILOVER can't be sent to a master") => Refused::Promoted,
            // Only a replica compares the IDs.
            true if !refusal.contains("replid must match") => Refused::Unclear,
            _ => Refused::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(port: i64, acknowledged: i64) -> Candidate {
        ("10.0.0.1".into(), port, acknowledged)
    }

    fn check(failover: &mut Failover, now_ms: i64, replicas: &[Candidate]) -> Decision {
        failover.check(now_ms, 100, replicas.iter().cloned())
    }

    fn proceed(port: u16, is_forced: bool) -> Decision {
        Decision::Proceed { host: "10.0.0.1".into(), port, is_forced }
    }

    #[test]
    fn the_first_replica_that_has_everything_takes_over() {
        let mut failover = Failover::new(None, None, false);
        assert_eq!(failover.name(), "waiting-for-sync");
        assert_eq!(check(&mut failover, 0, &[replica(1, 99), replica(2, 0)]), Decision::Wait);
        // An acknowledgement beyond the sent stream does not count.
        assert_eq!(check(&mut failover, 0, &[replica(1, 101)]), Decision::Wait);
        assert_eq!(check(&mut failover, 9, &[replica(1, 99), replica(2, 100)]), proceed(2, false));
        assert_eq!((failover.name(), failover.target()), ("failover-in-progress", Some(("10.0.0.1", 2))));
        assert_eq!(check(&mut failover, 9, &[replica(1, 100)]), Decision::Wait, "only the target counts");
    }

    #[test]
    fn a_named_replica_is_waited_for_until_the_time_is_up() {
        let target = || Some(("10.0.0.1".to_string(), 1));
        let replicas = [replica(1, 99), replica(2, 100)];
        let mut patient = Failover::new(target(), Some(50), false);
        assert_eq!(check(&mut patient, 49, &replicas), Decision::Wait);
        assert_eq!(check(&mut patient, 50, &replicas), Decision::Expire);
        let mut forced = Failover::new(target(), Some(50), true);
        assert_eq!(check(&mut forced, 49, &replicas), Decision::Wait);
        assert_eq!(check(&mut forced, 50, &replicas), proceed(1, true));
        let mut synced = Failover::new(target(), Some(50), true);
        assert_eq!(check(&mut synced, 49, &[replica(1, 100)]), proceed(1, false));
    }

    #[test]
    fn a_refusal_aborts_unless_a_reply_may_have_been_lost() {
        let promoted = "-ERR PSYNC FAILOVER can't be sent to a master.";
        let other_history = "-ERR PSYNC FAILOVER replid must match my replid.";
        let full_disk = "-MISCONF Errors writing to the AOF file: No space left on device";
        let mut failover = Failover::new(None, None, false);
        let all = [promoted, other_history, full_disk];
        assert_eq!(all.map(|text| failover.refused(text)), [Refused::Rejected; 3]);
        failover.lost_after_request();
        let expected = [Refused::Promoted, Refused::Rejected, Refused::Unclear];
        assert_eq!(all.map(|text| failover.refused(text)), expected);
    }
}
