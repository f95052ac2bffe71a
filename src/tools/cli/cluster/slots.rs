//! Sets of hash slots as redis-cli shows them: `[0-5460],[7000]`.

use std::fmt;

pub use crate::cluster::{SLOTS, SlotSet};

/// A set in redis-cli's form.
pub struct Shown<'a>(pub &'a SlotSet);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.ranges().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (first, last) = range.into_inner();
            if first == last {
                write!(f, "{comma}[{first}]")?;
            } else {
                write!(f, "{comma}[{first}-{last}]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_is_shown_as_ranges() {
        let mut slots = SlotSet::from_range(0..=5460);
        assert_eq!((Shown(&slots).to_string().as_str(), slots.len()), ("[0-5460]", 5461));
        slots.remove(0);
        slots.remove(100);
        slots.insert(16383);
        slots.insert(16384);
        assert_eq!(Shown(&slots).to_string(), "[1-99],[101-5460],[16383]");
        assert!(slots.contains(16383) && !slots.contains(100) && !slots.contains(16384));
        assert_eq!(SlotSet::from_range(0..=16383).len(), 16384);
        let mut all = SlotSet::default();
        assert!(all.is_empty() && Shown(&all).to_string().is_empty());
        all.extend(slots.iter());
        assert_eq!(all, slots);
    }
}
