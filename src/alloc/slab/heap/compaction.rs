//! Which slabs a defragmentation empties: of many sparse slabs of a class, a few that are full remain.
//!
//! ```text
//!  partial slabs of a class     ░ ░ ░ ░ ▒ ▒ ▓ █        what is used of each
//!                               └─ leaving ─┘ └ kept: their free blocks hold what is used of the others
//! ```
//!
//! The plan is made for each class on its own. It counts the partial slabs by how full they are, in [`FILLS`] steps, and
//! keeps the fullest, as few as have room for the blocks of the rest. So a block moves once at most, and every slab that
//! *leaves* is given back when its last block has moved. Of slabs that are about equally full, as random deletions leave
//! them, those at high addresses leave: the pool takes low ones first, and free memory then lies together.
//!
//! A leaving slab is in a list of its own, from which nothing is allocated while its heap compacts; that is all that
//! guarantees that a move never ends in a slab that is to be emptied. Afterwards the slabs that are left there (what owns
//! their blocks was not met) serve allocations after the partial ones do.
//!
//! Costs: two walks over the records of all slabs, 64 bytes for each 64 KiB, in steps of some regions.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

use super::{CLASSES, HEAP, Heap, LEAVING, NEVER, Slab};
use crate::alloc::slab::class;
use crate::alloc::slab::pool::{self, WIDE};
use crate::alloc::slab::remote::Remote;
use crate::alloc::slab::space;

/// In how many steps the plan tells slabs apart by how full they are.
const FILLS: usize = 16;

/// The partial slabs of a class.
#[derive(Clone, Copy)]
struct Class {
    /// How many there are of each fill, what is used of them and what is free, in blocks.
    slabs: [u32; FILLS],
    used: [u64; FILLS],
    free: [u64; FILLS],
    /// Slabs of a lower fill leave, and so many of this one.
    kept_fill: usize,
    leave_of_kept: u32,
}

impl Class {
    const NONE: Class =
        Class { slabs: [0; FILLS], used: [0; FILLS], free: [0; FILLS], kept_fill: 0, leave_of_kept: 0 };

    /// Keeps the fullest slabs, as few as have room for what is used of the others.
    fn decide(&mut self) {
        let (mut room, mut rest) = (0, self.used.iter().sum::<u64>());
        for fill in (0..FILLS).rev() {
            let slabs = u64::from(self.slabs[fill]);
            if room + self.free[fill] < rest - self.used[fill] {
                room += self.free[fill];
                rest -= self.used[fill];
                continue;
            }
            // Each slab of this fill that is kept brings its free blocks and takes its used ones from the rest.
            let blocks = self.free[fill] + self.used[fill];
            let kept = (rest.saturating_sub(room) * slabs).checked_div(blocks).unwrap_or(0) + 1;
            self.kept_fill = fill;
            self.leave_of_kept = slabs.saturating_sub(kept) as u32;
            return;
        }
    }

    /// Whether the next slab of this fill leaves.
    fn takes_leave(&mut self, fill: usize) -> bool {
        let of_kept = fill == self.kept_fill && self.leave_of_kept > 0;
        self.leave_of_kept -= u32::from(of_kept);
        of_kept || fill < self.kept_fill
    }
}

/// What the walk over all slabs is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Count,
    Choose,
    Done,
}

/// A compaction of this thread's heap, from its plan on until it is dropped. There is one at a time.
pub struct Compaction {
    classes: Vec<Class>,
    pass: Pass,
    /// Regions that the pass has still to visit are those below.
    next: usize,
    leaving_bytes: usize,
    /// It is of the heap of one thread.
    thread: PhantomData<*const ()>,
}

impl Compaction {
    /// Nothing is planned yet.
    pub fn new() -> Compaction {
        Compaction {
            classes: vec![Class::NONE; CLASSES],
            pass: Pass::Count,
            next: usize::MAX,
            leaving_bytes: 0,
            thread: PhantomData,
        }
    }

    /// Goes on with the plan for up to `regions` regions of 2 MiB; once it is made, returns the bytes of the slabs that
    /// leave.
    pub fn plan(&mut self, regions: usize) -> Option<usize> {
        let heap = HEAP.get();
        let (first, usable) = pool::usable_regions();
        let from = self.next.min(usable);
        let to = from.saturating_sub(regions).max(first);
        for number in (to..from).rev() {
            match self.pass {
                Pass::Count => pool::for_each_taken_of(number, |index| self.count(heap, index)),
                Pass::Choose => pool::for_each_taken_of(number, |index| self.choose(heap, index)),
                Pass::Done => break,
            }
        }
        self.next = to;
        if to <= first {
            self.next = usize::MAX;
            self.end_pass(heap);
        }
        (self.pass == Pass::Done).then_some(self.leaving_bytes)
    }

    fn end_pass(&mut self, heap: &Heap) {
        self.pass = match self.pass {
            Pass::Count => {
                self.classes.iter_mut().for_each(Class::decide);
                heap.compacting.set(true);
                Pass::Choose
            }
            Pass::Choose | Pass::Done => Pass::Done,
        };
    }

    fn count(&mut self, heap: &Heap, index: u32) {
        let Some((slab, used)) = partial(heap, index) else { return };
        let (class, fill) = (&mut self.classes[slab.class()], fill(slab, used));
        class.slabs[fill] += 1;
        class.used[fill] += u64::from(used);
        class.free[fill] += u64::from(slab.capacity() - used);
    }

    fn choose(&mut self, heap: &Heap, index: u32) {
        let Some((slab, used)) = partial(heap, index) else { return };
        let leaves = self.classes[slab.class()].takes_leave(fill(slab, used));
        if leaves != slab.is_leaving() {
            heap.unlink(slab);
            slab.set_leaving(leaves);
            heap.link(slab, index);
        }
        if leaves {
            self.leaving_bytes += slab.shape().bytes();
        }
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        HEAP.get().compacting.set(false);
    }
}

/// The slab, and its used blocks, if it is a partial one of this heap. Called with the pool's lock held, so that a slab
/// which another thread gives back is not taken by anybody meanwhile; others never give back a partial one.
fn partial(heap: &Heap, index: u32) -> Option<(&'static Slab, u32)> {
    // SAFETY: the slab was taken once.
    let slab = unsafe { space::slab(index) };
    if !ptr::eq(slab.owner.load(Ordering::Relaxed), heap) {
        return None;
    }
    let event = slab.event.load(Ordering::Relaxed);
    if event == NEVER || event == slab.full_event() {
        return None;
    }
    let remote = Remote(slab.remote.load(Ordering::Relaxed)).count();
    Some((slab, slab.used.get().saturating_sub(remote)))
}

fn fill(slab: &Slab, used: u32) -> usize {
    (used as usize * FILLS / slab.capacity() as usize).min(FILLS - 1)
}

/// Whether the block lies in a slab that leaves, while this thread's heap compacts.
#[inline]
pub fn is_leaving(block: NonNull<u8>, size: usize) -> bool {
    let heap = HEAP.get();
    if !heap.compacting.get() || size > class::LARGEST || space::slab_of(block).is_none() {
        return false;
    }
    let mut index = space::index_of(block);
    if size > class::LARGEST_NARROW {
        index -= index % WIDE as u32;
    }
    // SAFETY: a live block is in the slab, so it was taken.
    let slab = unsafe { space::slab(index) };
    ptr::eq(slab.owner.load(Ordering::Relaxed), heap) && slab.is_leaving()
}

impl Slab {
    pub(super) fn is_leaving(&self) -> bool {
        self.class.get() & LEAVING != 0
    }

    /// Says whether it leaves; it is in no list meanwhile.
    pub(super) fn set_leaving(&self, leaves: bool) {
        self.class.set(self.class() as u16 | if leaves { LEAVING } else { 0 });
    }
}

impl Heap {
    /// The list that a partial slab is in.
    pub(super) fn list_of(&self, slab: &Slab) -> &Cell<u32> {
        if slab.is_leaving() { &self.leaving[slab.class()] } else { &self.partial[slab.class()] }
    }
}
