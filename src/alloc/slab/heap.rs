//! The heap of a thread: the slabs from which it allocates blocks.
//!
//! ```text
//!  thread ─▶ Heap { current[class] ─▶ Slab, partial[class] ─▶ Slab ⇄ Slab …, inbox ─▶ Slab ─▶ Slab }
//!
//!  slab:  [ block | free ──▶ free ──▶ nil | block | … | bump ▸ never touched        ]
//! ```
//!
//! A slab holds blocks of one class and belongs to one heap. It allocates from its list of free blocks, then from
//! memory that was never touched. A release compares `used` with one number, the slab's next `event`, to detect that
//! there is more to do than adding to the free list:
//!
//! | state | in | event |
//! |---|---|---|
//! | current | `current[class]` | none |
//! | full | nothing | a 64th of its blocks is free: it becomes partial |
//! | partial | `partial[class]`, in front, or `leaving[class]` | less than a 64th is used, then half of that, and so on: is it empty? |
//!
//! The partial slab that was listed last is usually the fullest; it becomes the next current one, so that sparse slabs
//! are left alone and become empty. Waiting for a 64th makes the change of the current slab rare under random churn,
//! for less than 1 % of memory. A slab without a used block goes back to the pool.
//!
//! # Blocks released by other threads
//!
//! A thread that does not own the slab puts the block on the slab's `remote` list ([`super::remote`]), with one atomic
//! operation. The owner takes over the whole list when its own is used up or when it next examines the slab, so its
//! work for another thread's releases is proportional to slabs, not blocks:
//!
//! * The releasing thread remembers (in `touched`) the slabs of which a 64th has come back this way, the count to
//!   `wake` at. It returns those slabs to the pool itself of which every block has come back and which are in no list
//!   of their owner.
//! * At the end of its work ([`collect`]) it hands the others over to their owners' `inbox`. The owner takes some slabs
//!   from it with each call of `collect` and when it needs a slab.
//!
//! `used` counts a remotely released block until the owner takes it over. So a partial slab may become empty through
//! releases of the owner and of others together. The owner examines it when it has itself released all but less than a
//! 64th of the used blocks, and others queue it when they have released a 64th; when all are free, one of the two has
//! happened. Below a 64th, both counts are half of the used blocks. Only that far down does the owner write to the word
//! that others also write to: an atomic operation waits for all stores before it, which are cache misses in a large
//! keyspace.
//!
//! The heap of a thread that has ended goes to the next thread that needs one.

mod compaction;

pub use compaction::{Compaction, is_leaving};

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::class::{self, CLASSES, NARROW};
use super::pool::{self, Shape, WIDE};
use super::remote::{self, Remote};
use super::space::{self, SLAB};
use crate::alloc::{ClassStats, system};

/// No event: `used` never has this value.
const NEVER: u32 = u32::MAX;

/// One in this many of a full slab's blocks must be free before it is offered for allocation again.
const PARTIAL_SHARE: u32 = 64;

/// The bit of a slab's class that marks it as being emptied by a defragmentation.
const LEAVING: u16 = 1 << 15;

/// The most slabs that an allocation takes from the inbox when it needs a slab: a bounded wait, however much another
/// thread has freed.
const TAKE_IN: usize = 8;

/// The number of slabs that a releasing thread has emptied before it searches for them among those it has touched; or
/// an eighth of the touched slabs, if that is more.
const SWEEP_MIN: u32 = 64;

const _: () = assert!(WIDE * SLAB <= remote::MOST_BYTES);
const _: () = assert!(SLAB / class::rounded(0) <= remote::MOST_BLOCKS);

/// A slab's record. Only the owner's thread uses the `Cell` fields, with two exceptions: `block_size` and `capacity`
/// are constant while a block of the slab lives, and a thread that holds one may read them. Only the owner writes
/// `event`. The record of a wide slab is that of its first part; the other parts have no owner.
#[repr(C, align(64))]
pub struct Slab {
    owner: AtomicPtr<Heap>,
    free: Cell<*mut u8>,
    bump: Cell<*mut u8>,
    /// Where `bump` ends: the lower half of the address, which identifies places within one slab.
    end: Cell<u32>,
    /// With the bit [`LEAVING`].
    class: Cell<u16>,
    capacity: Cell<u16>,
    used: Cell<u32>,
    event: AtomicU32,
    block_size: Cell<u32>,
    next: Cell<u32>,
    prev: Cell<u32>,
    /// The link in the list of touched slabs of some heap, or in an inbox; used by the thread that has the slab there.
    queue_next: AtomicU32,
    /// A [`Remote`].
    remote: AtomicU64,
}

// SAFETY: other threads use atomic fields, and `block_size` and `capacity` while these are constant.
unsafe impl Sync for Slab {}

/// A thread's slabs. Slab numbers are never 0: the range begins with the records.
pub struct Heap {
    current: [Cell<*const Slab>; CLASSES],
    partial: [Cell<u32>; CLASSES],
    /// Bytes of blocks that this thread has allocated minus those that it has released, whoever owned them; written
    /// only by this thread. The sum over all heaps is the number of live bytes.
    live: AtomicUsize,
    /// Slabs of this heap with blocks that other threads have released.
    inbox: AtomicU32,
    /// Slabs taken from the inbox and not yet examined.
    backlog: Cell<u32>,
    /// Slabs of other heaps to which this thread has released enough blocks to wake their owners, the number of these
    /// slabs, and how many of them were seen to be empty.
    touched: Cell<u32>,
    touched_len: Cell<u32>,
    emptied: Cell<u32>,
    /// The link in the list of heaps without a thread; used with the pool's lock held.
    next_idle: Cell<*const Heap>,
    /// The link in the list of all heaps; constant once the heap is in it.
    next: Cell<*const Heap>,
    /// Partial slabs that a defragmentation empties, and whether one is running: see [`compaction`].
    leaving: [Cell<u32>; CLASSES],
    compacting: Cell<bool>,
}

// SAFETY: other threads use `live`, `inbox`, and `next` which is constant; `next_idle` is used under the lock.
unsafe impl Sync for Heap {}

const NO_SLAB: u32 = 0;

/// The value of `current` if there is no slab: it is always full.
static FULL: Slab = Slab {
    owner: AtomicPtr::new(ptr::null_mut()),
    free: Cell::new(ptr::null_mut()),
    bump: Cell::new(ptr::null_mut()),
    end: Cell::new(0),
    class: Cell::new(0),
    capacity: Cell::new(0),
    used: Cell::new(0),
    event: AtomicU32::new(NEVER),
    block_size: Cell::new(0),
    next: Cell::new(NO_SLAB),
    prev: Cell::new(NO_SLAB),
    queue_next: AtomicU32::new(NO_SLAB),
    remote: AtomicU64::new(0),
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

/// Releases the heap when its thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let heap = HEAP.replace(&NONE);
        if !ptr::eq(heap, &raw const NONE) {
            heap.hand_over();
            pool::with_lock(|| {
                heap.next_idle.set(IDLE.load(Ordering::Relaxed));
                IDLE.store(ptr::from_ref(heap).cast_mut(), Ordering::Relaxed);
            });
        }
    }
}

/// Allocates a block of a narrow size.
#[inline]
pub fn allocate(size: usize) -> NonNull<u8> {
    debug_assert!(size <= class::LARGEST_NARROW);
    let class = class::of(size) % NARROW;
    let heap = HEAP.get();
    // SAFETY: `current` points to a record that lives for ever, and is this thread's or `FULL`.
    let slab = unsafe { &*heap.current[class].get() };
    match slab.pop() {
        Some(block) => {
            heap.count(slab.block_size.get() as usize);
            block
        }
        None => allocate_slow(class, class::rounded(size)),
    }
}

/// Allocates a block of a wide size.
pub fn allocate_wide(size: usize) -> NonNull<u8> {
    let class = class::of_wide(size);
    let heap = HEAP.get();
    let slab = heap.current(class);
    match slab.pop() {
        Some(block) => {
            heap.count(slab.block_size.get() as usize);
            block
        }
        None => allocate_slow(class, class::rounded_wide(size)),
    }
}

/// Releases a block of a narrow size; `slab` is the record of the 64 KiB in which it begins. Returns `false`, and does
/// nothing, if this is not a slab of this thread.
///
/// # Safety
/// The block came from this allocator, begins in `slab`, and is not used again unless `false` is returned.
#[inline(always)]
pub unsafe fn release_own(slab: NonNull<Slab>, block: NonNull<u8>) -> bool {
    // SAFETY: the record of a slab with a live block lives for ever.
    let slab = unsafe { slab.as_ref() };
    let heap = HEAP.get();
    let own = ptr::eq(slab.owner.load(Ordering::Relaxed), heap);
    if own {
        // SAFETY: the caller's promise; the slab is this thread's.
        unsafe { heap.release(slab, block) };
    }
    own
}

/// Releases a block in another thread's slab, or in any wide one.
///
/// # Safety
/// As [`release_own`], for a block of `size` bytes, which has a class.
pub unsafe fn release_elsewhere(block: NonNull<u8>, size: usize) {
    let mut index = space::index_of(block);
    if size > class::LARGEST_NARROW {
        index -= index % WIDE as u32;
    }
    // SAFETY: a live block is in the slab, so it was taken.
    let slab = unsafe { space::slab(index) };
    if ptr::eq(HEAP.get(), &raw const NONE) {
        acquire_heap();
    }
    let heap = HEAP.get();
    // SAFETY: the caller's promise.
    unsafe {
        if ptr::eq(slab.owner.load(Ordering::Relaxed), heap) {
            heap.release(slab, block);
        } else {
            heap.release_remote(slab, index, block);
        }
    }
}

/// Hands over the slabs in which this thread has released blocks of others. Takes in up to `max` slabs of its own in
/// which others have, and returns whether there are more.
pub fn collect(max: usize) -> bool {
    let heap = HEAP.get();
    heap.hand_over();
    heap.take_in(max)
}

/// Bytes of live blocks of all heaps, by class size.
pub fn live_bytes() -> usize {
    let mut sum = 0usize;
    let mut heap = HEAPS.load(Ordering::Acquire).cast_const();
    // SAFETY: heaps live for ever, and `next` is constant once a heap is in the list.
    while let Some(here) = unsafe { heap.as_ref() } {
        sum = sum.wrapping_add(here.live.load(Ordering::Relaxed));
        heap = here.next.get();
    }
    // A release by one thread may be visible before the allocation by another.
    if sum > isize::MAX as usize { 0 } else { sum }
}

/// Bytes of this thread's slabs that were never touched. O(classes).
pub fn untouched_bytes() -> usize {
    let heap = HEAP.get();
    (0..CLASSES)
        .map(|class| {
            let slab = heap.current(class);
            slab.end.get().wrapping_sub(low(slab.bump.get())) as usize
        })
        .sum()
}

/// The contents of this thread's slabs, by class.
pub fn classes() -> Vec<ClassStats> {
    let mut classes = vec![ClassStats::default(); CLASSES];
    let heap = HEAP.get();
    pool::for_each_taken(|index| {
        // SAFETY: the slab was taken once.
        let slab = unsafe { space::slab(index) };
        // Of other threads' slabs only the owner is read. Our own slabs keep their owner while the pool is locked.
        if !ptr::eq(slab.owner.load(Ordering::Relaxed), heap) {
            return;
        }
        let class = &mut classes[slab.class()];
        let remote = Remote(slab.remote.load(Ordering::Relaxed));
        let live = slab.used.get().saturating_sub(remote.count());
        class.size = slab.block_size.get() as usize;
        class.slabs += 1;
        class.live += live as usize;
        class.free += (slab.capacity() - live) as usize;
    });
    classes.retain(|class| class.slabs > 0);
    classes
}

#[cold]
#[inline(never)]
fn allocate_slow(class: usize, block_size: usize) -> NonNull<u8> {
    if ptr::eq(HEAP.get(), &raw const NONE) {
        acquire_heap();
    }
    let heap = HEAP.get();
    heap.take_in(TAKE_IN);
    if heap.current(class).is_full() && !heap.refill(class, block_size) {
        return system::allocate(block_size);
    }
    let slab = heap.current(class);
    heap.count(slab.block_size.get() as usize);
    slab.pop().expect("the current slab has a free block")
}

/// Gives this thread a heap: one whose thread has ended, or a new one.
fn acquire_heap() {
    let idle = pool::with_lock(|| {
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
        pool::with_lock(|| {
            heap.next.set(HEAPS.load(Ordering::Relaxed));
            HEAPS.store(ptr::from_ref(heap).cast_mut(), Ordering::Release);
        });
        heap
    });
    HEAP.set(heap);
    // A thread that is already past its destructors keeps the heap for good.
    let _ = LEASE.try_with(|_| ());
}

/// The lower half of an address.
#[inline(always)]
fn low(at: *mut u8) -> u32 {
    at.addr() as u32
}

/// The list of its owner that a slab is in: see the module's head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Current,
    Full,
    Partial,
}

/// The state of a slab before it entered a new one, and its number of used blocks.
struct Entered {
    was: State,
    used: u32,
    is_queued: bool,
}

/// The shape of a slab for blocks of this size.
fn shape(block_size: usize) -> Shape {
    if block_size > class::LARGEST_NARROW { Shape::WIDE } else { Shape::SLAB }
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
            if low(block) == self.end.get() {
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
        self.free.get().is_null() && low(self.bump.get()) == self.end.get()
    }

    fn shape(&self) -> Shape {
        shape(self.block_size.get() as usize)
    }

    fn class(&self) -> usize {
        usize::from(self.class.get() & !LEAVING)
    }

    fn capacity(&self) -> u32 {
        u32::from(self.capacity.get())
    }

    /// A 64th of the blocks.
    fn share(&self) -> u32 {
        (self.capacity() / PARTIAL_SHARE).max(1)
    }

    /// The event of a full slab. No other state has it.
    fn full_event(&self) -> u32 {
        self.capacity() - self.share()
    }

    /// Makes an unused slab, just taken, a slab of `heap`.
    fn begin(&self, index: u32, heap: &Heap, class: usize, block_size: usize) {
        let memory = space::memory(index);
        let capacity = shape(block_size).bytes() / block_size;
        self.owner.store(ptr::from_ref(heap).cast_mut(), Ordering::Relaxed);
        self.class.set(class as u16);
        self.block_size.set(block_size as u32);
        self.capacity.set(capacity as u16);
        self.free.set(ptr::null_mut());
        self.bump.set(memory);
        self.end.set(low(memory.wrapping_add(capacity * block_size)));
        self.used.set(0);
        self.event.store(NEVER, Ordering::Relaxed);
        self.remote.store(Remote::empty(self.share(), false).0, Ordering::Relaxed);
    }

    /// Puts the slab into a state, after taking over the blocks that others have released. `dequeue` means that the
    /// slab was just taken off a queue. A full slab must not be touched after this: another thread may already have
    /// returned it to the pool.
    #[inline(always)]
    fn enter(&self, state: State, dequeue: bool) -> Entered {
        let (full_event, share) = (self.full_event(), self.share());
        let was = match self.event.load(Ordering::Relaxed) {
            NEVER => State::Current,
            event if event == full_event => State::Full,
            _ => State::Partial,
        };
        let word = Remote(self.remote.load(Ordering::Acquire));
        let used = self.used.get();
        let is_nearly_empty = state == State::Partial && used > 0 && used < share;
        let (used, wake, is_queued) = if word == Remote::empty(share, false) && !is_nearly_empty {
            (used, share, false)
        } else {
            self.take_over(word, state, dequeue)
        };
        let event = match state {
            State::Current => NEVER,
            State::Full => full_event,
            // Once the owner has released this far, others have fewer than `wake` blocks left.
            State::Partial if wake == share => share - 1,
            State::Partial => (used - 1) / 2,
        };
        // Release: a thread that sees the slab as full and returns it has seen everything done to it here.
        self.event.store(event, Ordering::Release);
        Entered { was, used, is_queued }
    }

    /// The part of [`Self::enter`] for slabs of which others have released blocks, or must know that few are left.
    /// Returns the number of used blocks, the count to wake at, and whether the slab is still queued.
    #[cold]
    #[inline(never)]
    fn take_over(&self, mut before: Remote, state: State, dequeue: bool) -> (u32, u32, bool) {
        let share = self.share();
        let (used, wake, is_queued) = loop {
            let used = self.used.get() - before.count();
            let is_nearly_empty = state == State::Partial && used > 0 && used < share;
            let wake = if is_nearly_empty { used.div_ceil(2) } else { share };
            let is_queued = before.is_queued() && !dequeue;
            let after = Remote::empty(wake, is_queued);
            // Acquire: the links were written before the blocks were listed.
            match self.remote.compare_exchange_weak(before.0, after.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break (used, wake, is_queued),
                Err(now) => before = Remote(now),
            }
        };
        if before.count() > 0 {
            self.join(before);
            self.used.set(used);
        }
        (used, wake, is_queued)
    }

    /// Prepends the blocks of a list that was just taken over to the free ones.
    fn join(&self, list: Remote) {
        let memory = space::memory(space::index_of_record(self));
        // SAFETY: the last block of the list is free, and ours now.
        unsafe { memory.add(list.last()).cast::<*mut u8>().write_unaligned(self.free.get()) };
        self.free.set(memory.wrapping_add(list.first()));
    }

    /// Returns a slab without a used block, which is in no list, to the pool.
    fn give_back(&self, index: u32) {
        let shape = self.shape();
        self.owner.store(ptr::null_mut(), Ordering::Relaxed);
        pool::put(index, shape);
    }
}

impl Heap {
    const fn new() -> Heap {
        Heap {
            current: [const { Cell::new(&raw const FULL) }; CLASSES],
            partial: [const { Cell::new(NO_SLAB) }; CLASSES],
            live: AtomicUsize::new(0),
            inbox: AtomicU32::new(NO_SLAB),
            backlog: Cell::new(NO_SLAB),
            touched: Cell::new(NO_SLAB),
            touched_len: Cell::new(0),
            emptied: Cell::new(0),
            next_idle: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            leaving: [const { Cell::new(NO_SLAB) }; CLASSES],
            compacting: Cell::new(false),
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
    unsafe fn release(&self, slab: &Slab, block: NonNull<u8>) {
        // SAFETY: the block is free now, and holds a pointer.
        unsafe { block.cast::<*mut u8>().write_unaligned(slab.free.get()) };
        slab.free.set(block.as_ptr());
        let used = slab.used.get() - 1;
        slab.used.set(used);
        self.count((slab.block_size.get() as usize).wrapping_neg());
        if used == slab.event.load(Ordering::Relaxed) {
            self.review(slab);
        }
    }

    /// Examines a slab of which a share was freed since the last time: it becomes partial, stays so, or is empty.
    #[cold]
    #[inline(never)]
    fn review(&self, slab: &Slab) {
        self.list(slab, space::index_of_record(slab), false);
    }

    /// Lists a full or partial slab according to its current number of used blocks.
    fn list(&self, slab: &Slab, index: u32, dequeue: bool) {
        let entered = slab.enter(State::Partial, dequeue);
        if entered.was == State::Full && entered.used > slab.full_event() {
            // It was queued when it was current, and what others had released was taken over then.
            slab.enter(State::Full, false);
            return;
        }
        if entered.used > 0 || entered.is_queued {
            // An empty slab that is in a queue is returned to the pool by the thread that takes it off.
            if entered.was != State::Partial {
                self.link(slab, index);
            }
            return;
        }
        if entered.was == State::Partial {
            self.unlink(slab);
        }
        slab.give_back(index);
    }

    fn link(&self, slab: &Slab, index: u32) {
        let head = self.list_of(slab);
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
            self.list_of(slab).set(next);
        } else {
            // SAFETY: a listed slab was taken.
            unsafe { space::slab(prev) }.next.set(next);
        }
        if next != NO_SLAB {
            // SAFETY: a listed slab was taken.
            unsafe { space::slab(next) }.prev.set(prev);
        }
    }

    /// Gives the current, full slab of a class free blocks: those that others have released, or another slab. Returns
    /// `false` if there is no memory for one.
    fn refill(&self, class: usize, block_size: usize) -> bool {
        let full = self.current(class);
        if !ptr::eq(full, &raw const FULL) {
            let capacity = full.capacity();
            if full.enter(State::Full, false).used < capacity {
                full.enter(State::Current, false);
                return true;
            }
        }
        let mut partial = self.partial[class].get();
        if partial == NO_SLAB && !self.compacting.get() {
            partial = self.leaving[class].get();
        }
        if partial != NO_SLAB {
            // SAFETY: a listed slab was taken.
            let slab = unsafe { space::slab(partial) };
            self.unlink(slab);
            slab.set_leaving(false);
            slab.enter(State::Current, false);
            self.current[class].set(slab);
            return true;
        }
        let Some(taken) = pool::take(shape(block_size)) else {
            // The full slab is no longer current.
            self.current[class].set(&raw const FULL);
            return false;
        };
        // SAFETY: the slab was just taken.
        let slab = unsafe { space::slab(taken.index) };
        slab.begin(taken.index, self, class, block_size);
        self.current[class].set(slab);
        true
    }

    /// Puts a block on the remote list of its slab.
    ///
    /// # Safety
    /// The block lies in `slab`, number `index`, which is another heap's, and is not used again. This is the heap's
    /// thread.
    unsafe fn release_remote(&self, slab: &Slab, index: u32, block: NonNull<u8>) {
        let memory = space::memory(index);
        let offset = block.addr().get() - memory.addr();
        // While a block lives, neither changes until it is in the list.
        let (block_size, capacity) = (slab.block_size.get(), slab.capacity());
        let mut word = slab.remote.load(Ordering::Relaxed);
        let (before, after) = loop {
            let before = Remote(word);
            let link =
                if before.count() == 0 { ptr::null_mut() } else { memory.wrapping_add(before.first()) };
            // SAFETY: the block is ours until it is in the list, and holds a pointer.
            unsafe { block.cast::<*mut u8>().write_unaligned(link) };
            let after = before.with(offset);
            match slab.remote.compare_exchange_weak(word, after.0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break (before, after),
                Err(now) => word = now,
            }
        };
        self.count((block_size as usize).wrapping_neg());
        if after.is_queued() && !before.is_queued() {
            slab.queue_next.store(self.touched.get(), Ordering::Relaxed);
            self.touched.set(index);
            self.touched_len.set(self.touched_len.get() + 1);
        }
        if after.count() == capacity {
            self.emptied.set(self.emptied.get() + 1);
            if self.emptied.get() >= SWEEP_MIN.max(self.touched_len.get() / 8) {
                self.sweep(|slab, index| {
                    slab.queue_next.store(self.touched.get(), Ordering::Relaxed);
                    self.touched.set(index);
                    self.touched_len.set(self.touched_len.get() + 1);
                });
            }
        }
    }

    /// Empties the list of touched slabs: returns those to the pool of which every block has come back, and passes on
    /// the others.
    fn sweep(&self, mut pass_on: impl FnMut(&'static Slab, u32)) {
        let mut index = self.touched.replace(NO_SLAB);
        self.touched_len.set(0);
        self.emptied.set(0);
        while index != NO_SLAB {
            // SAFETY: a queued slab was taken, and is not given back by others.
            let slab = unsafe { space::slab(index) };
            let next = slab.queue_next.load(Ordering::Relaxed);
            // Acquire: everything that other threads, and then its owner, did to the slab has happened.
            let word = Remote(slab.remote.load(Ordering::Acquire));
            let is_empty = word.count() == slab.capacity();
            // All of its blocks are here, so its owner allocates none and releases none. If the slab is in no list of
            // its owner either, nothing refers to it any more; if it is current, the owner may be about to allocate.
            if is_empty && slab.event.load(Ordering::Acquire) == slab.full_event() {
                slab.give_back(index);
            } else {
                pass_on(slab, index);
            }
            index = next;
        }
    }

    /// Hands the touched slabs over to their owners.
    fn hand_over(&self) {
        if self.touched.get() == NO_SLAB {
            return;
        }
        self.sweep(|slab, index| {
            // SAFETY: a queued slab has an owner, and heaps live for ever.
            let owner = unsafe { &*slab.owner.load(Ordering::Relaxed) };
            let mut head = owner.inbox.load(Ordering::Relaxed);
            loop {
                slab.queue_next.store(head, Ordering::Relaxed);
                match owner.inbox.compare_exchange_weak(head, index, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => return,
                    Err(now) => head = now,
                }
            }
        });
    }

    /// Examines up to `max` slabs of the inbox; returns whether there are more.
    fn take_in(&self, max: usize) -> bool {
        let mut next = self.backlog.get();
        if next == NO_SLAB {
            if self.inbox.load(Ordering::Relaxed) == NO_SLAB {
                return false;
            }
            next = self.inbox.swap(NO_SLAB, Ordering::Acquire);
        }
        for _ in 0..max {
            if next == NO_SLAB {
                break;
            }
            let index = next;
            // SAFETY: a queued slab was taken.
            let slab = unsafe { space::slab(index) };
            next = slab.queue_next.load(Ordering::Relaxed);
            if ptr::eq(self.current(slab.class()), slab) {
                slab.enter(State::Current, true);
            } else {
                self.list(slab, index, true);
            }
        }
        self.backlog.set(next);
        next != NO_SLAB || self.inbox.load(Ordering::Relaxed) != NO_SLAB
    }
}

/// The number of used blocks of the narrow slab, and its capacity.
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
