//! Unsupported directives that protect the server or define its role.
//!
//! Unsupported tuning directives can be ignored. But a server that ignored one of the directives here would
//! run without encryption, contrary to its configuration. So the server refuses to start and prints the line
//! and the remedy. CONFIG SET refuses the value.
//!
//! The default is accepted, since the configuration files of Redis contain it: `tls-port 0`.

use super::{Config, find};

/// A directive that accepts only its default.
struct Refused {
    name: &'static str,
    /// The unsupported feature, the consequence of ignoring it, and the remedy.
    why: &'static str,
}

const REFUSED: &[Refused] = &[
    #[cfg(not(feature = "tls"))]
    Refused { name: "tls-port", why: NO_TLS },
    #[cfg(not(feature = "tls"))]
    Refused { name: "tls-replication", why: NO_TLS },
    #[cfg(not(feature = "tls"))]
    Refused { name: "tls-cluster", why: NO_TLS },
];

#[cfg(not(feature = "tls"))]
const NO_TLS: &str = "TLS is not supported by this build, so no connection would be encrypted. Set it to the \
                      default, or build the server with `cargo build --release --features tls` or `make static TLS=1`";

/// Whether the directive `name` may be refused.
pub(super) fn is_refusable(name: &str) -> bool {
    REFUSED.iter().any(|refused| refused.name == name)
}

/// Returns the first directive of `config` with a refused value, and the reason.
pub(super) fn first(config: &Config) -> Option<(&'static str, &'static str)> {
    let defaults = Config::default();
    REFUSED
        .iter()
        .find(|refused| {
            find(refused.name.as_bytes())
                .is_some_and(|directive| directive.show(config) != directive.show(&defaults))
        })
        .map(|refused| (refused.name, refused.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_directive_is_one_without_effect() {
        for refused in REFUSED {
            let directive = find(refused.name.as_bytes()).expect(refused.name);
            assert!(directive.effect.why().is_some(), "{}", refused.name);
        }
        assert_eq!(first(&Config::default()), None);
    }
}
