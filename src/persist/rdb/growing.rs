//! Values that are read in steps, so that the event loop runs while a huge one is loaded.
//!
//! ```text
//!  load_whole ─▶ an entry                   strings, and collections that are stored as one string
//!             └▶ begin ─▶ step … step ─▶ finish ─▶ an entry
//!                         └ elements, one after the other, as long as the caller allows
//! ```
//!
//! The decoder of a form that lists its elements ([`Decoder`]) has read the count when it begins, and reads one element
//! per step. A value that is read at once takes the same path. Between two steps, the decoder holds all elements that
//! were read in the structure that the key will have, so [`finish`](Growing::finish) is cheap, whatever the size.
//!
//! A value or node that is one string in the input is decoded in one step: a string, a listpack, a ziplist or
//! an intset. The configuration of the server that wrote them limits the last three
//! (`hash-max-listpack-entries` and the like, 512 elements by default; 64 KiB for a node of a list or a
//! stream). A listpack cannot be used before all of it has been checked.

use super::{Input, LoadError, Target, hash, list, set, sorted_set, stream, string, types};
use crate::types::Entry;

/// Decodes a form of collection, element by element.
pub(super) trait Decoder: Sized {
    /// Whether all elements have been read.
    fn is_complete(&self) -> bool;

    /// Reads the next element, of which there must be one.
    fn step(&mut self, input: &mut impl Input, target: Target<'_>) -> Result<(), LoadError>;

    /// Makes an entry of the elements, all of which must have been read.
    fn finish(self, target: Target<'_>) -> Result<Entry, LoadError>;

    /// See [`Growing::step`].
    #[inline]
    fn run<I: Input>(
        &mut self,
        input: &mut I,
        target: Target<'_>,
        goes_on: impl Fn(&I) -> bool,
    ) -> Result<bool, LoadError> {
        while !self.is_complete() {
            if !goes_on(input) {
                return Ok(false);
            }
            self.step(input, target)?;
        }
        Ok(true)
    }
}

/// A collection of which some elements have been read.
pub struct Growing(Form);

enum Form {
    List(list::Elements),
    ListNodes(list::Nodes),
    Set(set::Members),
    SortedSet(Box<sorted_set::Elements>),
    Hash(hash::Fields),
    Stream(Box<stream::Parts>),
}

/// Reads a value of type `type_byte`, if it is not stored element by element. After `None`, call
/// [`Growing::begin`].
#[inline]
pub fn load_whole(
    type_byte: u8,
    input: &mut impl Input,
    target: Target<'_>,
) -> Result<Option<Entry>, LoadError> {
    let whole = match type_byte {
        types::STRING => string::load(input, target),
        types::SET_INTSET => set::load_intset(input, target),
        types::SET_LISTPACK => set::load_listpack(input, target),
        types::ZSET_ZIPLIST => sorted_set::load_ziplist(input, target),
        types::ZSET_LISTPACK => sorted_set::load_listpack(input, target),
        types::HASH_ZIPMAP => hash::load_zipmap(input, target),
        types::HASH_ZIPLIST => hash::load_ziplist(input, target),
        types::HASH_LISTPACK => hash::load_listpack(input, target),
        types::HASH_LISTPACK_EX => hash::load_timed_listpack(input, target),
        _ => return Ok(None),
    };
    whole.map(Some)
}

impl Growing {
    /// Begins to read a value of type `type_byte` that is stored element by element.
    pub fn begin(type_byte: u8, input: &mut impl Input, target: Target<'_>) -> Result<Growing, LoadError> {
        use list::{NodeForm, Nodes};
        use sorted_set::ScoreForm;
        let sorted_set = |form, input| {
            sorted_set::Elements::begin(form, input, target).map(|set| Form::SortedSet(Box::new(set)))
        };
        let stream =
            |form, input| stream::Parts::begin(form, input).map(|parts| Form::Stream(Box::new(parts)));
        Ok(Growing(match type_byte {
            types::LIST => Form::List(list::Elements::begin(input, target)?),
            types::LIST_ZIPLIST => Form::ListNodes(Nodes::new(NodeForm::Ziplist, 1)),
            types::LIST_QUICKLIST => Form::ListNodes(Nodes::new(NodeForm::Ziplist, input.length()?)),
            types::LIST_QUICKLIST_2 => Form::ListNodes(Nodes::new(NodeForm::Listpack, input.length()?)),
            types::SET => Form::Set(set::Members::begin(input, target)?),
            types::ZSET => sorted_set(ScoreForm::Printed, input)?,
            types::ZSET_2 => sorted_set(ScoreForm::Binary, input)?,
            types::HASH => Form::Hash(hash::Fields::begin(input, target)?),
            types::HASH_METADATA => Form::Hash(hash::Fields::begin_timed(input, target)?),
            types::STREAM => stream(stream::Form::Basic, input)?,
            types::STREAM_2 => stream(stream::Form::Counted, input)?,
            types::STREAM_3 => stream(stream::Form::Timed, input)?,
            other => return Err(LoadError::UnknownType(other)),
        }))
    }

    /// Reads elements as long as `goes_on` returns true for the input. Returns whether all have been read.
    /// All steps get the same target; only its limits may change in between.
    pub fn step<I: Input>(
        &mut self,
        input: &mut I,
        target: Target<'_>,
        goes_on: impl Fn(&I) -> bool,
    ) -> Result<bool, LoadError> {
        match &mut self.0 {
            Form::List(list) => list.run(input, target, goes_on),
            Form::ListNodes(list) => list.run(input, target, goes_on),
            Form::Set(set) => set.run(input, target, goes_on),
            Form::SortedSet(set) => set.run(input, target, goes_on),
            Form::Hash(hash) => hash.run(input, target, goes_on),
            Form::Stream(stream) => stream.run(input, target, goes_on),
        }
    }

    /// Makes an entry of a collection whose elements have all been read.
    pub fn finish(self, target: Target<'_>) -> Result<Entry, LoadError> {
        match self.0 {
            Form::List(list) => list.finish(target),
            Form::ListNodes(list) => list.finish(target),
            Form::Set(set) => set.finish(target),
            Form::SortedSet(set) => set.finish(target),
            Form::Hash(hash) => hash.finish(target),
            Form::Stream(stream) => stream.finish(target),
        }
    }
}

/// Reads a value of type `type_byte` and makes an entry of it. Reads exactly the value's bytes. Refuses a collection
/// without elements, unless it is a stream, and one with duplicate elements.
#[inline]
pub fn load_value(type_byte: u8, input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    if let Some(entry) = load_whole(type_byte, input, target)? {
        return Ok(entry);
    }
    let mut growing = Growing::begin(type_byte, input, target)?;
    growing.step(input, target, |_| true)?;
    growing.finish(target)
}

#[cfg(test)]
mod tests;
