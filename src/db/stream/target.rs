//! Calls for one kind of reader: the log alone, or the replicas alone.
//!
//! ```text
//!   stream   … SET a │ SET b │ SET d …        b: only for replicas, c: only for the log
//!   log      … SET a │ SET c │ SET d …        LeftOut(range of b), Inserted(offset of d, bytes of c)
//! ```
//!
//! Offsets count what replicas receive, so that the stream of a replica has the same as its primary's. A call for the
//! log alone is therefore copied out of the chunk when its unit ends. Other calls cost a test when their unit ends.

use std::ops::Range;

use super::chunk::Place;
use super::{MULTI, Stream, Word};

/// Which readers calls are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// All.
    #[default]
    All,
    /// The log.
    Log,
    /// The replicas.
    Replicas,
}

/// A difference between the stream and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForLog {
    /// The log lacks the bytes in this range.
    LeftOut(Range<u64>),
    /// The log has these whole calls before the byte at this offset.
    Inserted(u64, Vec<u8>),
}

/// The part of the current unit that is for one kind of reader.
pub(super) struct Region {
    target: Target,
    /// Where it begins in the tail.
    pub from: Place,
    /// The database that is selected outside of it, if all readers know it.
    outside: Option<usize>,
}

impl Stream {
    /// Sets which readers the calls from now on are for. `selected` is the database that the stream has selected if
    /// that is not known from its calls, since they are a primary's.
    pub fn set_target(&mut self, target: Target, selected: Option<usize>) {
        if self.region.as_ref().map_or(Target::All, |region| region.target) == target {
            if let Some(region) = self.region.as_mut().filter(|region| selected != region.outside)
                && selected.is_some()
            {
                (region.outside, self.selected) = (selected, None);
            }
            return;
        }
        self.end_region();
        self.region = None;
        if target != Target::All {
            let outside = selected.or(self.selected);
            if selected.is_some() {
                self.selected = None;
            }
            self.region = Some(Region { target, from: self.tail.end_place(), outside });
        }
    }

    /// [`Stream::push`] for the replicas alone, whatever the calls around it are for; nothing if those are for the log alone.
    /// The call does not depend on its database, which is selected for all readers.
    pub fn push_for_replicas<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        match self.region.as_ref().map(|region| region.target) {
            Some(Target::Log) => {}
            Some(Target::Replicas | Target::All) => self.push(db, words),
            None => {
                if self.selected != Some(db) {
                    self.select(db);
                }
                self.set_target(Target::Replicas, None);
                self.push(db, words);
                self.set_target(Target::All, None);
            }
        }
    }

    /// Ends the current part of the region: its calls become differences of the log.
    fn end_region(&mut self) {
        let Some(&Region { target, from, outside }) = self.region.as_ref() else { return };
        if self.tail.end_place() != from {
            match outside {
                Some(db) if self.selected != outside => self.write_select(db),
                _ => self.selected = outside,
            }
            let start = self.tail.offset(from);
            let difference = if target == Target::Log {
                ForLog::Inserted(start, self.tail.cut(from))
            } else {
                ForLog::LeftOut(start..self.tail.end())
            };
            if self.for_log.is_some() {
                self.for_log_of_unit.push(difference);
            }
        }
        self.begin_region_here();
    }

    fn begin_region_here(&mut self) {
        let end = self.tail.end_place();
        if let Some(region) = &mut self.region {
            region.from = end;
        }
    }

    /// Calls `enclose`, which encloses the current unit in `MULTI` and `EXEC`: within the region if that is the whole
    /// unit, and otherwise for all readers.
    pub(super) fn frame(&mut self, enclose: impl FnOnce(&mut Stream)) {
        if self.region.as_ref().is_some_and(|region| region.from == self.unit) {
            return enclose(self);
        }
        self.end_region();
        enclose(self);
        for difference in &mut self.for_log_of_unit {
            let by = MULTI.len() as u64;
            match difference {
                ForLog::LeftOut(range) => *range = range.start + by..range.end + by,
                ForLog::Inserted(at, _) => *at += by,
            }
        }
        self.begin_region_here();
    }

    /// Ends the region of a unit that ends. What follows begins another one.
    #[cold]
    pub(super) fn settle_region(&mut self) {
        self.end_region();
        if let Some(for_log) = &mut self.for_log {
            for_log.append(&mut self.for_log_of_unit);
        }
        self.for_log_of_unit.clear();
    }

    /// Sets whether there is a log, for which differences are recorded.
    pub fn note_for_log(&mut self, wanted: bool) {
        self.for_log = wanted.then(|| self.for_log.take().unwrap_or_default());
    }

    /// Takes the recorded differences of settled units, in order.
    pub fn take_for_log(&mut self) -> Vec<ForLog> {
        self.for_log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The bytes of the recorded calls that only the log has.
    pub fn only_for_log(&self) -> usize {
        let length = |difference: &ForLog| match difference {
            ForLog::Inserted(_, bytes) => bytes.len(),
            ForLog::LeftOut(_) => 0,
        };
        self.for_log.iter().flatten().map(length).sum()
    }
}
