//! Each thread's heap: the slabs that it cuts blocks from.
//!
//! ```text
//!  thread ─▶ Heap { current[64] ─▶ Slab, partial[64] ─▶ Slab ⇄ Slab …, remote ─▶ block ─▶ block }
//!
//!  slab:  [ block | free ──▶ free ──▶ nil | block | … | bump ▸ never touched        ]
//! ```
//!
//! A slab holds blocks of one class and belongs to one heap. It allocates from its list of free blocks, then from
//! memory that was never touched. Its state follows from `used`, and a release compares `used` with one number, the
//! slab's next `event`, to learn that anything beyond the free list is to be done:
//!
//! | state | in | event |
//! |---|---|---|
//! | current | `current[class]` | none |
//! | full | nothing | a 64th of its blocks is free: it becomes partial |
//! | partial | `partial[class]`, in front | `used` is 0: it goes back to the pool |
//!
//! The partial slab that was listed last is the fullest, mostly; it is the next current one, so that sparse slabs
//! are left alone and empty. Waiting for a 64th makes the change of the current slab rare under random churn, for less
//! than 1 % of memory.
//!
//! A block released by a thread that does not own its slab goes onto the owner's `remote` list, the one place with
//! atomic operations; the owner takes the list over when it needs a slab and in `collect`. The heap of a thread that
//! has ended is taken by the next thread that needs one.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::class::{self, CLASSES};
use super::space;
use crate::alloc::{ClassStats, system};

/// No event: `used` never has this value.
const NEVER: u32 = u32::MAX;

/// The share of a full slab's blocks that are free when it is offered for allocation again.
const PARTIAL_SHARE: u32 = 64;

/// Blocks of others that an allocation takes over at most, when it needs a slab: a bounded wait, however much another
/// thread has freed.
const DRAIN: usize = 256;

/// A slab's record. Only the owner's thread uses the fields that are cells.
#[repr(C, align(64))]
pub struct Slab {
    owner: AtomicPtr<Heap>,
    free: Cell<*mut u8>,
    bump: Cell<*mut u8>,
    end: Cell<*mut u8>,
    used: Cell<u32>,
    event: Cell<u32>,
    block_size: Cell<u32>,
    class: Cell<u32>,
    next: Cell<u32>,
    prev: Cell<u32>,
}

// SAFETY: other threads read only `owner`, which is constant while a block of the slab lives.
unsafe impl Sync for Slab {}

/// A thread's slabs. Slab numbers are never 0: the range begins with the records.
pub struct Heap {
    current: [Cell<*const Slab>; CLASSES],
    partial: [Cell<u32>; CLASSES],
    /// Bytes of live blocks; written by the owner alone.
    live: AtomicUsize,
    remote: AtomicPtr<u8>,
    /// What was taken off `remote` and not yet put into its slabs.
    backlog: Cell<*mut u8>,
    /// In the list of heaps without a thread; used with the pool's lock held.
    next_idle: Cell<*const Heap>,
    /// In the list of all heaps; constant once the heap is in it.
    next: Cell<*const Heap>,
}

// SAFETY: other threads use `live`, `remote`, and `next` which is constant; `next_idle` is used under the lock.
unsafe impl Sync for Heap {}

const NO_SLAB: u32 = 0;

/// What `current` holds where there is no slab: full for ever.
static FULL: Slab = Slab {
    owner: AtomicPtr::new(ptr::null_mut()),
    free: Cell::new(ptr::null_mut()),
    bump: Cell::new(ptr::null_mut()),
    end: Cell::new(ptr::null_mut()),
    used: Cell::new(0),
    event: Cell::new(NEVER),
    block_size: Cell::new(0),
    class: Cell::new(0),
    next: Cell::new(NO_SLAB),
    prev: Cell::new(NO_SLAB),
};

/// The heap of a thread that has not allocated yet: every allocation finds it full, every release finds it foreign.
static NONE: Heap = Heap::new();

thread_local! {
    static HEAP: Cell<&'static Heap> = const { Cell::new(&NONE) };
    static LEASE: Lease = const { Lease };
}

/// All heaps, and those without a thread.
static HEAPS: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());
static IDLE: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());

/// Gives the heap up when its thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let heap = HEAP.replace(&NONE);
        if !ptr::eq(heap, &raw const NONE) {
            space::with_lock(|| {
                heap.next_idle.set(IDLE.load(Ordering::Relaxed));
                IDLE.store(ptr::from_ref(heap).cast_mut(), Ordering::Relaxed);
            });
        }
    }
}

/// Allocates a block of a size that has a class.
#[inline]
pub fn allocate(size: usize) -> NonNull<u8> {
    debug_assert!(size <= class::LARGEST);
    let class = class::of(size) % CLASSES;
    let heap = HEAP.get();
    // SAFETY: `current` points to a record that lives for ever, and is this thread's or `FULL`.
    let slab = unsafe { &*heap.current[class].get() };
    match slab.pop() {
        Some(block) => {
            heap.count(slab.block_size.get() as usize);
            block
        }
        None => allocate_slow(class, size),
    }
}

/// Releases a block that lies in `slab`.
///
/// # Safety
/// The block came from [`allocate`], is in `slab`, and is not used again.
#[inline]
pub unsafe fn release(slab: NonNull<Slab>, block: NonNull<u8>) {
    // SAFETY: the record of a slab with a live block lives for ever.
    let slab = unsafe { slab.as_ref() };
    let heap = HEAP.get();
    if ptr::eq(slab.owner.load(Ordering::Relaxed), heap) {
        // SAFETY: the caller's promise; the slab is this thread's.
        unsafe { heap.release_own(slab, block) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { slab.release_remote(block) };
    }
}

/// Takes over up to `max` blocks that other threads have released to this one; answers whether there are more.
pub fn collect(max: usize) -> bool {
    HEAP.get().drain_remote(max)
}

/// Bytes of live blocks of all heaps, by class size. What was released by other threads counts until it is collected.
pub fn live_bytes() -> usize {
    let mut sum = 0usize;
    let mut heap = HEAPS.load(Ordering::Acquire).cast_const();
    // SAFETY: heaps live for ever, and `next` is constant once a heap is in the list.
    while let Some(here) = unsafe { heap.as_ref() } {
        sum = sum.wrapping_add(here.live.load(Ordering::Relaxed));
        heap = here.next.get();
    }
    sum
}

/// What this thread's slabs hold, by class.
pub fn classes() -> Vec<ClassStats> {
    let mut classes = vec![ClassStats::default(); CLASSES];
    let heap = HEAP.get();
    space::for_each_taken(|index| {
        // SAFETY: the slab was taken once.
        let slab = unsafe { space::slab(index) };
        // Another thread's slab may be anything by now but ours: only its owner is looked at.
        if !ptr::eq(slab.owner.load(Ordering::Relaxed), heap) {
            return;
        }
        let class = &mut classes[slab.class.get() as usize];
        class.size = slab.block_size.get() as usize;
        class.slabs += 1;
        class.live += slab.used.get() as usize;
        class.free += (slab.capacity() - slab.used.get()) as usize;
    });
    classes.retain(|class| class.slabs > 0);
    classes
}

#[cold]
#[inline(never)]
fn allocate_slow(class: usize, size: usize) -> NonNull<u8> {
    if ptr::eq(HEAP.get(), &raw const NONE) {
        acquire_heap();
    }
    let heap = HEAP.get();
    heap.drain_remote(DRAIN);
    if heap.current(class).is_full() && !heap.refill(class, class::rounded(size)) {
        return system::allocate(class::rounded(size));
    }
    let slab = heap.current(class);
    heap.count(slab.block_size.get() as usize);
    slab.pop().expect("the current slab has a free block")
}

/// Gives this thread a heap: one whose thread has ended, or a new one.
fn acquire_heap() {
    let idle = space::with_lock(|| {
        let heap = IDLE.load(Ordering::Relaxed);
        // SAFETY: heaps live for ever.
        if let Some(heap) = unsafe { heap.as_ref() } {
            IDLE.store(heap.next_idle.get().cast_mut(), Ordering::Relaxed);
        }
        heap
    });
    // SAFETY: heaps live for ever; this one was taken off the list by us alone.
    let heap = unsafe { idle.as_ref() }.unwrap_or_else(|| {
        let heap: &'static Heap = Box::leak(Box::new(Heap::new()));
        space::with_lock(|| {
            heap.next.set(HEAPS.load(Ordering::Relaxed));
            HEAPS.store(ptr::from_ref(heap).cast_mut(), Ordering::Release);
        });
        heap
    });
    HEAP.set(heap);
    // A thread that is already past its destructors keeps the heap for good.
    let _ = LEASE.try_with(|_| ());
}

impl Slab {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<u8>> {
        let block = if let Some(block) = NonNull::new(self.free.get()) {
            // SAFETY: a free block begins with the link to the next.
            self.free.set(unsafe { block.cast::<*mut u8>().read_unaligned() });
            block
        } else {
            let block = self.bump.get();
            if block == self.end.get() {
                return None;
            }
            self.bump.set(block.wrapping_add(self.block_size.get() as usize));
            // SAFETY: a slab's memory is not at address 0, and `FULL` has returned above.
            unsafe { NonNull::new_unchecked(block) }
        };
        self.used.set(self.used.get() + 1);
        Some(block)
    }

    fn is_full(&self) -> bool {
        self.free.get().is_null() && self.bump.get() == self.end.get()
    }

    fn capacity(&self) -> u32 {
        (space::SLAB / self.block_size.get() as usize) as u32
    }

    /// Hands a block to the slab's owner.
    ///
    /// # Safety
    /// The block lies in this slab and is not used again.
    #[cold]
    unsafe fn release_remote(&self, block: NonNull<u8>) {
        // SAFETY: a slab with a live block has an owner, and heaps live for ever.
        let owner = unsafe { &*self.owner.load(Ordering::Relaxed) };
        let mut head = owner.remote.load(Ordering::Relaxed);
        loop {
            // SAFETY: the block is ours until it is in the list, and holds a pointer.
            unsafe { block.cast::<*mut u8>().write_unaligned(head) };
            let new = block.as_ptr();
            match owner.remote.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

impl Heap {
    const fn new() -> Heap {
        Heap {
            current: [const { Cell::new(&raw const FULL) }; CLASSES],
            partial: [const { Cell::new(NO_SLAB) }; CLASSES],
            live: AtomicUsize::new(0),
            remote: AtomicPtr::new(ptr::null_mut()),
            backlog: Cell::new(ptr::null_mut()),
            next_idle: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }

    /// Adds to the live bytes. A plain addition: this thread is the only writer.
    #[inline(always)]
    fn count(&self, bytes: usize) {
        self.live.store(self.live.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }

    #[inline(always)]
    fn current(&self, class: usize) -> &Slab {
        // SAFETY: `current` points to a record that lives for ever.
        unsafe { &*self.current[class].get() }
    }

    /// # Safety
    /// The block lies in `slab`, which is this heap's, and is not used again. This is the heap's thread.
    #[inline(always)]
    unsafe fn release_own(&self, slab: &Slab, block: NonNull<u8>) {
        // SAFETY: the block is free now, and holds a pointer.
        unsafe { block.cast::<*mut u8>().write_unaligned(slab.free.get()) };
        slab.free.set(block.as_ptr());
        let used = slab.used.get() - 1;
        slab.used.set(used);
        self.count((slab.block_size.get() as usize).wrapping_neg());
        if used == slab.event.get() {
            self.release_slow(slab, block);
        }
    }

    /// The slab in which `block` was just freed becomes partial, or is empty.
    #[cold]
    #[inline(never)]
    fn release_slow(&self, slab: &Slab, block: NonNull<u8>) {
        let index = space::index_of(block);
        if slab.used.get() == 0 {
            self.unlink(slab);
            slab.owner.store(ptr::null_mut(), Ordering::Relaxed);
            space::put(index);
        } else {
            slab.event.set(0);
            self.link(slab, index);
        }
    }

    fn link(&self, slab: &Slab, index: u32) {
        let head = &self.partial[slab.class.get() as usize];
        slab.prev.set(NO_SLAB);
        slab.next.set(head.get());
        if head.get() != NO_SLAB {
            // SAFETY: a listed slab was taken.
            unsafe { space::slab(head.get()) }.prev.set(index);
        }
        head.set(index);
    }

    fn unlink(&self, slab: &Slab) {
        let (prev, next) = (slab.prev.get(), slab.next.get());
        if prev == NO_SLAB {
            self.partial[slab.class.get() as usize].set(next);
        } else {
            // SAFETY: a listed slab was taken.
            unsafe { space::slab(prev) }.next.set(next);
        }
        if next != NO_SLAB {
            // SAFETY: a listed slab was taken.
            unsafe { space::slab(next) }.prev.set(prev);
        }
    }

    /// Replaces the full current slab of a class; `false` when there is no memory for one.
    fn refill(&self, class: usize, block_size: usize) -> bool {
        let full = self.current(class);
        let partial = self.partial[class].get();
        let index = if partial == NO_SLAB {
            let Some(index) = space::take() else { return false };
            index
        } else {
            partial
        };
        if !ptr::eq(full, &raw const FULL) {
            full.event.set(full.capacity() - (full.capacity() / PARTIAL_SHARE).max(1));
        }
        // SAFETY: the slab was taken, by us now or when it was listed.
        let slab = unsafe { space::slab(index) };
        if partial == NO_SLAB {
            let memory = space::memory(index);
            slab.owner.store(ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
            slab.free.set(ptr::null_mut());
            slab.bump.set(memory);
            slab.end.set(memory.wrapping_add(space::SLAB / block_size * block_size));
            slab.used.set(0);
            slab.block_size.set(block_size as u32);
            slab.class.set(class as u32);
        } else {
            self.unlink(slab);
        }
        slab.event.set(NEVER);
        self.current[class].set(slab);
        true
    }

    /// Puts up to `max` blocks that others have released back into their slabs; answers whether there are more.
    fn drain_remote(&self, max: usize) -> bool {
        let mut next = self.backlog.get();
        if next.is_null() {
            if self.remote.load(Ordering::Relaxed).is_null() {
                return false;
            }
            next = self.remote.swap(ptr::null_mut(), Ordering::Acquire);
        }
        let mut left = max;
        while let Some(block) = NonNull::new(next).filter(|_| left > 0) {
            left -= 1;
            // SAFETY: a block in the list is free and begins with the link to the next.
            next = unsafe { block.cast::<*mut u8>().read_unaligned() };
            let slab = space::slab_of(block).expect("only blocks of slabs are released remotely");
            // SAFETY: the block lies in that slab, which is ours: nobody else could have handed it to us.
            unsafe { self.release_own(slab.as_ref(), block) };
        }
        self.backlog.set(next);
        !next.is_null() || !self.remote.load(Ordering::Relaxed).is_null()
    }
}

/// How many blocks of the slab are in use, and how many it has.
#[cfg(test)]
pub fn slab_numbers(block: NonNull<u8>) -> (u32, u32) {
    // SAFETY: the block is live, so its slab's record is there.
    let slab = unsafe { space::slab_of(block).expect("a block of a slab").as_ref() };
    (slab.used.get(), slab.capacity())
}

/// The live bytes of this thread's heap.
#[cfg(test)]
pub fn own_live_bytes() -> usize {
    HEAP.get().live.load(Ordering::Relaxed)
}
