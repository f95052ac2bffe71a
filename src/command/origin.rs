//! The origin of a call: who has a command executed. It decides which rules apply.
//!
//! ```text
//!                 refused by limits   words as a client wrote them   may wait
//!   Client               yes                     yes                   yes
//!   Exec, Script         yes                     yes                   no
//!   Log, Primary         no                      no                    no
//!   ObeyedScript         no                      yes                   no
//! ```
//!
//! A call that comes from a log or a primary was valid where it was first executed. If it were refused here, because a
//! limit has changed since or because it was propagated in a form that clients may not use, this data set would no
//! longer be the one that it is a copy of.

/// Who has a command executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A client's request.
    Client,
    /// A request that a client has queued, at its `EXEC`.
    Exec,
    /// A script of a client.
    Script,
    /// A log that is loaded.
    Log,
    /// The link to a primary.
    Primary,
    /// A script that comes from a log or a primary, which Redis before 5.0 propagated as a whole.
    ObeyedScript,
}

impl Origin {
    /// Whether limits, permissions and the state of the disk do not matter, because the call was valid where it was first
    /// executed.
    #[inline]
    pub const fn must_obey(self) -> bool {
        matches!(self, Origin::Log | Origin::Primary | Origin::ObeyedScript)
    }

    /// Whether the words are those of a call that was propagated, which may have replaced the ones of a client.
    #[inline]
    pub const fn is_propagated(self) -> bool {
        matches!(self, Origin::Log | Origin::Primary)
    }

    /// Whether a script calls the command.
    #[inline]
    pub const fn is_script(self) -> bool {
        matches!(self, Origin::Script | Origin::ObeyedScript)
    }

    /// Whether the call may wait until it can be served.
    #[inline]
    pub const fn may_wait(self) -> bool {
        matches!(self, Origin::Client)
    }

    /// The origin of what a script calls that is begun by a call of this origin.
    #[must_use]
    pub const fn of_script(self) -> Origin {
        if self.must_obey() { Origin::ObeyedScript } else { Origin::Script }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn a_script_of_a_log_is_obeyed_but_its_words_are_those_of_a_client() {
        for begun_by in [Origin::Log, Origin::Primary, Origin::ObeyedScript] {
            let origin = begun_by.of_script();
            assert!(origin.must_obey() && origin.is_script() && !origin.is_propagated());
        }
        for begun_by in [Origin::Client, Origin::Exec] {
            assert_eq!(begun_by.of_script(), Origin::Script);
        }
    }
}
