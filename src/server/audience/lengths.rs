//! The lengths of some names, so that those which begin another name are found by one lookup for each length.

use std::collections::BTreeMap;

/// Lengths, each with how many names have it.
#[derive(Debug, Default)]
pub struct Lengths(BTreeMap<usize, usize>);

impl Lengths {
    /// Whether there is no name.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A name of this length is added.
    pub fn add(&mut self, len: usize) {
        *self.0.entry(len).or_default() += 1;
    }

    /// A name of this length is gone.
    pub fn remove(&mut self, len: usize) {
        if let Some(count) = self.0.get_mut(&len) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&len);
            }
        }
    }

    /// What `name` begins with, as long as one of the names; the shortest first.
    pub fn starts<'a>(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.range(..=name.len()).map(|(len, _)| &name[..*len])
    }
}
