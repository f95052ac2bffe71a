//! Configuration: one table of directives, and everything that uses it.
//!
//! ```text
//!   redstart.conf ─┐                                     ┌─▶ CONFIG GET      access.rs
//!   stdin ─────────┼─▶ load.rs ─▶ Config ◀── table.rs ───┼─▶ CONFIG SET      access.rs
//!   arguments ─────┘             (typed                  ├─▶ CONFIG REWRITE  rewrite.rs
//!                                 fields)                └─▶ docs            document.rs (a test)
//! ```
//!
//! The server reads plain typed fields (`config.port`, `config.maxmemory_policy`); the table defines the text form of
//! each. Nothing here opens a socket or changes the process: loading reads files, CONFIG SET makes a new [`Config`],
//! and the server puts it into effect. File syntax, names, defaults and error texts of CONFIG are Redis's.
//!
//! A lookup by name scans the table, some 200 short comparisons; files and CONFIG are not on the path of a request.

mod access;
#[cfg(test)]
mod document;
mod load;
#[cfg(test)]
mod meanings;
mod refused;
mod rewrite;
mod size;
mod special;
mod table;
mod value;

pub use access::{Change, SetError, get, prepare, set};
pub use load::{ConfigError, load};
pub use rewrite::rewrite;
pub use size::{format_size, parse_size};
pub use special::{
    BindAddress, Directory, EventClasses, MemoryShare, OomScores, OutputLimit, OutputLimits, Percentiles,
    Primary, RenamedCommand, SaveRule, SaveRules, ShutdownOptions, UserLine, expand_title,
};
pub use table::{Config, DIRECTIVES, Directive};
pub use value::{
    Allowed, AppendFsync, ByteText, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy, OomScoreAdj,
    PropagationError, PubsubDefault, SanitizePayload, Supervised, SyslogFacility, TlsClients,
};

/// Whether a directive has an effect. Directives without one are only accepted, stored, shown and rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`why` has a reason for each")]
pub enum Effect {
    Acts,
    AlwaysVerified,
    NeedsTls,
    NoDhParameters,
    NoModules,
    NoLocale,
    NoStartWarnings,
    NoMemoryTest,
    ThreadsRead,
    OwnAllocator,
    Debugging,
}

impl Effect {
    /// Whether a directive has an effect in a build with all features.
    pub const fn acts_in_some_build(self) -> bool {
        matches!(self, Effect::Acts | Effect::NeedsTls)
    }

    /// The reason why a directive has no effect in this build; `None` if it has one.
    pub const fn why(self) -> Option<&'static str> {
        Some(match self {
            Effect::Acts => return None,
            Effect::NeedsTls if crate::tls::IS_AVAILABLE => return None,
            Effect::NeedsTls => "this build has no TLS, so connections are not encrypted",
            Effect::AlwaysVerified => "what is loaded is always verified in full",
            Effect::NoDhParameters => "key exchange always uses elliptic curves",
            Effect::NoModules => "there is no interface for modules",
            Effect::NoLocale => "texts are compared byte by byte",
            Effect::NoStartWarnings => "the start does not stop at a warning",
            Effect::NoMemoryTest => "a crash report does not test the memory",
            Effect::ThreadsRead => "I/O threads receive, parse and send in any case",
            Effect::OwnAllocator => {
                "the allocator is not jemalloc; unused memory is always given back by a thread"
            }
            Effect::Debugging => "it serves tests of Redis's own code",
        })
    }
}

/// Directives of a config file that are not values, and how each is handled.
const OTHER_LINES: &[(&str, &str)] = &[
    ("include", "reads another file, or all files that match a glob, at this point"),
    (
        "rename-command",
        "renames a command, or with `\"\"` disables it; the server starts only if the command exists",
    ),
    ("user", "defines a user as `ACL SETUSER` does; not together with `aclfile`, which has such lines, too"),
    ("loadmodule", "is refused: there is no interface for modules, and data would be missing"),
    ("sentinel", "is refused: this is not a sentinel"),
    ("list-max-ziplist-entries", "is ignored, as by Redis: list-max-listpack-size replaced it"),
    ("list-max-ziplist-value", "is ignored, as by Redis: list-max-listpack-size replaced it"),
    ("lua-replicate-commands", "is ignored, as by Redis: scripts are always replicated by their effects"),
];

impl Config {
    /// The first port for clients: `port`, or `tls-port` if `port` is 0.
    pub fn first_port(&self) -> u16 {
        if self.port > 0 { self.port } else { self.tls_port }
    }

    /// Returns the directives that have no effect but a value other than their default, each with the reason: the
    /// server logs them at startup.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let defaults = Config::default();
        DIRECTIVES
            .iter()
            .filter_map(|directive| Some((directive, directive.effect.why()?)))
            .filter(|(directive, _)| directive.show(self) != directive.show(&defaults))
            .map(|(directive, why)| (directive.name, why))
            .collect()
    }
}

/// Whether `name` names a directive whose value must not appear in a log.
pub fn is_secret(name: &[u8]) -> bool {
    find(name).is_some_and(|directive| directive.has(table::flag::SECRET))
}

impl Directive {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The value as CONFIG GET returns it.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        (self.value)(config).show(&self.shape)
    }

    /// The text after the name in the config file, one element per line.
    fn lines(&self, config: &Config) -> Vec<Vec<u8>> {
        (self.value)(config).lines(&self.shape)
    }

    /// Sets the value from the words after the name. `adds` as for [`value::Value::set`].
    fn set(&self, config: &mut Config, words: &[&[u8]], adds: bool) -> Result<(), value::Reason> {
        if !self.has(table::flag::WORDS) && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        // Several parts may be given in one word, as in `save "900 1"`; CONFIG SET requires that.
        let parts: Vec<&[u8]>;
        let words = match words {
            [word] if self.has(table::flag::WORDS) => {
                parts = if word.is_empty() { Vec::new() } else { word.split(|&byte| byte == b' ').collect() };
                &parts
            }
            words => words,
        };
        (self.value_mut)(config).set(words, &self.shape, adds)
    }

    /// Whether `name`, in any case, is the directive's name or alias.
    fn is_called(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name and its aliases.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// Returns the directive with this name or alias, in any case.
fn find(name: &[u8]) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.is_called(name))
}

#[cfg(test)]
mod tests {
    use super::table::flag;
    use super::value::Shape;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_and_alias_is_there_once_and_in_lower_case() {
        let mut seen = HashSet::new();
        for name in DIRECTIVES.iter().flat_map(Directive::names) {
            assert!(seen.insert(name), "{name} is there twice");
            assert_eq!(name, name.to_ascii_lowercase());
            assert!(!OTHER_LINES.iter().any(|(other, _)| *other == name), "{name}");
        }
    }

    #[test]
    fn every_default_is_accepted_as_a_value_and_gives_itself() {
        for directive in DIRECTIVES.iter().filter(|d| !matches!(d.name, "dir" | "replicaof")) {
            let mut config = Config::default();
            let shown = directive.show(&config);
            directive
                .set(&mut config, &[&shown], false)
                .unwrap_or_else(|e| panic!("{}: {e}", directive.name));
            assert_eq!(config, Config::default(), "{}", directive.name);
        }
    }

    #[test]
    fn every_number_takes_its_bounds_and_refuses_what_lies_beyond() {
        let mut numbers = 0;
        for directive in DIRECTIVES {
            let Shape::Number { min, max, unit, keep } = directive.shape else { continue };
            numbers += 1;
            let write = |value: i128| match unit {
                value::Unit::Octal => format!("{value:o}"),
                _ => value.to_string(),
            };
            let mut config = Config::default();
            for bound in [min, max] {
                directive.set(&mut config, &[write(bound).as_bytes()], false).expect(directive.name);
                let kept = write(bound.clamp(keep.0, keep.1)).into_bytes();
                assert_eq!(directive.show(&config), kept, "{}", directive.name);
            }
            // A size above 64 bits is read as the largest size.
            let above = if max == i128::from(u64::MAX) { min - 1 } else { max + 1 };
            for beyond in [min - 1, above] {
                assert!(
                    directive.set(&mut config, &[write(beyond).as_bytes()], false).is_err(),
                    "{} {beyond}",
                    directive.name
                );
            }
        }
        assert!(numbers > 60, "{numbers}");
    }

    #[test]
    fn only_directives_without_effect_that_were_changed_are_reported() {
        let mut config = Config::default();
        assert_eq!(config.without_effect(), []);
        config.port = 7000;
        config.locale_collate = "C".into();
        let names: Vec<&str> = config.without_effect().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["locale-collate"]);
    }

    #[test]
    fn what_this_build_cannot_do_is_refused_with_the_reason() {
        let (mut value, shape) = (false, Shape::OnlyNo("it cannot be done"));
        let set = |value: &mut bool, word: &[u8]| value::Value::set(value, &[word], &shape, false);
        assert_eq!(set(&mut value, b"yes").unwrap_err(), "it cannot be done");
        assert!(!value && set(&mut value, b"no").is_ok() && set(&mut value, b"perhaps").is_err());
        // Only slabs can be sparse.
        let defrag = find(b"activedefrag").unwrap();
        let refused = defrag.set(&mut Config::default(), &[b"yes"], false).err();
        assert_eq!(refused.is_none(), cfg!(feature = "slab"));
        assert!(refused.is_none_or(|why| why.starts_with("Active defragmentation cannot be enabled: ")));
    }

    #[test]
    fn a_directive_of_several_words_takes_them_in_one_as_well() {
        let bind = find(b"BIND").unwrap();
        assert!(bind.has(flag::WORDS));
        let mut config = Config::default();
        bind.set(&mut config, &[b"127.0.0.1 -::1"], false).unwrap();
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
        bind.set(&mut config, &[b"10.0.0.1", b"*"], false).unwrap();
        assert_eq!(config.bind, ["10.0.0.1", "*"]);
        bind.set(&mut config, &[b""], false).unwrap();
        assert!(config.bind.is_empty());
    }
}
