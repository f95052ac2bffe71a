//! Glob patterns in Redis's dialect: `*` any run, `?` any byte, `[a-z]`, `[^a]`, `\x` the byte x.
//!
//! Matches bytes, not characters; ASCII case is ignored on request. On a mismatch only the *last* `*` needs to match
//! one more byte (anything that an earlier star could match, the last one can too). So two saved positions replace
//! recursion, and the cost is at most pattern × text, even for `a*a*a*a*b`.

/// Whether `pattern` matches all of `text`.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        // Redis ignores the pattern here, except that `*` alone matches everything.
        return matches!(pattern, [] | [b'*']);
    }
    let (mut p, mut t) = (0, 0);
    // Where to resume after a mismatch: the pattern position after the last star, and the text position to try it at.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            let Some(tried) = candidate(pattern, p, text, t, ignore_case) else { return false };
            t = tried;
            retry = Some((p, t));
            continue;
        }
        let Some(&byte) = text.get(t) else {
            // A longer match of the star would leave even less text for the rest of the pattern.
            return p == pattern.len();
        };
        // Most pattern elements are plain bytes.
        let plain = pattern.get(p).is_some_and(|&element| element == byte && !is_special(element));
        let next = if plain { Some(p + 1) } else { match_one(pattern, p, byte, ignore_case) };
        if let Some(next) = next {
            (p, t) = (next, t + 1);
        } else if let Some((after_star, tried)) = retry {
            let Some(tried) = candidate(pattern, after_star, text, tried + 1, ignore_case) else {
                return false;
            };
            (p, t) = (after_star, tried);
            retry = Some((p, t));
        } else {
            return false;
        }
    }
}

/// Returns the first position from `t` on at which the pattern after a star, from `p` on, is worth trying.
#[inline]
fn candidate(pattern: &[u8], p: usize, text: &[u8], t: usize, ignore_case: bool) -> Option<usize> {
    match pattern.get(p) {
        Some(&element) if !ignore_case && !is_special(element) => {
            memchr::memchr(element, &text[t..]).map(|found| t + found)
        }
        _ => Some(t),
    }
}

#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// Matches one byte against the pattern element at `p` (never a star). Returns the position after the element if it
/// matches.
fn match_one(pattern: &[u8], p: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let (literal, next) = match *pattern.get(p..)? {
        [] => return None,
        [b'?', ..] => return Some(p + 1),
        [b'[', ..] => {
            let (fits, next) = match_class(pattern, p + 1, byte, ignore_case);
            return fits.then_some(next);
        }
        [b'\\', escaped, ..] => (escaped, p + 2),
        [other, ..] => (other, p + 1),
    };
    (fold(literal, ignore_case) == fold(byte, ignore_case)).then_some(next)
}

/// Matches a byte against the class that starts after the `[` before `p`. An unclosed class ends with the pattern. An
/// escaped member keeps its case even if case is ignored. The ends of a descending range are swapped. Bytes in ranges
/// are signed, like C's `char` on x86: those from 128 on come before the ASCII ones.
fn match_class(pattern: &[u8], mut p: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let folded = fold(byte, ignore_case);
    let mut found = false;
    loop {
        match pattern[p..] {
            [] => return (found != negated, p),
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                p += 2;
            }
            [b']', ..] => return (found != negated, p + 1),
            [from, b'-', to, ..] => {
                let (low, high) = if rank(from) <= rank(to) { (from, to) } else { (to, from) };
                let range = rank(fold(low, ignore_case))..=rank(fold(high, ignore_case));
                found |= range.contains(&rank(folded));
                p += 3;
            }
            [member, ..] => {
                found |= fold(member, ignore_case) == folded;
                p += 1;
            }
        }
    }
}

/// A byte's rank in signed order.
fn rank(byte: u8) -> u8 {
    byte ^ 0x80
}

#[inline]
fn fold(byte: u8, ignore_case: bool) -> u8 {
    if ignore_case { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn each_element_matches_what_it_stands_for() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("***", "anything"),
            ("a**", "a"),
            ("h?llo", "hello"),
            ("h*llo", "hllo"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("[^]", "x"),
            ("[a-]", "^"),
            ("*a*b", "xaxbxb"),
            ("a*?", "ab"),
            ("foo*", "foo"),
        ] {
            assert!(hit(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("**", ""),
            ("?", ""),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("[]", "a"),
            ("[^a", ""),
            ("*a", "ab"),
            ("a?*", "a"),
            ("A", "a"),
            ("\\?", "a"),
            ("[a-]", "-"),
            ("[a-", "b"),
        ] {
            assert!(!hit(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_on_request_but_not_for_an_escaped_member_of_a_class() {
        assert!(matches(b"MAX*", b"maxmemory", true));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(matches(b"\\A", b"a", true));
        assert!(!matches(b"[\\A]", b"a", true));
    }

    #[test]
    fn bytes_above_ascii_come_before_it_in_a_range() {
        assert!(matches(b"[\xe9-a]", b"\x00", false));
        assert!(matches(b"[a-\xe9]", b"\xff", false));
        assert!(!matches(b"[a-\xe9]", b"b", false));
        assert!(matches(b"[\xe0-\xe9]", b"\xe5", false));
    }

    #[test]
    fn many_stars_against_a_long_near_miss_take_polynomial_time() {
        let pattern = b"a*".repeat(200);
        let mut pattern = pattern.clone();
        pattern.push(b'b');
        assert!(!matches(&pattern, &b"a".repeat(20_000), false));
    }

    /// The definition, in exponential time: a star matches nothing, or one byte and then the star again.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => {
                by_definition(rest, text) || (!text.is_empty() && by_definition(pattern, &text[1..]))
            }
            (_, []) => false,
            (_, [byte, tail @ ..]) => {
                match_one(pattern, 0, *byte, false).is_some_and(|next| by_definition(&pattern[next..], tail))
            }
        }
    }

    proptest! {
        #[test]
        fn retrying_only_the_last_star_gives_the_same_result_as_retrying_every_star(
            pattern in "[abc*?\\[\\]^\\-\\\\]{0,9}", text in "[abc\\-\\]]{0,8}"
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assume!(!text.is_empty());
            prop_assert_eq!(matches(pattern, text, false), by_definition(pattern, text));
        }
    }
}
