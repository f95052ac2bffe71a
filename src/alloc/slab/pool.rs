//! The pool of unused slabs.
//!
//! Free slabs are bits in a mask per region. The pool hands out single slabs, *wide* ones (eight, at a multiple of
//! eight), and *runs* of some consecutive ones. It takes the lowest place that fits, so that high regions become empty;
//! for each shape it remembers the region below which nothing fits.
//!
//! [`purge`] returns the memory of free slabs to the kernel, within a budget. The slabs are taken while the kernel
//! works, so that the lock is not held: a separate thread may purge while others allocate. [`idle_bytes`] determines
//! how much to purge: nobody has needed the smallest amount that was free at any time since the last look. Which slabs
//! to purge while others are in use follows from their use since then ([`purge_rested`]).
//!
//! The lock is held for some tens of instructions, at most once in 16 allocations of a size (and for a system call when
//! a region is made usable), and across `fork`, so that a child never finds it held by a thread that it does not have.

use std::cell::UnsafeCell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::space::{self, RANGE_MAX, REGION, SLAB, SLABS_IN_REGION};

const ALL: u32 = u32::MAX;
const _: () = assert!(SLABS_IN_REGION == u32::BITS as usize, "one bit a slab");

const REGIONS_MAX: usize = RANGE_MAX / REGION;

/// Slabs in a wide one.
pub const WIDE: usize = 8;

/// Multiples of [`WIDE`].
const WIDE_PLACES: u32 = 0x0101_0101;

/// At least this many free slabs of a region are worth splitting its huge page.
const WORTH_A_SPLIT: u32 = u32::BITS / 2;

/// The most slabs of a run.
pub const LONGEST_RUN: usize = 17;

/// One bit per slab: whether it is free, whether it was touched since the kernel last had its memory, and whether it
/// was free and touched at the last look of [`purge_rested`] and not taken since.
#[derive(Clone, Copy)]
struct Region {
    free: u32,
    touched: u32,
    rested: u32,
}

impl Region {
    /// Returns the slabs that have rested; none if `wanted` is not set or they are too few. The others begin to rest.
    fn look(&mut self, wanted: bool, least: u32) -> u32 {
        let idle = self.free & self.touched;
        let rested = idle & self.rested;
        let chosen = if wanted && rested.count_ones() >= least { rested } else { 0 };
        self.rested = idle & !chosen;
        chosen
    }
}

/// A kind of allocation: a number of consecutive slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    slabs: usize,
    /// The index in the pool's `lowest` for the start of the search.
    kind: usize,
    /// The places in a region at which it may begin.
    places: u32,
}

impl Shape {
    pub const SLAB: Shape = Shape::run(1);
    pub const WIDE: Shape = Shape { slabs: WIDE, kind: 0, places: WIDE_PLACES };

    /// Any `slabs` consecutive slabs, up to [`LONGEST_RUN`].
    pub const fn run(slabs: usize) -> Shape {
        assert!(slabs > 0 && slabs <= LONGEST_RUN);
        Shape { slabs, kind: slabs, places: ALL }
    }

    pub const fn bytes(self) -> usize {
        self.slabs * SLAB
    }

    /// The lowest place for it among these free slabs.
    fn place(self, free: u32) -> Option<u32> {
        let (mut starts, mut len) = (free, 1);
        while len < self.slabs {
            let step = len.min(self.slabs - len);
            starts &= starts >> step;
            len += step;
        }
        starts &= self.places;
        (starts != 0).then(|| starts.trailing_zeros())
    }

    fn bits(self, place: u32) -> u32 {
        (ALL >> (u32::BITS - self.slabs as u32)) << place
    }
}

/// The used part of the range. Region numbers count from the base.
struct Pool {
    regions: [Region; REGIONS_MAX],
    /// The first region after the records.
    first: usize,
    /// One past the last region that was made usable.
    usable: usize,
    /// For each kind of shape, the region below which it fits nowhere.
    lowest: [usize; LONGEST_RUN + 1],
    /// Where the next purge continues.
    purge_at: usize,
    /// How much of the records is usable, in bytes.
    records_len: usize,
    /// The number of slabs in use, except those of runs.
    taken: usize,
    taken_by_runs: usize,
    free_touched: usize,
    /// The smallest `free_touched` since the last look.
    least_free_touched: usize,
}

struct Locked(UnsafeCell<Pool>);

// SAFETY: the pool is reached only with the lock held.
unsafe impl Sync for Locked {}

// All zeroes, so the program's image holds none of it, and no page of it is touched before its region is used.
static POOL: Locked = Locked(UnsafeCell::new(Pool {
    regions: [Region { free: 0, touched: 0, rested: 0 }; REGIONS_MAX],
    first: 0,
    usable: 0,
    lowest: [0; LONGEST_RUN + 1],
    purge_at: 0,
    records_len: 0,
    taken: 0,
    taken_by_runs: 0,
    free_touched: 0,
    least_free_touched: 0,
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

/// Slabs that were taken: the number of the first, and whether their memory may contain data of previous users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub index: u32,
    pub touched: bool,
}

/// Takes free slabs; `None` if the range is used up or was never granted.
pub fn take(shape: Shape) -> Option<Taken> {
    #[cfg(test)]
    if tests::REFUSE.get() {
        return None;
    }
    static RESERVED: Once = Once::new();
    RESERVED.call_once(|| {
        let Some(first) = space::reserve() else { return };
        with_pool(|pool| pool.begin(first));
        // SAFETY: the handlers only take and release the lock.
        unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
    });
    with_pool(|pool| {
        let taken = pool.take(shape)?;
        pool.taken += shape.slabs;
        Some(taken)
    })
}

/// Returns slabs without a live block to the pool.
pub fn put(index: u32, shape: Shape) {
    with_pool(|pool| {
        pool.taken -= shape.slabs;
        pool.put(index as usize, shape.slabs);
    });
}

/// Like [`take`], for a run that serves one block.
pub fn take_run(slabs: usize) -> Option<Taken> {
    let taken = take(Shape::run(slabs))?;
    with_pool(|pool| {
        pool.taken -= slabs;
        pool.taken_by_runs += slabs;
    });
    Some(taken)
}

/// Returns a run to the pool.
pub fn put_run(index: u32, slabs: usize) {
    with_pool(|pool| {
        pool.taken_by_runs -= slabs;
        pool.put(index as usize, slabs);
    });
}

/// Returns up to `budget` bytes of free slabs to the kernel, plus at most the rest of a region. Returns the number of
/// bytes, 0 if none is left. With huge pages it returns only half a region or more, since that splits the page.
pub fn purge(budget: usize) -> usize {
    let mut given = 0;
    while given < budget
        && let Some((number, idle)) = with_pool(Pool::detach_idle)
    {
        given += give_back(number, idle);
    }
    given
}

/// Like [`purge`], but returns only slabs that were free throughout since the last call, those of the highest regions
/// first. The kernel would soon have to clear the memory of others again.
pub fn purge_rested(budget: usize) -> usize {
    let (first, usable) = usable_regions();
    let mut given = 0;
    for number in (first..usable).rev() {
        let rested = with_pool(|pool| pool.detach_rested(number, given < budget));
        if rested != 0 {
            given += give_back(number, rested);
        }
    }
    given
}

/// Returns the memory of a region's detached slabs to the kernel. Returns the number of bytes.
fn give_back(number: usize, detached: u32) -> usize {
    let mut rest = detached;
    while rest != 0 {
        let from = rest.trailing_zeros();
        let run = (!(rest >> from)).trailing_zeros();
        space::give_back(number * SLABS_IN_REGION + from as usize, run as usize);
        rest &= !((ALL >> (u32::BITS - run)) << from);
    }
    with_pool(|pool| pool.attach(number, detached));
    detached.count_ones() as usize * SLAB
}

/// Bytes of free slabs that are still backed by memory and were not needed since the last call.
pub fn idle_bytes() -> usize {
    with_pool(|pool| std::mem::replace(&mut pool.least_free_touched, pool.free_touched) * SLAB)
}

/// The numbers of slabs in use and free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Slabs in use, a wide one as eight, without those of runs.
    pub slabs: usize,
    /// Free slabs that are still backed by memory.
    pub free_touched: usize,
}

pub fn usage() -> Usage {
    with_pool(|pool| Usage { slabs: pool.taken, free_touched: pool.free_touched })
}

/// Calls `visit` with the number of every slab in use, with the lock held for a region at a time: no slab is taken or
/// given back while its region is visited. `visit` neither panics nor allocates.
pub fn for_each_taken(mut visit: impl FnMut(u32)) {
    let (first, usable) = usable_regions();
    for number in first..usable {
        for_each_taken_of(number, &mut visit);
    }
}

/// [`for_each_taken`] for one region, from its last slab to its first.
pub fn for_each_taken_of(number: usize, mut visit: impl FnMut(u32)) {
    with_pool(|pool| {
        let mut taken = !pool.regions[number].free;
        while taken != 0 {
            let place = u32::BITS - 1 - taken.leading_zeros();
            visit((number * SLABS_IN_REGION) as u32 + place);
            taken &= !(1 << place);
        }
    });
}

/// The first region, and the one after the last usable one.
pub fn usable_regions() -> (usize, usize) {
    with_pool(|pool| (pool.first, pool.usable))
}

/// Calls `visit` with address and length of each region whose slabs were all touched since the kernel had their memory,
/// until it returns `false`. The lock is not held meanwhile.
pub fn for_each_region(mut visit: impl FnMut(usize, usize) -> bool) {
    let (first, usable) = usable_regions();
    for number in first..usable {
        if with_pool(|pool| pool.regions[number].touched) == ALL
            && !visit(space::memory((number * SLABS_IN_REGION) as u32).expose_provenance(), REGION)
        {
            return;
        }
    }
}

/// The number of slabs of a region that must be free for its memory to be returned.
fn least_worth() -> u32 {
    if space::hugepages() { WORTH_A_SPLIT } else { 1 }
}

impl Pool {
    fn begin(&mut self, first: usize) {
        self.first = first;
        self.usable = first;
        self.lowest = [first; LONGEST_RUN + 1];
        self.purge_at = first;
    }

    fn take(&mut self, shape: Shape) -> Option<Taken> {
        let lowest = self.lowest[shape.kind];
        let found =
            (lowest..self.usable).find_map(|number| Some((number, shape.place(self.regions[number].free)?)));
        // Remembered also where no region can be opened: the next search would fail as long as this one.
        self.lowest[shape.kind] = found.map_or(self.usable, |(number, _)| number);
        let (number, place) = match found {
            Some(found) => found,
            None => (self.open_region()?, 0),
        };
        let region = &mut self.regions[number];
        let bits = shape.bits(place);
        debug_assert!(region.free & bits == bits);
        let touched = region.touched & bits;
        region.free &= !bits;
        region.touched |= bits;
        region.rested &= !bits;
        self.free_touched -= touched.count_ones() as usize;
        self.least_free_touched = self.least_free_touched.min(self.free_touched);
        Some(Taken { index: (number * SLABS_IN_REGION) as u32 + place, touched: touched != 0 })
    }

    /// Makes the next region usable.
    fn open_region(&mut self) -> Option<usize> {
        let number = self.usable;
        if number >= REGIONS_MAX || !space::open_region(number, &mut self.records_len) {
            return None;
        }
        self.regions[number] = Region { free: ALL, touched: 0, rested: 0 };
        self.usable = number + 1;
        Some(number)
    }

    fn put(&mut self, index: usize, slabs: usize) {
        let (number, place) = (index / SLABS_IN_REGION, index % SLABS_IN_REGION);
        let bits = Shape::run(slabs).bits(place as u32);
        debug_assert!(self.regions[number].free & bits == 0, "a slab is given back once");
        self.free_touched += slabs;
        self.free(number, bits);
    }

    fn free(&mut self, number: usize, bits: u32) {
        let free = self.regions[number].free | bits;
        self.regions[number].free = free;
        let mut starts = free;
        for len in 1..=LONGEST_RUN {
            self.lowest[len] = self.lowest[len].min(number);
            starts &= free >> len;
            if starts == 0 {
                break;
            }
        }
        if Shape::WIDE.place(free).is_some() {
            self.lowest[Shape::WIDE.kind] = self.lowest[Shape::WIDE.kind].min(number);
        }
    }

    /// Takes all free and touched slabs of the next region that has any.
    fn detach_idle(&mut self) -> Option<(usize, u32)> {
        let least = least_worth();
        for _ in self.first..self.usable {
            if self.free_touched == 0 {
                return None;
            }
            let number = if self.purge_at < self.usable { self.purge_at } else { self.first };
            self.purge_at = number + 1;
            let region = self.regions[number];
            let idle = region.free & region.touched;
            if idle.count_ones() < least {
                continue;
            }
            self.detach(number, idle);
            return Some((number, idle));
        }
        None
    }

    /// Examines one region's slabs, and takes those that have rested if these are `wanted`.
    fn detach_rested(&mut self, number: usize, wanted: bool) -> u32 {
        let rested = self.regions[number].look(wanted, least_worth());
        self.detach(number, rested);
        rested
    }

    /// Takes slabs that are free and touched.
    fn detach(&mut self, number: usize, idle: u32) {
        self.regions[number].free &= !idle;
        self.free_touched -= idle.count_ones() as usize;
        self.least_free_touched = self.least_free_touched.min(self.free_touched);
    }

    /// Puts back detached slabs, whose memory the kernel has now.
    fn attach(&mut self, number: usize, idle: u32) {
        self.regions[number].touched &= !idle;
        self.free(number, idle);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::Cell;
    use std::ptr::NonNull;

    use super::super::space::{memory, slab, slab_of};

    thread_local! {
        /// Makes the pool look used up to this thread.
        pub static REFUSE: Cell<bool> = const { Cell::new(false) };
    }

    #[test]
    fn a_slab_is_never_taken_twice_and_its_memory_is_writable() {
        let taken: Vec<u32> = (0..100).map(|_| take(Shape::SLAB).unwrap().index).collect();
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
        for index in taken {
            put(index, Shape::SLAB);
        }
    }

    #[test]
    fn slabs_of_all_shapes_never_overlap() {
        let shapes: Vec<Shape> =
            [Shape::SLAB, Shape::WIDE].into_iter().chain((1..=LONGEST_RUN).map(Shape::run)).collect();
        let mut owner = std::collections::HashMap::new();
        let mut taken: Vec<(u32, Shape)> = Vec::new();
        for round in 0..300usize {
            let shape = shapes[round * 7 % shapes.len()];
            let index = take(shape).unwrap().index;
            assert!(shape != Shape::WIDE || index.is_multiple_of(WIDE as u32), "a wide slab is aligned");
            assert_eq!(index / 32, (index + shape.slabs as u32 - 1) / 32, "all of it is in one region");
            for slab in index..index + shape.slabs as u32 {
                assert_eq!(owner.insert(slab, round), None);
            }
            taken.push((index, shape));
            if round % 3 > 0 {
                let (index, shape) = taken.swap_remove(round * 31 % taken.len());
                (index..index + shape.slabs as u32).for_each(|slab| {
                    owner.remove(&slab);
                });
                put(index, shape);
            }
        }
        for (index, shape) in taken {
            put(index, shape);
        }
    }

    #[test]
    fn the_lowest_place_that_fits_is_found() {
        assert_eq!(Shape::run(3).place(0b0111_0011), Some(4));
        assert_eq!(Shape::run(3).place(0b0110_0110), None);
        assert_eq!(Shape::run(17).place(ALL << 15), Some(15));
        assert_eq!(Shape::run(17).place(ALL << 16), None);
        assert_eq!(Shape::WIDE.place(0x00ff_fff0), Some(8));
        assert_eq!(Shape::WIDE.place(0x0fff_0ff0), Some(16));
    }

    #[test]
    fn a_block_of_the_system_has_no_slab() {
        let index = take(Shape::SLAB).unwrap().index;
        let boxed = Box::new(1u8);
        assert!(slab_of(NonNull::from(&*boxed)).is_none());
        put(index, Shape::SLAB);
    }

    #[test]
    fn a_slab_has_rested_when_it_was_free_from_one_look_to_the_next() {
        let mut region = Region { free: 0b1101_1111, touched: 0b0111_1111, rested: 0 };
        assert_eq!(region.look(true, 1), 0, "nobody has looked before");
        region.rested &= !0b11;
        assert_eq!(region.look(true, 6), 0, "too few");
        assert_eq!(region.look(false, 1), 0);
        region.rested &= !0b11;
        assert_eq!(region.look(true, 1), 0b0101_1100, "neither in use, untouched nor taken in between");
        region.free &= !0b0101_1100;
        assert_eq!(region.look(true, 1), 0b11);
    }

    #[test]
    fn a_purged_slab_reads_as_zeroes() {
        // The slab stays ours, so that no other test takes it.
        let index = take(Shape::SLAB).unwrap().index;
        // SAFETY: the slab was just taken by us.
        unsafe { memory(index).write_bytes(7, SLAB) };
        space::give_back(index as usize, 1);
        // SAFETY: still ours.
        let bytes = unsafe { std::slice::from_raw_parts(memory(index), SLAB) };
        assert!(!cfg!(target_os = "linux") || bytes.iter().all(|&b| b == 0));
        put(index, Shape::SLAB);
    }
}
