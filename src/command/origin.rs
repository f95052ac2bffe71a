//! The origin of a call: a client, a script, the AOF or a primary. It decides which rules apply.
//!
//! ```text
//!                 refused by limits   arguments as a client sent them   may block
//!   Client               yes                     yes                      yes
//!   Exec, Script         yes                     yes                      no
//!   Log, Primary         no                      no                       no
//!   ObeyedScript         no                      yes                      no
//! ```
//!
//! A call from the AOF or a primary was valid where it was first executed. Refusing it here, because a limit was
//! lowered since or because clients may not use the form in which it was propagated, would make this data set differ
//! from the original.

/// The origin of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A client's request.
    Client,
    /// A queued command of a transaction, executed by `EXEC`.
    Exec,
    /// A client's script or function.
    Script,
    /// An AOF that is being loaded.
    Log,
    /// The link to a primary.
    Primary,
    /// A script from the AOF or a primary: Redis before 5.0 propagated scripts as a whole.
    ObeyedScript,
}

impl Origin {
    /// Whether limits, permissions and a failing disk are ignored, because the call was valid where it was first
    /// executed.
    #[inline]
    pub const fn must_obey(self) -> bool {
        matches!(self, Origin::Log | Origin::Primary | Origin::ObeyedScript)
    }

    /// Whether the arguments are those of a propagated call, which may differ from the client's own.
    #[inline]
    pub const fn is_propagated(self) -> bool {
        matches!(self, Origin::Log | Origin::Primary)
    }

    /// Whether a script calls the command.
    #[inline]
    pub const fn is_script(self) -> bool {
        matches!(self, Origin::Script | Origin::ObeyedScript)
    }

    /// Whether the call may block.
    #[inline]
    pub const fn may_wait(self) -> bool {
        matches!(self, Origin::Client)
    }

    /// The origin of the calls of a script that a call of this origin starts.
    #[must_use]
    pub const fn of_script(self) -> Origin {
        if self.must_obey() { Origin::ObeyedScript } else { Origin::Script }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn a_script_of_the_aof_is_obeyed_but_its_arguments_are_those_that_a_client_sent() {
        for begun_by in [Origin::Log, Origin::Primary, Origin::ObeyedScript] {
            let origin = begun_by.of_script();
            assert!(origin.must_obey() && origin.is_script() && !origin.is_propagated());
        }
        for begun_by in [Origin::Client, Origin::Exec] {
            assert_eq!(begun_by.of_script(), Origin::Script);
        }
    }
}
