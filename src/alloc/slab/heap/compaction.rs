//! The choice of slabs that a defragmentation empties: of many sparse slabs of a class, a few full ones remain.
//!
//! ```text
//!  partial slabs of a class     ░ ░ ░ ░ ▒ ▒ ▓ █        what is used of each
//!                               └─ leaving ─┘ └ kept: their free blocks hold what is used of the others
//! ```
//!
//! The plan is made for each class on its own. It counts the partial slabs by their fill, in [`FILLS`] steps, and keeps
//! the fullest, as few as have room for the blocks of the rest. So a block moves at most once, and every slab that
//! *leaves* is returned to the pool when its last block has moved. Of slabs that are about equally full, as random
//! deletions leave them, those at high addresses leave: the pool takes low ones first, so free memory becomes
//! contiguous.
//!
//! A leaving slab is in a list of its own, from which nothing is allocated while its heap compacts; that alone
//! guarantees that no block moves into a slab that is being emptied. Afterwards the slabs that remain in this list (the
//! owners of their blocks were not met) serve allocations after the partial ones.
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

/// The number of steps in which the plan classifies slabs by their fill.
const FILLS: usize = 16;

/// The partial slabs of a class.
#[derive(Clone, Copy)]
struct Class {
    /// For each fill, the number of slabs, of their used blocks and of their free blocks.
    slabs: [u32; FILLS],
    used: [u64; FILLS],
    free: [u64; FILLS],
    /// Slabs of a lower fill leave, and the given number of this one.
    kept_fill: usize,
    leave_of_kept: u32,
}

impl Class {
    const NONE: Class =
        Class { slabs: [0; FILLS], used: [0; FILLS], free: [0; FILLS], kept_fill: 0, leave_of_kept: 0 };

    /// Keeps the fullest slabs, as few as have room for the used blocks of the others.
    fn decide(&mut self) {
        let (mut room, mut rest) = (0, self.used.iter().sum::<u64>());
        for fill in (0..FILLS).rev() {
            let slabs = u64::from(self.slabs[fill]);
            if room + self.free[fill] < rest - self.used[fill] {
                room += self.free[fill];
                rest -= self.used[fill];
                continue;
            }
            // Each kept slab of this fill adds its free blocks and removes its used ones from the rest.
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

/// The purpose of a walk over all slabs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Count,
    Choose,
    Done,
}

/// A compaction of this thread's heap, from its plan until it is dropped. A thread has at most one at a time.
pub struct Compaction {
    classes: Vec<Class>,
    pass: Pass,
    /// The pass has still to visit the regions below this one.
    next: usize,
    leaving_bytes: usize,
    /// A compaction belongs to one thread's heap.
    thread: PhantomData<*const ()>,
}

impl Compaction {
    /// Returns a compaction without a plan.
    pub fn new() -> Compaction {
        Compaction {
            classes: vec![Class::NONE; CLASSES],
            pass: Pass::Count,
            next: usize::MAX,
            leaving_bytes: 0,
            thread: PhantomData,
        }
    }

    /// Continues the plan for up to `regions` regions of 2 MiB. Once it is complete, returns the bytes of the slabs
    /// that leave.
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

/// Returns the slab and its number of used blocks, if it is a partial one of this heap. Called with the pool's lock
/// held, so that no thread takes a slab that another returns meanwhile; other threads never return a partial one.
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

/// Whether the block lies in a leaving slab, while this thread's heap compacts.
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

    /// Marks whether the slab leaves; it is in no list meanwhile.
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
