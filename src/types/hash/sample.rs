//! Random fields of a hash, each with the same chance.
//!
//! Packed forms are walked once and then picked from by index. Of a table distinct fields are drawn until there are
//! enough where few are wanted (up to a third), else one walk takes each field with the chance that is left for it
//! (selection sampling: Knuth, The Art of Computer Programming 2, 3.4.2 S), which needs no memory.

use std::collections::HashSet;

use super::{Form, HashRef, Item};
use crate::types::random::Random;
use crate::types::string::Text;

impl<'a> HashRef<'a> {
    /// A random field.
    pub fn random(&self, random: &mut Random) -> Option<Item<'a>> {
        if let Form::Table(hash) = self.form {
            return hash.random(self.now, random).map(Item::from);
        }
        self.iter().nth(random.below(self.len()))
    }

    /// Emits `count` random fields, each drawn from all of them.
    pub fn sample_repeated(&self, count: u64, random: &mut Random, emit: &mut impl FnMut(Item<'a>)) {
        if let Form::Table(hash) = self.form {
            for _ in 0..count {
                let Some(field) = hash.random(self.now, random) else { return };
                emit(field.into());
            }
            return;
        }
        let all: Vec<Item<'a>> = self.iter().collect();
        for _ in 0..count {
            emit(all[random.below(all.len())]);
        }
    }

    /// Emits `count` random fields, no two the same, where there are as many.
    pub fn sample_distinct(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(Item<'a>)) {
        let len = self.len();
        let count = count.min(len);
        if let Form::Table(_) = self.form
            && count <= len / 3
        {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(item) = self.random(random) else { return };
                if let Text::Bytes(name) = item.field
                    && seen.insert(name)
                {
                    emit(item);
                }
            }
            return;
        }
        let mut wanted = count;
        for (met, item) in self.iter().enumerate() {
            if wanted == 0 {
                return;
            }
            if random.below(len - met) < wanted {
                emit(item);
                wanted -= 1;
            }
        }
    }
}
