//! The address range from which slabs are cut.
//!
//! ```text
//!  base                                                                        base + len
//!  │ Slab, Slab, Slab, …  (64 B each)  │ region 2 MiB = 32 slabs │ region │ …  not usable yet
//!    └─ record i tells of the slab at base + i · 64 KiB
//! ```
//!
//! The range is made usable in regions of 2 MiB, one after the other, so that any block finds its slab's record by a
//! subtraction, a shift and an addition. The records lie together at the front: at the head of each slab, 64 KiB apart,
//! they would all compete for a few sets of the caches.
//!
//! Where address space costs nothing, 1 TiB is reserved at the first use (or the largest of its successive halves that
//! is granted). Under a limit of the address space (`ulimit -v`), a reservation would take addresses that the rest of
//! the process needs, so only the records are reserved: each region is mapped when it is opened, at an address far from
//! where the kernel puts other mappings. If a mapping is there nevertheless, the range ends before it, and blocks come
//! from the system.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::heap::Slab;

/// The size of a slab. Small enough that a class in use once costs little; large enough that the pool is rarely needed.
pub const SLAB: usize = 1 << SLAB_SHIFT;
const SLAB_SHIFT: u32 = 16;

/// The step in which memory is made usable: a huge page.
pub const REGION: usize = 2 << 20;
pub const SLABS_IN_REGION: usize = REGION / SLAB;

const RECORD: usize = size_of::<Slab>();
const _: () = assert!(RECORD == 64, "a slab's record is a cache line");

/// FreeBSD reserves no swap for pages that were not touched, and has no flag to say so.
#[cfg(not(target_os = "freebsd"))]
const NORESERVE: libc::c_int = libc::MAP_NORESERVE;
#[cfg(target_os = "freebsd")]
const NORESERVE: libc::c_int = 0;

/// The largest and the smallest range.
pub const RANGE_MAX: usize = 1 << 40;
const RANGE_MIN: usize = 64 << 20;

/// The smallest range that is reserved at once.
const RESERVE_MIN: usize = 64 << 30;

/// Where a range that is mapped region by region begins, or up to 32 GiB above: for addresses of 47 bits and more, and
/// of 39. Kernels place mappings near the top, programs and their heaps elsewhere.
const PLACES: [usize; 2] = [0x1000_0000_0000, 0x10_0000_0000];

/// No address is less than `RANGE_MAX` above this, so that before the range exists no block is in it, whichever of the
/// two statics a thread sees first.
const NOWHERE: usize = 1 << 63;

static BASE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::without_provenance_mut(NOWHERE));

/// The length of the part of the range, from the base on, in which every mapping is ours.
static LEN: AtomicUsize = AtomicUsize::new(0);

/// The length to which the range may grow.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Whether regions are mapped one by one, rather than made usable in a reservation.
static PIECEWISE: AtomicBool = AtomicBool::new(false);

static HUGEPAGES: AtomicBool = AtomicBool::new(false);

/// Allows or forbids huge pages in regions that are made usable later.
pub fn set_hugepages(on: bool) {
    HUGEPAGES.store(on, Ordering::Relaxed);
}

pub fn hugepages() -> bool {
    HUGEPAGES.load(Ordering::Relaxed)
}

/// The record of the slab in which a block lies; `None` for a block outside the range.
#[inline(always)]
pub fn slab_of(block: NonNull<u8>) -> Option<NonNull<Slab>> {
    // A thread that holds a block of the range received it after both were set.
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

/// The number of the slab with this record.
pub fn index_of_record(slab: &Slab) -> u32 {
    let offset = std::ptr::from_ref(slab).addr() - BASE.load(Ordering::Relaxed).addr();
    (offset / RECORD) as u32
}

/// The start of the memory of slab `index`.
pub fn memory(index: u32) -> *mut u8 {
    BASE.load(Ordering::Relaxed).wrapping_add((index as usize) << SLAB_SHIFT)
}

/// Places the range. Returns the number of its first region after the records; `None` if there is no place.
pub fn reserve() -> Option<usize> {
    let limit = address_space_limit();
    if limit.is_none()
        && let Some((start, len)) = reserve_at_once()
    {
        BASE.store(start.wrapping_add(start.align_offset(REGION)), Ordering::Relaxed);
        LIMIT.store(len, Ordering::Relaxed);
        LEN.store(len, Ordering::Relaxed);
        return Some(first_region(len));
    }
    let len = limit.unwrap_or(RESERVE_MIN).clamp(RANGE_MIN, RANGE_MAX).next_power_of_two();
    let first = first_region(len);
    let base = PLACES.iter().find_map(|&place| map_at(random_address(place), first * REGION))?;
    BASE.store(base, Ordering::Relaxed);
    LIMIT.store(len, Ordering::Relaxed);
    PIECEWISE.store(true, Ordering::Relaxed);
    Some(first)
}

/// The first region after the records of a range.
fn first_region(len: usize) -> usize {
    (len / SLAB * RECORD).div_ceil(REGION)
}

/// The limit of the process's address space in bytes, if there is one.
fn address_space_limit() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours to write.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY)
        .then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

fn reserve_at_once() -> Option<(*mut u8, usize)> {
    let mut len = RANGE_MAX;
    while len >= RESERVE_MIN {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON | NORESERVE;
            libc::mmap(std::ptr::null_mut(), len + REGION, libc::PROT_NONE, flags, -1, 0)
        };
        if start != libc::MAP_FAILED {
            return Some((start.cast(), len));
        }
        len /= 2;
    }
    None
}

/// Returns `place`, moved up by whole regions by as much as the kernel has moved this thread's stack.
fn random_address(place: usize) -> *mut u8 {
    let stack = (&raw const place).addr();
    std::ptr::without_provenance_mut(place + ((stack >> 12) & 0x3fff) * REGION)
}

/// Maps usable memory at exactly this address, where nothing is mapped.
fn map_at(at: *mut u8, len: usize) -> Option<*mut u8> {
    // SAFETY: the address is a wish: a new mapping never replaces another.
    let start = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | NORESERVE;
        libc::mmap(at.cast(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if start == libc::MAP_FAILED {
        return None;
    }
    if start.addr() != at.addr() {
        // SAFETY: the mapping was just made and nothing refers to it.
        unsafe { libc::munmap(start, len) };
        return None;
    }
    Some(start.cast())
}

fn make_usable(at: *mut u8, len: usize) -> bool {
    // SAFETY: the range is ours, and was not usable before.
    unsafe { libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// Makes region `number`, which follows the last usable one, and the records of its slabs usable. Returns whether that
/// succeeded. `records` is the number of usable bytes of records. Called with the pool's lock held.
pub fn open_region(number: usize, records: &mut usize) -> bool {
    if (number + 1) * REGION > LIMIT.load(Ordering::Relaxed) {
        return false;
    }
    let base = BASE.load(Ordering::Relaxed);
    let at = base.wrapping_add(number * REGION);
    if PIECEWISE.load(Ordering::Relaxed) {
        if map_at(at, REGION).is_none() {
            return false;
        }
        LEN.store((number + 1) * REGION, Ordering::Relaxed);
    } else {
        let records_end = (number + 1) * SLABS_IN_REGION * RECORD;
        if records_end > *records {
            let len = records_end.next_multiple_of(SLAB);
            if !make_usable(base.wrapping_add(*records), len - *records) {
                return false;
            }
            *records = len;
        }
        if !make_usable(at, REGION) {
            return false;
        }
    }
    #[cfg(target_os = "linux")]
    if hugepages() {
        // SAFETY: the region is ours. A refusal changes nothing.
        unsafe { libc::madvise(at.cast(), REGION, libc::MADV_HUGEPAGE) };
    }
    true
}

/// Returns the memory of some slabs to the kernel; they then read as zeroes or keep their contents.
pub fn give_back(index: usize, slabs: usize) {
    #[cfg(target_os = "linux")]
    const ADVICE: libc::c_int = libc::MADV_DONTNEED;
    #[cfg(not(target_os = "linux"))]
    const ADVICE: libc::c_int = libc::MADV_FREE;
    // SAFETY: the caller has taken these slabs from the pool, and no live block is in them.
    unsafe { libc::madvise(memory(index as u32).cast(), slabs * SLAB, ADVICE) };
}
