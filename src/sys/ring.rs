//! The ring: the buffer for received bytes, always readable and writable as one slice.
//!
//! A ring of `capacity` bytes occupies `2 * capacity` bytes of addresses. In a *mirrored* ring both halves are the same
//! memory, mapped twice, so a range that runs over the end of the first half continues in the second and is still one
//! slice:
//!
//! ```text
//!        first half              second half (the same pages)
//!   |............[==readable==|====][~~writable~~]............|
//!   0          start      capacity end   start + capacity   2 * capacity
//! ```
//!
//! `start < capacity` and `end <= start + capacity` always hold; consuming past the first half subtracts `capacity`
//! from both. Where the system refuses to map twice, the halves are ordinary memory, and consuming past the first half
//! copies the remaining readable bytes to the beginning: at most once every `capacity` bytes, so still O(1) per byte.
//! Everything else, addresses included, is the same code for both.
//!
//! Costs: receive, parse and consume are a few additions each. A ring that becomes empty starts over at 0, so a client
//! that is served as fast as it sends keeps touching the same cache lines. Creating a ring costs about ten system calls
//! and two of the process's memory mappings (Linux allows 65,530), so rings are pooled. A mirrored ring is shared
//! memory: a forked child sees the parent's bytes change, and must not use it.
//!
//! A ring that grows becomes a compacting one. On Linux it then grows by moving its pages to other addresses
//! (`mremap`), which takes microseconds for megabytes; elsewhere its content is copied.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::sys::{memory, out_of_memory};

/// A byte queue of fixed capacity whose content and whose room are each one slice.
///
/// Not `Clone`, and `Send` but not shared between threads.
#[derive(Debug)]
pub struct Ring {
    /// `2 * capacity` bytes, mapped for as long as the ring lives.
    base: NonNull<u8>,
    capacity: usize,
    start: usize,
    end: usize,
    mirrored: bool,
}

// SAFETY: the memory belongs to this ring alone, and nothing in it is tied to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring of at least `capacity` bytes, rounded up to whole pages; mirrored where the system permits, else
    /// compacting.
    pub fn new(capacity: usize) -> Ring {
        let page = page_bytes();
        let capacity = capacity.max(1).checked_next_multiple_of(page).expect("ring capacity overflows");
        match map_mirrored(capacity) {
            Ok(base) => Ring::over(base, capacity, true),
            Err(_) => Ring::compacting(capacity),
        }
    }

    /// A ring of exactly `capacity` bytes (at least 1) in ordinary memory, which copies its remaining bytes to the
    /// beginning at each turn. If the system refuses the memory, the process ends, as with every other allocation.
    pub fn compacting(capacity: usize) -> Ring {
        let capacity = capacity.max(1);
        let bytes = capacity.checked_mul(2).expect("ring capacity overflows");
        let base = map(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, ANONYMOUS, -1)
            .unwrap_or_else(|_| out_of_memory::end(bytes));
        Ring::over(base, capacity, false)
    }

    /// Makes an empty ring of memory that was mapped for it.
    fn over(base: NonNull<u8>, capacity: usize, mirrored: bool) -> Ring {
        memory::count_ring(capacity);
        Ring { base, capacity, start: 0, end: 0, mirrored }
    }

    /// Raises the capacity to at least `capacity` bytes; the content stays. The ring is a compacting one afterwards.
    ///
    /// # Errors
    /// Those of `mmap` or `mremap`; the ring is then unchanged.
    pub fn grow(&mut self, capacity: usize) -> io::Result<()> {
        if capacity <= self.capacity {
            return Ok(());
        }
        let bytes = capacity.checked_mul(2).ok_or(io::ErrorKind::OutOfMemory)?;
        if !self.mirrored
            && let Some(base) = extend(self.base, 2 * self.capacity, bytes)?
        {
            memory::count_ring(capacity - self.capacity);
            self.base = base;
            self.capacity = capacity;
            return Ok(());
        }
        let base = map(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, ANONYMOUS, -1)?;
        let mut larger = Ring::over(base, capacity, false);
        larger.writable()[..self.len()].copy_from_slice(self.readable());
        larger.commit(self.len());
        *self = larger;
        Ok(())
    }

    /// The room: `capacity() - len()` bytes after the readable ones. [`Ring::commit`] makes bytes written there
    /// readable.
    #[inline(always)]
    pub fn writable(&mut self) -> &mut [u8] {
        // SAFETY: `end <= start + capacity <= 2 * capacity`, so the range lies in the mapping. It is at most
        // `capacity` long, so no byte is in it twice; the pages were zero when mapped, so all are initialised.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr().add(self.end), self.capacity - self.len()) }
    }

    /// Makes the first `count` bytes of the room readable. Panics if the room is smaller.
    #[inline(always)]
    pub fn commit(&mut self, count: usize) {
        assert!(count <= self.capacity - self.len(), "committed more than was writable");
        self.end += count;
        forget_addresses();
    }

    /// The readable bytes, oldest first.
    #[inline(always)]
    pub fn readable(&self) -> &[u8] {
        // SAFETY: `start <= end <= start + capacity <= 2 * capacity`: inside the mapping, no byte twice, all
        // initialised.
        unsafe { slice::from_raw_parts(self.base.as_ptr().add(self.start), self.end - self.start) }
    }

    /// Turns the oldest `count` readable bytes into room. Panics if there are fewer.
    #[inline(always)]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than was readable");
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start >= self.capacity {
            self.turn();
        }
        forget_addresses();
    }

    /// Keeps the oldest `count` readable bytes and drops the others. Panics if there are fewer.
    #[inline]
    pub fn truncate(&mut self, count: usize) {
        assert!(count <= self.len(), "kept more than was readable");
        self.end = self.start + count;
        if count == 0 {
            self.start = 0;
            self.end = 0;
        }
        forget_addresses();
    }

    /// The number of readable bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are no readable bytes.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The maximum number of readable bytes.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the two halves are the same memory.
    pub fn is_mirrored(&self) -> bool {
        self.mirrored
    }

    /// Moves the readable range from the second half, which contains all of it, back into the first.
    fn turn(&mut self) {
        debug_assert!(self.start >= self.capacity && self.end <= 2 * self.capacity);
        if !self.mirrored {
            // SAFETY: both ranges lie in the mapping; `copy` allows overlap, though there is none.
            unsafe { ptr::copy(self.base.as_ptr().add(self.start), self.base.as_ptr(), self.len()) };
            self.end -= self.start;
            self.start = 0;
            return;
        }
        self.start -= self.capacity;
        self.end -= self.capacity;
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        memory::forget_ring(self.capacity);
        unmap(self.base, 2 * self.capacity);
    }
}

/// The compiler may assume that two addresses are two bytes. In a mirrored ring they are not, so it must not move or
/// cache accesses across the points where bytes change hands. Costs no instruction.
#[inline(always)]
fn forget_addresses() {
    compiler_fence(Ordering::SeqCst);
}

/// No swap is reserved where the system permits that: at least half of a compacting ring is hardly ever touched.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANON;

fn page_bytes() -> usize {
    // SAFETY: no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Calls `mmap` once. With MAP_FIXED in `flags` the caller already owns the mapping at `at`.
fn map(at: *mut u8, bytes: usize, protection: i32, flags: i32, fd: i32) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping, or one over a reservation of our own.
    let address = unsafe { libc::mmap(at.cast(), bytes, protection, flags, fd, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// Enlarges an anonymous mapping of our own, at any address, where the system can do that without copying.
#[cfg(target_os = "linux")]
fn extend(base: NonNull<u8>, old: usize, new: usize) -> io::Result<Option<NonNull<u8>>> {
    // SAFETY: the whole of a mapping of our own; its content moves along, and the old address is not used afterwards.
    let address = unsafe { libc::mremap(base.as_ptr().cast(), old, new, libc::MREMAP_MAYMOVE) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(Some(NonNull::new(address.cast()).expect("nothing is mapped at address 0")))
}

/// Enlarges an anonymous mapping of our own, at any address, where the system can do that without copying.
#[cfg(not(target_os = "linux"))]
fn extend(_: NonNull<u8>, _: usize, _: usize) -> io::Result<Option<NonNull<u8>>> {
    Ok(None)
}

fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: a mapping of our own to which nothing refers any more.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}

/// Maps `2 * capacity` addresses whose halves are the same `capacity` bytes; `capacity` is a multiple of the page.
fn map_mirrored(capacity: usize) -> io::Result<NonNull<u8>> {
    let bytes = capacity.checked_mul(2).ok_or(io::ErrorKind::OutOfMemory)?;
    let fd = shared_memory()?;
    let length = libc::off_t::try_from(capacity).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Reserving the whole range first ensures that no other mapping takes the second half.
    let base = map(ptr::null_mut(), bytes, libc::PROT_NONE, ANONYMOUS, -1)?;
    for half in 0..2 {
        let at = base.as_ptr().wrapping_add(half * capacity);
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        if let Err(error) = map(at, capacity, libc::PROT_READ | libc::PROT_WRITE, flags, fd.as_raw_fd()) {
            unmap(base, bytes);
            return Err(error);
        }
    }
    Ok(base)
}

/// A descriptor of unnamed memory. The mappings keep the memory; the descriptor may be closed.
#[cfg(target_os = "linux")]
fn shared_memory() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // Kernels since 6.3 may require the flag that nothing here will be executed; older ones refuse it.
    for flags in [libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL, libc::MFD_CLOEXEC] {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"redstart-ring".as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: open, and ours alone.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(io::Error::last_os_error())
}

/// A descriptor of unnamed memory. The mappings keep the memory; the descriptor may be closed.
#[cfg(target_os = "freebsd")]
fn shared_memory() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: SHM_ANON stands for a name; the descriptor is ours alone and closed on exec by definition.
    unsafe {
        let fd = libc::shm_open(libc::SHM_ANON, libc::O_RDWR, 0o600);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// A descriptor of memory whose name is removed again before this returns. The mappings keep the memory; the descriptor
/// may be closed.
#[cfg(target_os = "macos")]
fn shared_memory() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    use std::sync::atomic::AtomicU32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The system allows 31 bytes.
    let name = format!("/redstart.{:x}.{:x}\0", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // SAFETY: the name ends with NUL and outlives both calls; the descriptor is ours alone.
    unsafe {
        let name = name.as_ptr().cast();
        let fd = libc::shm_open(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::shm_unlink(name);
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn put(ring: &mut Ring, bytes: &[u8]) {
        ring.writable()[..bytes.len()].copy_from_slice(bytes);
        ring.commit(bytes.len());
    }

    fn both(capacity: usize) -> [Ring; 2] {
        let mirrored = Ring::new(capacity);
        let compacting = Ring::compacting(mirrored.capacity());
        [mirrored, compacting]
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_ring_is_mirrored_where_the_system_permits() {
        assert!(Ring::new(1).is_mirrored());
        assert!(!Ring::compacting(1).is_mirrored());
    }

    #[test]
    fn a_refused_mapping_is_an_error_and_no_crash() {
        assert!(map_mirrored(1 << 62).is_err());
        assert!(map_mirrored(usize::MAX & !(page_bytes() - 1)).is_err());
    }

    #[test]
    fn capacity_is_rounded_up_to_whole_pages_and_exact_when_compacting() {
        let page = page_bytes();
        assert_eq!(Ring::new(0).capacity(), page);
        assert_eq!(Ring::new(page).capacity(), page);
        assert_eq!(Ring::new(page + 1).capacity(), 2 * page);
        assert_eq!(Ring::compacting(5).capacity(), 5);
        assert_eq!(Ring::compacting(0).capacity(), 1);
    }

    #[test]
    fn a_range_across_the_end_is_one_slice() {
        for mut ring in both(1) {
            let capacity = ring.capacity();
            put(&mut ring, &vec![b'.'; capacity - 2]);
            ring.consume(capacity - 4);
            put(&mut ring, b"hello");
            assert_eq!(ring.readable(), b"..hello");
            ring.consume(4);
            assert_eq!(ring.readable(), b"llo");
            assert_eq!(ring.writable().len(), capacity - 3);
        }
    }

    #[test]
    fn a_ring_that_becomes_empty_starts_over_at_the_same_address() {
        for mut ring in both(1) {
            let first = ring.writable().as_ptr();
            put(&mut ring, b"abc");
            ring.consume(1);
            assert_ne!(ring.writable().as_ptr(), first);
            ring.consume(2);
            assert_eq!(ring.writable().as_ptr(), first);
            put(&mut ring, b"abc");
            ring.consume(1);
            ring.truncate(0);
            assert_eq!(ring.writable().as_ptr(), first);
        }
    }

    #[test]
    fn a_full_ring_has_no_room_and_can_be_emptied() {
        for mut ring in both(1) {
            let capacity = ring.capacity();
            put(&mut ring, b"x");
            put(&mut ring, &vec![b'y'; capacity - 1]);
            assert_eq!((ring.len(), ring.writable().len()), (capacity, 0));
            ring.consume(1);
            assert_eq!(ring.writable().len(), 1);
            put(&mut ring, b"z");
            assert_eq!(ring.readable().last(), Some(&b'z'));
            ring.consume(capacity);
            assert!(ring.is_empty());
        }
    }

    #[test]
    fn a_ring_that_grows_keeps_its_bytes_and_their_order() {
        for mut ring in both(1) {
            let capacity = ring.capacity();
            put(&mut ring, &vec![b'.'; capacity]);
            ring.consume(capacity - 3);
            put(&mut ring, b"across the end");
            ring.grow(capacity).unwrap();
            assert_eq!(ring.capacity(), capacity);
            for factor in [2, 3, 1000] {
                ring.grow(factor * capacity).unwrap();
                assert_eq!(ring.readable(), b"...across the end");
                assert_eq!(ring.writable().len(), factor * capacity - ring.len());
            }
            let room = ring.writable().len();
            put(&mut ring, &vec![b'!'; room]);
            assert!(ring.readable().starts_with(b"...across the end!!") && ring.readable().ends_with(b"!"));
            ring.consume(1000 * capacity - 1);
            assert_eq!(ring.readable(), b"!");
        }
    }

    #[test]
    fn growth_that_the_system_refuses_is_an_error_and_changes_nothing() {
        for mut ring in both(1) {
            put(&mut ring, b"kept");
            assert!(ring.grow(usize::MAX).is_err());
            assert!(ring.grow(1 << 60).is_err());
            put(&mut ring, b"!");
            assert_eq!(ring.readable(), b"kept!");
        }
    }

    #[test]
    fn truncate_keeps_the_oldest_bytes() {
        for mut ring in both(1) {
            put(&mut ring, b"keep and drop");
            ring.truncate(4);
            put(&mut ring, b"!");
            assert_eq!(ring.readable(), b"keep!");
        }
    }

    #[test]
    #[should_panic(expected = "committed more than was writable")]
    fn committing_more_than_the_room_is_refused() {
        Ring::compacting(4).commit(5);
    }

    #[test]
    #[should_panic(expected = "consumed more than was readable")]
    fn consuming_more_than_there_is_is_refused() {
        Ring::compacting(4).consume(1);
    }

    #[test]
    fn a_ring_can_move_to_another_thread() {
        let mut ring = Ring::new(1);
        put(&mut ring, b"moved");
        let ring = std::thread::spawn(move || ring).join().unwrap();
        assert_eq!(ring.readable(), b"moved");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Consume(usize),
        Truncate(usize),
        Grow(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<usize>().prop_map(Step::Write),
            4 => any::<usize>().prop_map(Step::Consume),
            1 => any::<usize>().prop_map(Step::Truncate),
            1 => (1usize..5000).prop_map(Step::Grow),
        ]
    }

    fn compare(ring: &mut Ring, steps: &[Step]) {
        let mut model = VecDeque::new();
        let mut next = 0u8;
        for step in steps {
            match *step {
                Step::Write(size) => {
                    let room = ring.writable();
                    let size = size % (room.len() + 1);
                    for byte in &mut room[..size] {
                        *byte = next;
                        model.push_back(next);
                        // A period that divides no page size, so that a shifted copy cannot look right.
                        next = (next + 1) % 251;
                    }
                    ring.commit(size);
                }
                Step::Consume(size) => {
                    let size = size % (ring.len() + 1);
                    ring.consume(size);
                    model.drain(..size);
                }
                Step::Truncate(size) => {
                    let size = size % (ring.len() + 1);
                    ring.truncate(size);
                    model.truncate(size);
                }
                Step::Grow(more) => ring.grow(ring.capacity() + more).unwrap(),
            }
            assert_eq!(ring.len(), model.len());
            assert_eq!(ring.writable().len(), ring.capacity() - model.len());
            assert!(ring.readable().iter().eq(model.iter()));
        }
    }

    proptest! {
        #[test]
        fn a_ring_is_a_queue_of_bytes(steps in prop::collection::vec(step(), 1..40), capacity in 1usize..100) {
            compare(&mut Ring::new(1), &steps);
            compare(&mut Ring::compacting(capacity), &steps);
        }
    }
}
