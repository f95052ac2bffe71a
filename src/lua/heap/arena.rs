//! Objects of one type, each identified by its slot number.
//!
//! Slots of dead objects are reused. One bit per slot marks the objects that the running collection has reached.

/// No slot.
const NONE: u32 = u32::MAX;

/// The number of slots whose memory is kept after a peak.
const LEAST_KEPT: usize = 1024;

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
    /// The size of a slot in bytes.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// Stores `object` and returns its slot, which is below 2³¹: more would need more memory than the machine may use.
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

    /// Clears all marks.
    pub fn clear_marks(&mut self) {
        self.marks.clear();
        self.marks.resize(self.slots.len().div_ceil(64), 0);
    }

    /// Marks the object as reached. Returns whether it was not marked before.
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

    /// Bytes of the free slots and of the mark bits.
    pub fn spare_bytes(&self) -> usize {
        (self.slots.capacity() - self.live) * Self::SLOT_BYTES + self.marks.capacity() * size_of::<u64>()
    }

    /// Begins a sweep, which runs from the last slot to the first and rebuilds the free list, so that the lowest free
    /// slot is reused first. Returns the number of slots.
    pub fn begin_sweep(&mut self) -> usize {
        self.first_free = NONE;
        self.slots.len()
    }

    /// Puts a slot on the free list unless its object is marked. Returns the object if there was one.
    #[inline]
    pub fn sweep(&mut self, place: usize) -> Option<T> {
        let is_used = matches!(self.slots[place], Slot::Used(_));
        if is_used && self.is_marked(place) {
            return None;
        }
        let slot = std::mem::replace(&mut self.slots[place], Slot::Free(self.first_free));
        self.first_free = place as u32;
        match slot {
            Slot::Used(object) => {
                self.live -= 1;
                Some(object)
            }
            Slot::Free(_) => None,
        }
    }

    /// Frees memory after a peak: removes the slots `from..to`, which have just been swept, if they are the last ones
    /// and all are free.
    pub fn trim(&mut self, from: usize, to: usize) {
        if to != self.slots.len() || self.slots[from..].iter().any(|slot| matches!(slot, Slot::Used(_))) {
            return;
        }
        self.slots.truncate(from);
        // Only the removed slots were on the free list.
        self.first_free = NONE;
        if self.slots.capacity() > LEAST_KEPT.max(2 * from) {
            self.slots.shrink_to(LEAST_KEPT.max(2 * from));
        }
    }
}

#[cold]
fn dead() -> ! {
    unreachable!("a value names an object that has been freed")
}
