//! The address range from which slabs are cut, and the pool of those that nobody uses.
//!
//! ```text
//!  base                                                                        base + len
//!  │ Slab, Slab, Slab, …  (64 B each)  │ region 2 MiB = 32 slabs │ region │ …  reserved
//!    └─ record i tells of the slab at base + i · 64 KiB
//! ```
//!
//! One range is reserved at the first use (address space only: 1 TiB, or what half as much again and again is
//! granted) and made usable in regions of 2 MiB, so that any block finds its slab's record by a subtraction, a shift and
//! an addition. The records lie together at the front: at the head of each slab, 64 KiB apart, they would all compete
//! for a few sets of the caches.
//!
//! Free slabs are bits in a mask a region. The lowest free slab is taken first, so that high regions empty; memory of
//! free slabs goes back to the kernel by [`purge`], within a budget. The pool has a lock, held for some tens of
//! instructions once in at least 16 allocations of a size (and for a system call when a region is made usable), and
//! across `fork`, so that a child never finds it held by a thread that it does not have.

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::heap::Slab;

/// The size of a slab. Small enough that a class in use once costs little; large enough that the pool is asked seldom.
pub const SLAB: usize = 1 << SLAB_SHIFT;
const SLAB_SHIFT: u32 = 16;

/// The step in which memory is made usable: a huge page.
pub const REGION: usize = 2 << 20;
const SLABS_IN_REGION: usize = REGION / SLAB;
const ALL: u32 = u32::MAX;
const _: () = assert!(SLABS_IN_REGION == u32::BITS as usize, "one bit a slab");

const RECORD: usize = size_of::<Slab>();
const _: () = assert!(RECORD == 64, "a slab's record is a cache line");

/// FreeBSD reserves no swap for pages that were not touched, and has no flag to say so.
#[cfg(not(target_os = "freebsd"))]
const NORESERVE: libc::c_int = libc::MAP_NORESERVE;
#[cfg(target_os = "freebsd")]
const NORESERVE: libc::c_int = 0;

/// The largest and the smallest range asked for.
const RESERVE_MAX: usize = 1 << 40;
const RESERVE_MIN: usize = 64 << 20;
const REGIONS_MAX: usize = RESERVE_MAX / REGION;

/// No address is less than `RESERVE_MAX` above this, so that before the range is reserved no block is in it,
/// whichever of the two statics a thread sees first.
const NOWHERE: usize = 1 << 63;

static BASE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::without_provenance_mut(NOWHERE));
static LEN: AtomicUsize = AtomicUsize::new(0);
static HUGEPAGES: AtomicBool = AtomicBool::new(false);

/// Asks for huge pages in regions made usable from now on.
pub fn set_hugepages(on: bool) {
    HUGEPAGES.store(on, Ordering::Relaxed);
}

/// The record of the slab in which a block lies; `None` for a block that is not from a slab.
#[inline(always)]
pub fn slab_of(block: NonNull<u8>) -> Option<NonNull<Slab>> {
    // Whoever holds a block of the range got it after both were set.
    let base = BASE.load(Ordering::Relaxed);
    let offset = block.addr().get().wrapping_sub(base.addr());
    if offset >= LEN.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the range does not begin at address 0.
    Some(unsafe { NonNull::new_unchecked(record(base, offset >> SLAB_SHIFT)) })
}

#[inline(always)]
fn record(base: *mut u8, index: usize) -> *mut Slab {
    base.wrapping_add(index * RECORD).cast()
}

/// The record of slab `index`.
///
/// # Safety
/// The slab was taken from the pool once.
#[inline(always)]
pub unsafe fn slab(index: u32) -> &'static Slab {
    // SAFETY: the record of a slab that was ever taken is mapped and initialised (zeroes are), and never unmapped.
    unsafe { &*record(BASE.load(Ordering::Relaxed), index as usize) }
}

/// The number of the slab in which a block lies.
pub fn index_of(block: NonNull<u8>) -> u32 {
    let offset = block.addr().get() - BASE.load(Ordering::Relaxed).addr();
    (offset >> SLAB_SHIFT) as u32
}

/// Where the memory of slab `index` begins.
pub fn memory(index: u32) -> *mut u8 {
    BASE.load(Ordering::Relaxed).wrapping_add((index as usize) << SLAB_SHIFT)
}

/// One bit a slab: whether it is free, and whether it was touched since the kernel had its memory.
#[derive(Clone, Copy)]
struct Region {
    free: u32,
    touched: u32,
}

/// What of the range is in use. Region numbers count from the base.
struct Pool {
    regions: [Region; REGIONS_MAX],
    /// The first region behind the records.
    first: usize,
    /// One past the last region that was made usable.
    usable: usize,
    /// No region below has a free slab.
    lowest_free: usize,
    /// Where the next purge goes on.
    purge_at: usize,
    /// How much of the records is mapped, in bytes.
    records_len: usize,
    taken: usize,
    free_touched: usize,
}

struct Locked(UnsafeCell<Pool>);

// SAFETY: the pool is reached only with the lock held.
unsafe impl Sync for Locked {}

// All zeroes, so the program's image holds none of it, and no page of it is touched before its region is used.
static POOL: Locked = Locked(UnsafeCell::new(Pool {
    regions: [Region { free: 0, touched: 0 }; REGIONS_MAX],
    first: 0,
    usable: 0,
    lowest_free: 0,
    purge_at: 0,
    records_len: 0,
    taken: 0,
    free_touched: 0,
}));

static LOCK: AtomicBool = AtomicBool::new(false);

extern "C" fn lock() {
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

extern "C" fn unlock() {
    LOCK.store(false, Ordering::Release);
}

/// Runs `work` with the lock held. `work` neither panics nor allocates.
pub fn with_lock<R>(work: impl FnOnce() -> R) -> R {
    lock();
    let result = work();
    unlock();
    result
}

fn with_pool<R>(work: impl FnOnce(&mut Pool) -> R) -> R {
    // SAFETY: the lock is held, and `work` does not come back here.
    with_lock(|| work(unsafe { &mut *POOL.0.get() }))
}

/// Takes a free slab; `None` when the range is used up or was never granted.
pub fn take() -> Option<u32> {
    #[cfg(test)]
    if tests::REFUSE.get() {
        return None;
    }
    static RESERVED: Once = Once::new();
    RESERVED.call_once(reserve);
    with_pool(Pool::take)
}

/// Gives a slab back that holds no live block.
pub fn put(index: u32) {
    with_pool(|pool| pool.put(index as usize));
}

/// Gives up to `budget` bytes of free slabs back to the kernel; returns how many it gave, 0 when none is left. With
/// huge pages only whole regions go, since a part would split the page.
pub fn purge(budget: usize) -> usize {
    with_pool(|pool| pool.purge(budget))
}

/// Bytes of slabs in use, of free ones whose memory the kernel still lends, and the count of those in use.
pub fn usage() -> (usize, usize, usize) {
    with_pool(|pool| (pool.taken * SLAB, pool.free_touched * SLAB, pool.taken))
}

/// Calls `visit` with the number of every slab in use. The lock is held for a region at a time, so that the picture of
/// slabs that other threads take and give back is no moment's.
pub fn for_each_taken(mut visit: impl FnMut(u32)) {
    let (first, usable) = with_pool(|pool| (pool.first, pool.usable));
    for number in first..usable {
        let mut taken = !with_pool(|pool| pool.regions[number].free);
        while taken != 0 {
            visit((number * SLABS_IN_REGION) as u32 + taken.trailing_zeros());
            taken &= taken - 1;
        }
    }
}

fn reserve() {
    let mut len = RESERVE_MAX;
    let start = loop {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON | NORESERVE;
            libc::mmap(std::ptr::null_mut(), len + REGION, libc::PROT_NONE, flags, -1, 0)
        };
        if start != libc::MAP_FAILED {
            break start.cast::<u8>();
        }
        len /= 2;
        if len < RESERVE_MIN {
            return;
        }
    };
    let base = start.wrapping_add(start.align_offset(REGION));
    with_pool(|pool| {
        pool.first = (len / SLAB * RECORD).div_ceil(REGION);
        pool.usable = pool.first;
        pool.lowest_free = pool.first;
        pool.purge_at = pool.first;
    });
    // SAFETY: the handlers only take and release the lock.
    unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
    BASE.store(base, Ordering::Relaxed);
    LEN.store(len, Ordering::Relaxed);
}

fn make_usable(at: *mut u8, len: usize) -> bool {
    // SAFETY: the range is ours, and was not usable before.
    unsafe { libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

impl Pool {
    fn take(&mut self) -> Option<u32> {
        let free = (self.lowest_free..self.usable).find(|&region| self.regions[region].free != 0);
        let number = match free {
            Some(number) => number,
            None => self.open_region()?,
        };
        self.lowest_free = number;
        let region = &mut self.regions[number];
        let bit = region.free.trailing_zeros();
        region.free &= !(1 << bit);
        self.free_touched -= (region.touched >> bit & 1) as usize;
        region.touched |= 1 << bit;
        self.taken += 1;
        Some((number * SLABS_IN_REGION) as u32 + bit)
    }

    /// Makes the next region usable, and the records of its slabs.
    fn open_region(&mut self) -> Option<usize> {
        let base = BASE.load(Ordering::Relaxed);
        let number = self.usable;
        if (number + 1) * REGION > LEN.load(Ordering::Relaxed) {
            return None;
        }
        let records_end = (number + 1) * SLABS_IN_REGION * RECORD;
        if records_end > self.records_len {
            let len = records_end.next_multiple_of(SLAB);
            if !make_usable(base.wrapping_add(self.records_len), len - self.records_len) {
                return None;
            }
            self.records_len = len;
        }
        let at = base.wrapping_add(number * REGION);
        if !make_usable(at, REGION) {
            return None;
        }
        #[cfg(target_os = "linux")]
        if HUGEPAGES.load(Ordering::Relaxed) {
            // SAFETY: the region is ours. A refusal changes nothing.
            unsafe { libc::madvise(at.cast(), REGION, libc::MADV_HUGEPAGE) };
        }
        self.regions[number] = Region { free: ALL, touched: 0 };
        self.usable = number + 1;
        Some(number)
    }

    fn put(&mut self, index: usize) {
        let (number, bit) = (index / SLABS_IN_REGION, index % SLABS_IN_REGION);
        debug_assert!(self.regions[number].free >> bit & 1 == 0, "a slab is given back once");
        self.regions[number].free |= 1 << bit;
        self.lowest_free = self.lowest_free.min(number);
        self.taken -= 1;
        self.free_touched += 1;
    }

    fn purge(&mut self, budget: usize) -> usize {
        let hugepages = HUGEPAGES.load(Ordering::Relaxed);
        let mut given = 0;
        for _ in self.first..self.usable {
            if given >= budget || self.free_touched == 0 {
                break;
            }
            if self.purge_at >= self.usable {
                self.purge_at = self.first;
            }
            let number = self.purge_at;
            let Region { free, touched } = self.regions[number];
            let mut idle = free & touched;
            if hugepages && free != ALL {
                idle = 0;
            }
            self.regions[number].touched &= !idle;
            self.free_touched -= idle.count_ones() as usize;
            given += idle.count_ones() as usize * SLAB;
            while idle != 0 {
                let from = idle.trailing_zeros();
                let run = (!(idle >> from)).trailing_zeros();
                give_back(number * SLABS_IN_REGION + from as usize, run as usize);
                idle &= !((ALL >> (u32::BITS - run)) << from);
            }
            self.purge_at = number + 1;
        }
        given
    }
}

fn give_back(index: usize, slabs: usize) {
    #[cfg(target_os = "linux")]
    const ADVICE: libc::c_int = libc::MADV_DONTNEED;
    #[cfg(not(target_os = "linux"))]
    const ADVICE: libc::c_int = libc::MADV_FREE;
    // SAFETY: no live block is in these slabs, and none of them can be taken while the lock is held.
    unsafe { libc::madvise(memory(index as u32).cast(), slabs * SLAB, ADVICE) };
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// Makes the pool look used up to this thread.
        pub static REFUSE: Cell<bool> = const { Cell::new(false) };
    }

    #[test]
    fn a_slab_is_never_taken_twice_and_its_memory_is_writable() {
        let taken: Vec<u32> = (0..100).map(|_| take().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = taken.iter().collect();
        assert_eq!(distinct.len(), taken.len());
        for &index in &taken {
            let at = memory(index);
            // SAFETY: the slab was just taken by us.
            unsafe { at.write_bytes(1, SLAB) };
            let last = NonNull::new(at.wrapping_add(SLAB - 1)).unwrap();
            assert_eq!(slab_of(last), slab_of(NonNull::new(at).unwrap()));
            // SAFETY: the slab was taken.
            assert_eq!(slab_of(last).unwrap().as_ptr().cast_const(), &raw const *unsafe { slab(index) });
        }
        taken.into_iter().for_each(put);
    }

    #[test]
    fn a_block_of_the_system_has_no_slab() {
        let index = take().unwrap();
        let boxed = Box::new(1u8);
        assert!(slab_of(NonNull::from(&*boxed)).is_none());
        put(index);
    }

    #[test]
    fn a_purged_slab_reads_as_zeroes() {
        // The pool's own methods, on a pool and a range that no other test uses.
        let index = take().unwrap();
        // SAFETY: the slab was just taken by us.
        unsafe { memory(index).write_bytes(7, SLAB) };
        give_back(index as usize, 1);
        // SAFETY: still ours.
        let bytes = unsafe { std::slice::from_raw_parts(memory(index), SLAB) };
        assert!(!cfg!(target_os = "linux") || bytes.iter().all(|&b| b == 0));
        put(index);
    }
}
