//! Protocol versions and cipher suites by their OpenSSL names, which Redis's directives use.
//!
//! rustls supports only TLS 1.2 and 1.3, and only cipher suites with forward secrecy and authenticated encryption. Any
//! other name is an error, so that nobody relies on a setting without effect.

use super::Suites;

/// The cipher suites of TLS 1.2, in order of preference.
pub const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// The cipher suites of TLS 1.3, in order of preference.
pub const SUITES: &[&str] =
    &["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];

/// The protocol versions.
pub const VERSIONS: &[&str] = &["TLSv1.2", "TLSv1.3"];

/// Keywords in a list of ciphers that select all of [`CIPHERS`].
const ALL: &[&str] = &["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2", "AEAD"];

/// Returns the names of the permitted suites: those of TLS 1.3, then those of TLS 1.2, each in the given order.
pub fn suites(suites: &Suites) -> Result<Vec<&'static str>, String> {
    let mut wanted = pick("ciphersuites", &suites.suites, SUITES)?;
    wanted.extend(pick("ciphers", &suites.ciphers, CIPHERS)?);
    Ok(wanted)
}

/// Returns the suites in `list`; all of `known` if it is empty. A word that removes ciphers (`!MD5`) has an effect only
/// if it is the name of a suite in `known`.
fn pick(what: &str, list: &str, known: &'static [&'static str]) -> Result<Vec<&'static str>, String> {
    let words: Vec<&str> = list.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()).collect();
    let (mut picked, mut removed) = (Vec::new(), Vec::new());
    if words.is_empty() {
        picked.extend(known);
    }
    for word in words {
        let find = |name: &str| known.iter().find(|known| **known == name);
        if let Some(name) = word.strip_prefix(['!', '-']) {
            removed.extend(find(name));
        } else if word.starts_with(['@', '+']) {
            // Ignored: `+` only reorders, `@STRENGTH` sorts, and all suites here satisfy any `@SECLEVEL`.
        } else if let Some(suite) = find(word) {
            picked.push(suite);
        } else if known == CIPHERS && ALL.contains(&word) {
            picked.extend(known);
        } else {
            return Err(format!(
                "Failed to configure {what}: {word} is not supported. Supported: {}",
                known.join(", ")
            ));
        }
    }
    let mut kept = Vec::new();
    for suite in picked {
        if !removed.contains(&suite) && !kept.contains(suite) {
            kept.push(*suite);
        }
    }
    if kept.is_empty() {
        return Err(format!("Failed to configure {what}: '{list}' leaves no suite"));
    }
    Ok(kept)
}

/// Returns the versions of a list such as `TLSv1.2 TLSv1.3`; both if it is empty.
pub fn versions(list: &str) -> Result<Vec<&'static str>, String> {
    let mut versions = Vec::new();
    for word in list.split_ascii_whitespace() {
        match VERSIONS.iter().find(|known| word.eq_ignore_ascii_case(known)) {
            Some(version) => versions.push(*version),
            None => {
                return Err(format!(
                    "Invalid tls-protocols specified: {word} is not supported. Use a combination of 'TLSv1.2' and \
                     'TLSv1.3'."
                ));
            }
        }
    }
    if versions.is_empty() {
        versions.extend(VERSIONS);
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_names_select_suites_in_the_given_order() {
        let picked = |list| pick("ciphers", list, CIPHERS).unwrap();
        assert_eq!(picked("").len(), CIPHERS.len());
        assert_eq!(picked("DEFAULT:!MEDIUM:!aNULL@STRENGTH").len(), CIPHERS.len());
        assert_eq!(
            picked("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            [CIPHERS[4], CIPHERS[3]]
        );
        assert_eq!(picked("ALL:!ECDHE-RSA-AES256-GCM-SHA384").len(), CIPHERS.len() - 1);
        assert_eq!(pick("ciphersuites", "TLS_AES_128_GCM_SHA256", SUITES).unwrap(), [SUITES[1]]);
    }

    #[test]
    fn all_suites_are_permitted_by_default() {
        assert_eq!(suites(&Suites::default()).unwrap(), [SUITES, CIPHERS].concat());
    }

    #[test]
    fn an_unsupported_name_is_an_error_that_lists_the_supported_ones() {
        let why = pick("ciphers", "AES128-SHA", CIPHERS).unwrap_err();
        assert!(
            why.contains("AES128-SHA is not supported") && why.contains("ECDHE-RSA-AES128-GCM-SHA256"),
            "{why}"
        );
        assert!(pick("ciphersuites", "ALL", SUITES).is_err());
        let why =
            pick("ciphers", "ECDHE-RSA-AES256-GCM-SHA384:-ECDHE-RSA-AES256-GCM-SHA384", CIPHERS).unwrap_err();
        assert!(why.contains("leaves no suite"), "{why}");
        for word in ["TLSv1", "TLSv1.1", "SSLv3", "nonsense"] {
            assert!(versions(&format!("TLSv1.3 {word}")).unwrap_err().contains(word));
        }
        assert_eq!(versions("tlsv1.3").unwrap(), ["TLSv1.3"]);
    }
}
