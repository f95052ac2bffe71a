//! The version of Redis that a server reports, which decides what tests expect of it.

use super::Client;
use std::fmt;
use std::io::{self, Write};

/// A version of Redis; a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Version {
    /// The first version of a release.
    pub const fn new(major: u16, minor: u16) -> Version {
        Version { major, minor, patch: 0 }
    }

    /// Later than any version.
    pub const LAST: Version = Version::new(u16::MAX, 0);

    /// Reads `7.2` or `7.2.4`.
    pub fn parse(text: &str) -> Option<Version> {
        let numbers: Option<Vec<u16>> = text.split('.').map(|number| number.parse().ok()).collect();
        match numbers?[..] {
            [major, minor] => Some(Version::new(major, minor)),
            [major, minor, patch] => Some(Version { major, minor, patch }),
            _ => None,
        }
    }

    /// The release, as in `7.2`.
    pub fn release(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// The version in `INFO`; panics if `INFO` has no version.
    pub fn of(client: &mut Client) -> Version {
        let text = client.info("redis_version");
        Version::parse(&text).unwrap_or_else(|| panic!("redis_version is {text}"))
    }

    /// Whether a server reports this version or a later one. Otherwise prints what is not tested with it.
    pub fn is_reached_by(self, client: &mut Client, what: &str) -> bool {
        let found = Version::of(client);
        if found < self {
            // Not by `println!`, which the test harness shows only for failures. A closed stderr is no failure.
            let line = format!(
                "not tested with Redis {found}: {what}; REDIS_BIN names a redis-server of {}\n",
                self.release()
            );
            let _ = io::stderr().write_all(line.as_bytes());
        }
        found >= self
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
