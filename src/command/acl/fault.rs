//! Why a modifier of a user is refused.

use std::fmt;

/// A modifier that is refused, by its reason. The texts are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No command, subcommand or category has this name.
    Unknown,
    /// No modifier looks like this.
    Syntax,
    /// A pattern of keys where all keys are permitted.
    PatternAfterAll,
    /// A pattern of channels where all channels are permitted.
    ChannelAfterAll,
    /// The password to remove is not the user's.
    UnknownPassword,
    /// Not the hash of a password.
    BadHash,
    /// `+config|get|x`.
    FirstArgOfSubcommand,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Unknown => "Unknown command or category name in ACL",
            Fault::Syntax => "Syntax error",
            Fault::PatternAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            Fault::ChannelAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Fault::UnknownPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            Fault::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Fault::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}
