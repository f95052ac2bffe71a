//! How a background child appears to the system: its title, OOM score and CPUs.

use super::{Process, title};
use crate::config::{ByteText, Config};
use crate::sys::fork::Role;
use crate::sys::host;

/// The work of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It writes a dump.
    Save,
    /// It writes the base of the append-only log.
    Rewrite,
    /// It writes a dump to replicas.
    Transfer,
    /// Debugs a script. It keeps its parent's process title.
    Debug,
}

impl Process {
    /// Returns the role of a child of this process, according to the configuration. An invalid CPU list is ignored,
    /// as for the server itself.
    pub fn child_role(&self, config: &Config, work: Work) -> Role {
        let (name, processors): (Option<&[u8]>, &ByteText) = match work {
            Work::Save => (Some(b"redis-rdb-bgsave"), &config.bgsave_cpulist),
            Work::Rewrite => (Some(b"redis-aof-rewrite"), &config.aof_rewrite_cpulist),
            Work::Transfer => (Some(b"redis-rdb-to-slaves"), &config.bgsave_cpulist),
            Work::Debug => (None, &config.server_cpulist),
        };
        Role {
            title: name.and_then(|name| title::of(config, name)),
            oom_score: self.child_oom_score(config),
            processors: host::parse_processors(&processors.to_string()).unwrap_or_default(),
            keep: self.log.fd().into_iter().collect(),
        }
    }
}
