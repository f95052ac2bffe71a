//! Iteration over the elements of a span of ranks.

use super::SortedSetRef;
use super::packed::PackedElements;
use super::walk::Walk;
use crate::types::string::Text;

/// Elements in order or backwards: member and score.
#[derive(Clone)]
pub struct Elements<'a>(Inner<'a>);

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack of one command")]
enum Inner<'a> {
    Packed(PackedElements<'a>),
    Large(Walk<'a>),
}

impl<'a> Elements<'a> {
    pub(super) fn new(set: SortedSetRef<'a>, from: usize, count: usize, backwards: bool) -> Elements<'a> {
        Elements(match set {
            SortedSetRef::Packed(listpack) => {
                Inner::Packed(PackedElements::new(listpack, from, count, backwards))
            }
            SortedSetRef::Large(set) => Inner::Large(set.range(from, count, backwards)),
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (Text<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Text<'a>, f64)> {
        match &mut self.0 {
            Inner::Packed(pairs) => pairs.next(),
            Inner::Large(walk) => walk.next().map(|(member, score)| (Text::Bytes(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Packed(pairs) => pairs.size_hint(),
            Inner::Large(walk) => walk.size_hint(),
        }
    }
}
