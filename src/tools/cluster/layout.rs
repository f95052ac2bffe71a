//! The directory of a local cluster.
//!
//! ```text
//! DIR/cluster.conf      the settings; without this file the directory is not ours
//! DIR/7000/             a node: node.conf, node.log, node.pid, nodes.conf, data
//! DIR/7001/ …
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::sys::file;
use crate::text::words;

/// The distance from a port to its bus port.
pub const BUS: u16 = 10_000;
/// The marker.
const MARKER: &str = "cluster.conf";
const HEAD: &str = "# Written by 'redstart cluster start'. 'redstart cluster wipe' deletes this file and the nodes' directories.\n";

/// The settings of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The number of masters.
    pub masters: u16,
    /// The number of replicas of each.
    pub replicas: u16,
    /// The port of the first node.
    pub port: u16,
    /// The server program.
    pub server: String,
    /// More directives for the servers.
    pub directives: Vec<String>,
}

/// The settings that the user gives; `None` for the others.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// See [`Settings`].
    pub masters: Option<u16>,
    /// See [`Settings`].
    pub replicas: Option<u16>,
    /// See [`Settings`].
    pub port: Option<u16>,
    /// See [`Settings`].
    pub server: Option<String>,
    /// See [`Settings`].
    pub directives: Option<Vec<String>>,
}

impl Wanted {
    /// Returns the settings of a new cluster.
    pub fn or_default(self) -> Result<Settings, String> {
        let own = || {
            let own =
                std::env::current_exe().map_err(|error| format!("Cannot find this program: {error}"))?;
            super::word(&own.into_os_string())
        };
        let server = self.server.map_or_else(own, Ok)?;
        Ok(Settings {
            masters: self.masters.unwrap_or(3),
            replicas: self.replicas.unwrap_or(1),
            port: self.port.unwrap_or(7000),
            server,
            directives: self.directives.unwrap_or_default(),
        })
    }
}

impl Settings {
    /// The ports of the nodes.
    pub fn ports(&self) -> Result<Vec<u16>, String> {
        let count = u32::from(self.masters) * (u32::from(self.replicas) + 1);
        let last = u32::from(self.port) + count - 1;
        if last + u32::from(BUS) > u32::from(u16::MAX) {
            return Err(format!(
                "{count} nodes from port {} on need ports up to {}, but a port ends at 65535: choose a lower --port",
                self.port,
                last + u32::from(BUS)
            ));
        }
        Ok((self.port..=last as u16).collect())
    }

    fn to_text(&self, is_formed: bool) -> String {
        let Settings { masters, replicas, port, server, directives } = self;
        let mut text = format!("{HEAD}masters {masters}\nreplicas {replicas}\nport {port}\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "server {}", words::quote(server.as_bytes()));
        for directive in directives {
            let _ = writeln!(text, "directive {}", words::quote(directive.as_bytes()));
        }
        let _ = writeln!(text, "formed {}", if is_formed { "yes" } else { "no" });
        text
    }

    /// Parses the text; the second value is whether the cluster has been formed.
    fn from_text(text: &str) -> Option<(Settings, bool)> {
        let mut settings =
            Settings { masters: 0, replicas: 0, port: 0, server: String::new(), directives: Vec::new() };
        let mut is_formed = None;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words = words::split(line.as_bytes()).ok()?;
            let [name, value] = &words[..] else { return None };
            let value = String::from_utf8(value.clone()).ok()?;
            match &name[..] {
                b"masters" => settings.masters = value.parse().ok()?,
                b"replicas" => settings.replicas = value.parse().ok()?,
                b"port" => settings.port = value.parse().ok()?,
                b"server" => settings.server = value,
                b"directive" => settings.directives.push(value),
                b"formed" => is_formed = Some(value == "yes"),
                _ => return None,
            }
        }
        let is_complete = settings.masters > 0 && settings.port > 0 && !settings.server.is_empty();
        Some((settings, is_formed?)).filter(|_| is_complete)
    }
}

/// A directory with a cluster.
#[derive(Debug)]
pub struct Layout {
    /// The directory.
    pub directory: PathBuf,
    /// Its settings.
    pub settings: Settings,
    /// Whether the nodes have been made a cluster.
    pub is_formed: bool,
}

fn failure(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("Cannot {what} {}: {}", path.display(), file::reason(error))
}

/// Loads the cluster in a directory; an error if there is none.
pub fn must_exist(directory: &Path) -> Result<Layout, String> {
    let missing = || {
        let directory = directory.display();
        format!("{directory} has no cluster of 'redstart cluster': it lacks the file {MARKER}")
    };
    Layout::load(directory)?.ok_or_else(missing)
}

/// Fails if a directory has files of others.
pub fn must_be_new(directory: &Path) -> Result<(), String> {
    match fs::read_dir(directory).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(format!("{} has other files: choose a new or empty --dir", directory.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failure("read", directory, &error)),
    }
}

impl Layout {
    /// Loads the cluster in a directory, if it has one.
    pub fn load(directory: &Path) -> Result<Option<Layout>, String> {
        let path = directory.join(MARKER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure("read", &path, &error)),
        };
        let Some((settings, is_formed)) = Settings::from_text(&text) else {
            return Err(format!("{} is not a file of 'redstart cluster'", path.display()));
        };
        Ok(Some(Layout { directory: directory.to_path_buf(), settings, is_formed }))
    }

    /// Creates the directory of a new cluster, which [`must_be_new`] has accepted.
    pub fn create(directory: &Path, settings: Settings) -> Result<Layout, String> {
        fs::create_dir_all(directory).map_err(|error| failure("create", directory, &error))?;
        let layout = Layout { directory: directory.to_path_buf(), settings, is_formed: false };
        layout.save()?;
        Ok(layout)
    }

    /// Writes the settings.
    pub fn save(&self) -> Result<(), String> {
        let path = self.directory.join(MARKER);
        let text = self.settings.to_text(self.is_formed);
        file::replace(&path, text.as_bytes()).map_err(|error| failure("write", &path, &error))
    }

    /// Fails if the user gives other settings than those of the existing cluster.
    pub fn must_match(&self, wanted: &Wanted) -> Result<(), String> {
        let Settings { masters, replicas, port, server, directives } = &self.settings;
        let differs = [
            ("--masters", wanted.masters.is_some_and(|given| given != *masters), masters.to_string()),
            ("--replicas", wanted.replicas.is_some_and(|given| given != *replicas), replicas.to_string()),
            ("--port", wanted.port.is_some_and(|given| given != *port), port.to_string()),
            ("--server", wanted.server.as_ref().is_some_and(|given| given != server), server.clone()),
            (
                "directives",
                wanted.directives.as_ref().is_some_and(|given| given != directives),
                directives.join(" "),
            ),
        ];
        match differs.iter().find(|(_, differs, _)| *differs) {
            None => Ok(()),
            Some((name, _, value)) => Err(format!(
                "{} has a cluster with {name} {value}: start it without this option, wipe it, or choose another --dir",
                self.directory.display()
            )),
        }
    }

    /// The directory of a node.
    pub fn node(&self, port: u16) -> PathBuf {
        self.directory.join(port.to_string())
    }

    /// Deletes the nodes' directories.
    pub fn remove_nodes(&self) -> Result<(), String> {
        for port in self.settings.ports()? {
            let path = self.node(port);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failure("delete", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes the marker.
    pub fn remove_marker(&self) -> Result<(), String> {
        let path = self.directory.join(MARKER);
        fs::remove_file(&path).map_err(|error| failure("delete", &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let settings = Settings {
            masters: 3,
            replicas: 0,
            port: 7000,
            server: "/opt/a server\"".to_string(),
            directives: vec!["--save".to_string(), String::new()],
        };
        for is_formed in [false, true] {
            assert_eq!(
                Settings::from_text(&settings.to_text(is_formed)),
                Some((settings.clone(), is_formed))
            );
        }
        for text in ["", "masters 3\n", "port x\n", "appendonly yes\n"] {
            assert_eq!(Settings::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn ports_follow_each_other_and_leave_room_for_the_bus() {
        let settings = |port, masters| Settings {
            masters,
            replicas: 1,
            port,
            server: "s".to_string(),
            directives: Vec::new(),
        };
        assert_eq!(settings(7000, 2).ports(), Ok(vec![7000, 7001, 7002, 7003]));
        assert_eq!(settings(55_530, 3).ports().unwrap().last(), Some(&55_535));
        assert!(settings(55_531, 3).ports().unwrap_err().contains("65536"));
        assert!(settings(60_000, 3).ports().is_err());
    }
}
