//! The patterns of BY and GET: the name of a key, with a star in place of the element, and optionally a hash field.
//!
//! ```text
//!  weight_*          the string under weight_<element>
//!  user_*->name      the field name of the hash under user_<element>
//!  #                 the element itself
//!  anything else     nothing: without a star the key does not depend on the element
//! ```

use std::ops::Range;

use crate::command::context::Context;
use crate::db::{Access, Key, Position};
use crate::text::words::shown;

/// A parsed pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// `#`.
    Element,
    /// A pattern without a star.
    Nothing,
    /// The text before and after the star, and the field.
    Key {
        /// Before the star.
        prefix: &'a [u8],
        /// Between the star and the arrow, or the end.
        suffix: &'a [u8],
        /// After the arrow.
        field: Option<&'a [u8]>,
    },
}

/// Whether a pattern has a star. BY with a pattern without one disables sorting.
pub fn has_star(pattern: &[u8]) -> bool {
    memchr::memchr(b'*', shown(pattern)).is_some()
}

impl<'a> Pattern<'a> {
    /// Parses a pattern. Star and arrow are only recognised before the first zero byte.
    pub fn parse(text: &'a [u8]) -> Pattern<'a> {
        let visible = shown(text);
        if visible == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', visible) else { return Pattern::Nothing };
        let behind = star + 1;
        let arrow = memchr::memmem::find(&visible[behind..], b"->").map(|found| behind + found);
        // An arrow at the end is part of the key.
        match arrow.filter(|arrow| arrow + 2 < visible.len()) {
            Some(arrow) => Pattern::Key {
                prefix: &text[..star],
                suffix: &text[behind..arrow],
                field: Some(&text[arrow + 2..]),
            },
            None => Pattern::Key { prefix: &text[..star], suffix: &text[behind..], field: None },
        }
    }
}

/// The result of a pattern for an element.
#[derive(Clone, Copy)]
pub enum Found<'a> {
    /// Nothing: the key is missing, or the pattern has no star.
    Nothing,
    /// The element itself.
    Element(&'a [u8]),
    /// The entry of a key, of any type, and a field if it should be a hash.
    Entry(Position, Option<&'a [u8]>),
}

/// The number of keys that are prefetched together, so that their cache misses overlap.
const GROUP: usize = 16;

enum Lookup<'a> {
    Done(Found<'a>),
    Key { name: Range<usize>, hash: u64, field: Option<&'a [u8]> },
}

/// Looks up each pattern with its element and calls `visit` with the results, in order. A position is valid until the
/// next lookup.
pub fn follow<'a>(
    ctx: &mut Context<'_>,
    mut requests: impl Iterator<Item = (Pattern<'a>, &'a [u8])>,
    mut visit: impl FnMut(&mut Context<'_>, Found<'a>),
) {
    let (mut keys, mut group) = (Vec::new(), Vec::with_capacity(GROUP));
    loop {
        keys.clear();
        group.clear();
        group.extend(requests.by_ref().take(GROUP).map(|(pattern, element)| match pattern {
            Pattern::Element => Lookup::Done(Found::Element(element)),
            Pattern::Nothing => Lookup::Done(Found::Nothing),
            Pattern::Key { prefix, suffix, field } => {
                let start = keys.len();
                for part in [prefix, element, suffix] {
                    keys.extend_from_slice(part);
                }
                let hash = ctx.keyspace.hash(&keys[start..]);
                ctx.db().prefetch_bucket(hash);
                Lookup::Key { name: start..keys.len(), hash, field }
            }
        }));
        if group.is_empty() {
            return;
        }
        for lookup in &group {
            if let Lookup::Key { hash, .. } = lookup {
                ctx.db().prefetch_entry(*hash);
            }
        }
        for lookup in &group {
            let found = match lookup {
                Lookup::Done(found) => *found,
                Lookup::Key { name, hash, field } => {
                    let key = Key { db: ctx.session.db, hash: *hash, name: &keys[name.clone()] };
                    ctx.find(key, Access::Read).map_or(Found::Nothing, |at| Found::Entry(at, *field))
                }
            };
            visit(ctx, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(prefix: &'a [u8], suffix: &'a [u8], field: Option<&'a [u8]>) -> Pattern<'a> {
        Pattern::Key { prefix, suffix, field }
    }

    #[test]
    fn a_pattern_is_split_at_its_first_star_and_the_arrow_behind_it() {
        assert_eq!(Pattern::parse(b"w_*"), key(b"w_", b"", None));
        assert_eq!(Pattern::parse(b"*"), key(b"", b"", None));
        assert_eq!(Pattern::parse(b"a*b*c"), key(b"a", b"b*c", None));
        assert_eq!(Pattern::parse(b"a*b->c"), key(b"a", b"b", Some(b"c")));
        assert_eq!(Pattern::parse(b"a*->b->c"), key(b"a", b"", Some(b"b->c")));
        assert_eq!(Pattern::parse(b"a->b*"), key(b"a->b", b"", None));
        assert_eq!(Pattern::parse(b"a*->"), key(b"a", b"->", None));
        assert_eq!(Pattern::parse(b"*->*"), key(b"", b"", Some(b"*")));
    }

    #[test]
    fn a_pattern_without_a_star_leads_nowhere_or_to_the_element() {
        assert_eq!(Pattern::parse(b"#"), Pattern::Element);
        for text in [&b""[..], b"##", b"key", b"a->b"] {
            assert_eq!(Pattern::parse(text), Pattern::Nothing);
            assert!(!has_star(text));
        }
        assert!(has_star(b"#*"));
    }

    #[test]
    fn what_follows_a_zero_byte_is_neither_star_nor_arrow() {
        assert_eq!(Pattern::parse(b"#\0x"), Pattern::Element);
        assert_eq!(Pattern::parse(b"a\0*"), Pattern::Nothing);
        assert_eq!(Pattern::parse(b"a*\0->b"), key(b"a", b"\0->b", None));
        assert_eq!(Pattern::parse(b"a*->b\0c"), key(b"a", b"", Some(b"b\0c")));
        assert_eq!(Pattern::parse(b"a*->\0c"), key(b"a", b"->\0c", None));
    }
}
