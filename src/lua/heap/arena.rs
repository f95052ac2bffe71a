//! Objects of one type, each at a place that is a small number.
//!
//! Places of objects that have died are used again. A bit for each place says whether the running collection has
//! reached its object.

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    /// The next free slot.
    Free(u32),
}

#[derive(Debug)]
pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    first_free: u32,
    live: usize,
    marks: Vec<u64>,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { slots: Vec::new(), first_free: NONE, live: 0, marks: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Bytes of a slot.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// The place of `object`, which is below 2³¹: more would take more memory than the machine may have.
    pub fn insert(&mut self, object: T) -> u32 {
        self.live += 1;
        if self.first_free == NONE {
            let place = self.slots.len() as u32;
            self.slots.push(Slot::Used(object));
            return place;
        }
        let place = self.first_free;
        let Slot::Free(next) = std::mem::replace(&mut self.slots[place as usize], Slot::Used(object)) else {
            unreachable!("a slot of the free list is in use");
        };
        self.first_free = next;
        place
    }

    #[inline(always)]
    pub fn get(&self, place: usize) -> &T {
        match &self.slots[place] {
            Slot::Used(object) => object,
            Slot::Free(_) => dead(),
        }
    }

    #[inline(always)]
    pub fn get_mut(&mut self, place: usize) -> &mut T {
        match &mut self.slots[place] {
            Slot::Used(object) => object,
            Slot::Free(_) => dead(),
        }
    }

    /// Forgets which objects were reached.
    pub fn clear_marks(&mut self) {
        self.marks.clear();
        self.marks.resize(self.slots.len().div_ceil(64), 0);
    }

    /// Says that the object is reached, and whether this is new.
    #[inline]
    pub fn mark(&mut self, place: usize) -> bool {
        let bit = 1 << (place % 64);
        let word = &mut self.marks[place / 64];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    #[inline]
    pub fn is_marked(&self, place: usize) -> bool {
        self.marks[place / 64] & (1 << (place % 64)) != 0
    }

    /// The number of slots, free ones included.
    pub fn end(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the free slots and of the mark bits.
    pub fn spare_bytes(&self) -> usize {
        (self.slots.capacity() - self.live) * Self::SLOT_BYTES + self.marks.capacity() * size_of::<u64>()
    }

    /// Whether the slot has an object without a mark.
    #[inline]
    pub fn is_dead(&self, place: usize) -> bool {
        !self.is_marked(place) && matches!(self.slots[place], Slot::Used(_))
    }

    /// Takes an object out of its slot.
    pub fn free(&mut self, place: usize) -> T {
        match std::mem::replace(&mut self.slots[place], Slot::Free(self.first_free)) {
            Slot::Used(object) => {
                self.first_free = place as u32;
                self.live -= 1;
                object
            }
            Slot::Free(_) => dead(),
        }
    }

    /// Gives memory back after a peak: free slots at the end, once they are more than three quarters.
    pub fn shrink(&mut self) {
        let used =
            self.slots.iter().rposition(|slot| matches!(slot, Slot::Used(_))).map_or(0, |last| last + 1);
        if used * 4 > self.slots.capacity() || self.slots.capacity() < 256 {
            return;
        }
        self.slots.truncate(used);
        self.slots.shrink_to(used * 2);
        self.first_free = NONE;
        for (place, slot) in self.slots.iter_mut().enumerate().rev() {
            if let Slot::Free(next) = slot {
                *next = self.first_free;
                self.first_free = place as u32;
            }
        }
    }

    /// The places of all objects, in order.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| matches!(slot, Slot::Used(_)))
            .map(|(place, _)| place)
    }
}

#[cold]
fn dead() -> ! {
    unreachable!("a value names an object that has been freed")
}
