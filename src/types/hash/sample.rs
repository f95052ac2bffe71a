//! Random fields of a hash, each with the same probability.
//!
//! Packed forms, and tables in which most fields have expired, are walked once and then sampled by index. From other
//! tables, fields are drawn one by one; for many distinct ones, a single walk selects them.

use super::{FieldItem, Form, Hash, HashRef};
use crate::types::random::{Random, is_few};

impl<'a> HashRef<'a> {
    /// The table, if drawing from it is efficient.
    fn drawn_from(&self) -> Option<&'a Hash> {
        match self.form {
            Form::Table(hash) if !hash.is_mostly_expired(self.now) => Some(hash),
            _ => None,
        }
    }

    /// A random field.
    pub fn random(&self, random: &mut Random) -> Option<FieldItem<'a>> {
        if let Form::Table(hash) = self.form {
            return hash.random(self.now, random).map(FieldItem::from);
        }
        self.iter().nth(random.below(self.len()))
    }

    /// Emits `count` random fields, each drawn from all fields, until `emit` returns `false`.
    pub fn sample_repeated(
        &self,
        count: u64,
        random: &mut Random,
        emit: &mut impl FnMut(FieldItem<'a>) -> bool,
    ) {
        if let Some(hash) = self.drawn_from() {
            for _ in 0..count {
                let Some(field) = hash.random(self.now, random) else { return };
                if !emit(field.into()) {
                    return;
                }
            }
            return;
        }
        let all: Vec<FieldItem<'a>> = self.iter().collect();
        for _ in 0..count {
            let Some(item) = all.get(random.below(all.len())) else { return };
            if !emit(*item) {
                return;
            }
        }
    }

    /// Emits `count` distinct random fields, or all if the hash has fewer.
    pub fn sample_distinct(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(FieldItem<'a>)) {
        let len = self.len();
        let count = count.min(len);
        let Some(hash) = self.drawn_from().filter(|_| is_few(count, len)) else {
            return random.select(count, len, self.iter(), emit);
        };
        let draw = |random: &mut Random| hash.random(self.now, random).map(|field| (field.name(), field));
        random.draw_distinct(count, draw, |field| emit(field.into()));
    }
}
