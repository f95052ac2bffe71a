//! Iteration over the members of a set.

use super::SetRef;
use crate::dict;
use crate::types::member::Member;
use crate::types::string::Text;
use crate::types::{intset, listpack};

/// The iterator of [`SetRef::members`].
pub struct Iter<'a>(Inner<'a>);

enum Inner<'a> {
    Intset(intset::Iter<'a>),
    Listpack(listpack::Iter<'a>),
    Table(dict::Iter<'a, Member>),
}

impl<'a> Iter<'a> {
    pub(super) fn new(set: SetRef<'a>) -> Iter<'a> {
        Iter(match set {
            SetRef::Intset(set) => Inner::Intset(set.iter()),
            SetRef::Listpack(listpack) => Inner::Listpack(listpack.iter()),
            SetRef::Table(table) => Inner::Table(table.members().iter()),
        })
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        match &mut self.0 {
            Inner::Intset(iter) => iter.next().map(Text::Int),
            Inner::Listpack(iter) => iter.next(),
            Inner::Table(iter) => iter.next().map(|member| Text::Bytes(member.key())),
        }
    }
}
