//! The lengths of a set of names, so that the names that another name starts with are found by one lookup per
//! length.

use std::collections::BTreeMap;

/// Lengths, each with the number of names that have it.
#[derive(Debug, Default)]
pub struct Lengths(BTreeMap<usize, usize>);

impl Lengths {
    /// Whether there are no names.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a name of this length.
    pub fn add(&mut self, len: usize) {
        *self.0.entry(len).or_default() += 1;
    }

    /// Removes a name of this length.
    pub fn remove(&mut self, len: usize) {
        if let Some(count) = self.0.get_mut(&len) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&len);
            }
        }
    }

    /// Returns the prefixes of `name` that have the length of one of the names, the shortest first.
    pub fn starts<'a>(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.range(..=name.len()).map(|(len, _)| &name[..*len])
    }
}
