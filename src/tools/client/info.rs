//! A server's INFO fields.

use std::collections::BTreeMap;

/// The fields of a reply to INFO, by name.
#[derive(Debug)]
pub struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    /// Parses a reply.
    pub fn of(text: &'a str) -> Fields<'a> {
        Fields(text.lines().filter_map(|line| line.split_once(':')).collect())
    }

    /// Returns the value of a field; empty if it is missing.
    pub fn text(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or("")
    }

    /// Returns a field that is a whole number; `None` if it is missing or is not one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// Returns a field that is a whole number; 0 if it is missing.
    pub fn count(&self, name: &str) -> u64 {
        self.number(name).unwrap_or(0)
    }

    /// Returns a field that is a number; `None` if it is missing or not finite.
    pub fn real(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// Whether a field is a number other than 0.
    pub fn yes(&self, name: &str) -> bool {
        self.count(name) != 0
    }

    /// Whether a status is `ok`, or missing: a server that does not report it has no problem.
    pub fn ok(&self, name: &str) -> bool {
        matches!(self.text(name), "ok" | "")
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().map(|(&name, &value)| (name, value))
    }

    /// Returns the server's product and its own version: other servers with this protocol also report the Redis version
    /// they are compatible with.
    pub fn product(&self) -> Option<(&'static str, &'a str)> {
        const PRODUCTS: [(&str, &str); 5] = [
            ("Redstart", "redstart_version"),
            ("Valkey", "valkey_version"),
            ("Dragonfly", "dragonfly_version"),
            ("KeyDB", "keydb_version"),
            ("Redis", "redis_version"),
        ];
        let mut known = PRODUCTS.iter().map(|&(name, field)| (name, self.text(field)));
        known.find(|(_, version)| !version.is_empty())
    }
}

/// Returns one field of a reply to INFO.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str =
        "# Server\r\nredis_version:7.2.4\r\nredstart_version:0.1.0\r\nused_memory:5\r\nratio:nan\r\n";

    #[test]
    fn fields_have_values_and_a_server_has_a_name() {
        let fields = Fields::of(INFO);
        assert_eq!(
            (fields.count("used_memory"), fields.number("used"), fields.real("ratio")),
            (5, None, None)
        );
        assert_eq!(fields.product(), Some(("Redstart", "0.1.0")));
        assert_eq!(Fields::of("redis_version:7.2.6\r\n").product(), Some(("Redis", "7.2.6")));
        assert_eq!(Fields::of("").product(), None);
        assert_eq!((field(INFO, "used_memory"), field(INFO, "used")), (Some("5"), None));
    }
}
