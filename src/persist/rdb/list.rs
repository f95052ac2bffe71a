//! A list: nodes, each a listpack or a single large element.
//!
//! ```text
//!  18  nodes, then for each: 2 and a listpack, or 1 and an element
//!  14  nodes, then a ziplist for each          (before 7.0)
//!  10  a ziplist                               (before 3.2)
//!   1  elements, then each                     (before 3.2)
//! ```
//!
//! A list that is a single listpack in memory is written as a list of one node, as in Redis.

use super::{Encoder, Input, LoadError, Sink, Target, ziplist};
use crate::types::list::{self, End, NodeLimits, Quicklist};
use crate::types::{Encoding, Entry, Kind, listpack};

/// A node that is an element.
const PLAIN: u64 = 1;
/// A node that is a listpack.
const PACKED: u64 = 2;

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    let Some(list) = entry.container::<Quicklist>() else {
        out.length(1);
        out.length(PACKED);
        return out.listpack(entry.packed());
    };
    let mut left = list.node_count();
    out.length(left as u64);
    list.for_each_node(|plain, bytes| {
        left = left.checked_sub(1).expect("as many nodes as were announced");
        out.length(if plain { PLAIN } else { PACKED });
        if plain { out.string(bytes) } else { out.listpack(bytes) }
    });
    assert!(left == 0, "{left} nodes were announced and not written");
}

/// Type 18.
pub(super) fn load_nodes(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let mut list = Quicklist::default();
    for _ in 0..input.length()? {
        let container = input.length()?;
        let bytes = input.string()?.into_bytes();
        match container {
            // Only a large element has a node of its own.
            PLAIN if bytes.is_empty() => return Err(LoadError::Malformed("an empty node")),
            PLAIN => list.push_node(true, &bytes, target.shapes),
            PACKED => {
                let bytes =
                    listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?;
                list.push_node(false, &bytes, target.shapes);
            }
            _ => return Err(LoadError::Malformed("an unknown kind of node")),
        }
    }
    finish(list, target)
}

/// Types 14 and 10.
pub(super) fn load_ziplists(
    input: &mut impl Input,
    count: u64,
    target: Target<'_>,
) -> Result<Entry, LoadError> {
    let mut list = Quicklist::default();
    for _ in 0..count {
        let bytes = ziplist::to_listpack(&input.string()?.into_bytes())?;
        list.push_node(false, &bytes, target.shapes);
    }
    finish(list, target)
}

fn finish(list: Quicklist, target: Target<'_>) -> Result<Entry, LoadError> {
    if list.is_empty() {
        return Err(LoadError::EMPTY);
    }
    Ok(match list.as_listpack(NodeLimits::new(target.shapes)) {
        Some(bytes) => {
            Entry::with_packed(target.key, Kind::List, Encoding::Listpack, &bytes, target.expire_at)
        }
        None => Entry::with_container(target.key, list, target.expire_at),
    })
}

/// Type 1.
pub(super) fn load_elements(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let count = input.length()?;
    if count == 0 {
        return Err(LoadError::EMPTY);
    }
    let mut entry = list::create(target.key);
    for _ in 0..count {
        let element = input.string()?.into_bytes();
        list::expect(&mut entry, std::iter::once(&*element), target.shapes);
        list::push(&mut entry, End::Back, &element, target.shapes);
    }
    entry.set_expire(target.expire_at);
    Ok(entry)
}
