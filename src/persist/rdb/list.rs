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

use super::growing::Decoder;
use super::{Encoder, Input, LoadError, Sink, Target, ziplist};
use crate::types::list::{self, End, NodeLimits, Quicklist};
use crate::types::{Encoding, Entry, Kind, Shapes, listpack};

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

/// How a file stores a node of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeForm {
    /// Type 18: a listpack or an element.
    Listpack,
    /// Types 14 and 10: a ziplist.
    Ziplist,
}

/// Types 18, 14 and 10 under construction, node by node.
pub(super) struct Nodes {
    list: Quicklist,
    form: NodeForm,
    left: u64,
}

impl Nodes {
    /// Begins a list of `count` nodes.
    pub(super) fn new(form: NodeForm, count: u64) -> Nodes {
        Nodes { list: Quicklist::default(), form, left: count }
    }

    fn listpack_or_element(&mut self, input: &mut impl Input, shapes: &Shapes) -> Result<(), LoadError> {
        let container = input.length()?;
        let bytes = input.string()?.into_bytes();
        match container {
            // Only a large element has a node of its own.
            PLAIN if bytes.is_empty() => return Err(LoadError::Malformed("an empty node")),
            PLAIN => self.list.push_node(true, &bytes, shapes),
            PACKED => {
                let bytes =
                    listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?;
                self.list.push_node(false, &bytes, shapes);
            }
            _ => return Err(LoadError::Malformed("an unknown kind of node")),
        }
        Ok(())
    }
}

impl Decoder for Nodes {
    fn is_complete(&self) -> bool {
        self.left == 0
    }

    fn step(&mut self, input: &mut impl Input, target: Target<'_>) -> Result<(), LoadError> {
        self.left -= 1;
        if self.form == NodeForm::Listpack {
            return self.listpack_or_element(input, target.shapes);
        }
        let bytes = ziplist::to_listpack(&input.string()?.into_bytes())?;
        self.list.push_node(false, &bytes, target.shapes);
        Ok(())
    }

    fn finish(self, target: Target<'_>) -> Result<Entry, LoadError> {
        if self.list.is_empty() {
            return Err(LoadError::EMPTY);
        }
        Ok(match self.list.as_listpack(NodeLimits::new(target.shapes)) {
            Some(bytes) => {
                Entry::with_packed(target.key, Kind::List, Encoding::Listpack, &bytes, target.expire_at)
            }
            None => Entry::with_container(target.key, self.list, target.expire_at),
        })
    }
}

/// Type 1 under construction, element by element.
pub(super) struct Elements {
    entry: Entry,
    left: u64,
}

impl Elements {
    /// Begins a list.
    pub(super) fn begin(input: &mut impl Input, target: Target<'_>) -> Result<Elements, LoadError> {
        match input.length()? {
            0 => Err(LoadError::EMPTY),
            left => Ok(Elements { entry: list::create(target.key), left }),
        }
    }
}

impl Decoder for Elements {
    fn is_complete(&self) -> bool {
        self.left == 0
    }

    fn step(&mut self, input: &mut impl Input, target: Target<'_>) -> Result<(), LoadError> {
        self.left -= 1;
        let element = input.string()?.into_bytes();
        list::expect(&mut self.entry, std::iter::once(&*element), target.shapes);
        list::push(&mut self.entry, End::Back, &element, target.shapes);
        Ok(())
    }

    fn finish(mut self, target: Target<'_>) -> Result<Entry, LoadError> {
        self.entry.set_expire(target.expire_at);
        Ok(self.entry)
    }
}
