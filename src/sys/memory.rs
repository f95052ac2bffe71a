//! Large zeroed memory straight from the kernel.
//!
//! An anonymous mapping *is* zeroed memory that costs nothing until it is touched. A gigabyte takes one system call of
//! a few microseconds, and the kernel zeroes each page when it is first written. So a table can double without a pause
//! that grows with its size, which `calloc` guarantees only for sizes that it decides to map.
//!
//! Costs and limits: one `mmap` and one `munmap` per mapping (two more `munmap` to align a mapping of 2 MiB and more),
//! one page fault (some 0.25 µs, more in a guest) for each 4 KiB page touched. Unmapping a large mapping costs the
//! kernel about 0.1 µs per touched page: [`Pages`] is `Send`, so that a background thread may drop it.
//!
//! Huge pages are requested with `MADV_HUGEPAGE` when [`set_hugepages`] has allowed them. They save most of the page
//! walk of a random access in a table larger than the TLB's reach, and save a fork the copy of 512 page table entries
//! each. A write to a huge page that a child shares splits it and copies 4 KiB of it (since Linux 5.8); [`join`] undoes
//! the split.

use std::cell::Cell;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The size and the alignment of a huge page on x86-64 and on arm64 with 4 KiB base pages.
const HUGE_PAGE: usize = 2 << 20;

/// A multiple of the page size of every supported machine.
const SMALL_PAGE: usize = 64 << 10;

/// The bytes of a large mapping unmapped at a time: up to some hundred microseconds of the kernel's work.
const UNMAPPED_AT_ONCE: usize = 1 << 20;

/// No supported machine has smaller pages.
const SMALLEST_PAGE: usize = 4096;

static HUGEPAGES: AtomicBool = AtomicBool::new(false);

static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of all rings.
static RINGS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARED: Cell<bool> = const { Cell::new(false) };
}

/// Sets whether a forked child shares the data set of this thread. The kernel then copies each page at its first write,
/// so code that writes only to save time later (a rehash, an access clock, a cached figure) does not write. Per thread
/// because a data set belongs to one thread.
pub fn set_shared(shared: bool) {
    SHARED.set(shared);
}

/// Whether a forked child shares the data set of this thread.
#[inline]
pub fn is_shared() -> bool {
    SHARED.get()
}

/// Bytes of all existing mappings, touched or not.
pub fn mapped_bytes() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Bytes that all rings hold together; a mirrored ring counts once.
pub fn ring_bytes() -> usize {
    RINGS.load(Ordering::Relaxed)
}

/// Adds `bytes` to the bytes of all rings.
pub(super) fn count_ring(bytes: usize) {
    RINGS.fetch_add(bytes, Ordering::Relaxed);
}

/// Subtracts `bytes` from the bytes of all rings.
pub(super) fn forget_ring(bytes: usize) {
    RINGS.fetch_sub(bytes, Ordering::Relaxed);
}

/// Allows or forbids huge pages for later mappings in the whole process.
pub fn set_hugepages(allowed: bool) {
    HUGEPAGES.store(allowed, Ordering::Relaxed);
}

/// Whether new mappings of 2 MiB and more request huge pages.
pub fn hugepages() -> bool {
    HUGEPAGES.load(Ordering::Relaxed)
}

/// Bytes of this process's memory that it shares with no other process and that differ from their file, if any. In a
/// forked child, the bytes copied since the fork because either process wrote. 0 where the system does not report them.
///
/// The kernel walks all page tables: some milliseconds for each gigabyte.
pub fn private_dirty_bytes() -> u64 {
    // One line sums up the process; before Linux 4.14 there is one for each mapping.
    ["/proc/self/smaps_rollup", "/proc/self/smaps"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .map_or(0, |text| sum_of_field(&text, b"Private_Dirty:"))
}

/// The sum, in bytes, of all lines `name     123 kB`.
fn sum_of_field(text: &[u8], name: &[u8]) -> u64 {
    let of_line = |line: &[u8]| -> Option<u64> {
        let value = std::str::from_utf8(line.strip_prefix(name)?).ok()?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    text.split(|&byte| byte == b'\n').filter_map(of_line).sum::<u64>() << 10
}

/// Asks the kernel to join the small pages in each 2 MiB of a range into one huge page, until `stop` is set. Returns
/// how many huge pages there are then. The contents stay. For memory that no child shares: its pages would be copied.
/// Takes about a millisecond for each page that was split; a thread that touches that page meanwhile waits. Needs Linux
/// 6.1, and does nothing elsewhere.
pub fn join(start: usize, len: usize, stop: &AtomicBool) -> usize {
    let first = start.next_multiple_of(HUGE_PAGE);
    let pages = (start + len).saturating_sub(first) / HUGE_PAGE;
    (0..pages)
        .take_while(|_| !stop.load(Ordering::Relaxed))
        .filter(|page| platform::join(ptr::with_exposed_provenance_mut(first + page * HUGE_PAGE)))
        .count()
}

#[cfg(target_os = "linux")]
mod platform {
    /// Not in every C library's headers yet.
    const MADV_COLLAPSE: libc::c_int = 25;

    pub fn join(at: *mut libc::c_void) -> bool {
        // SAFETY: changes how memory is mapped, not its contents. Refused where nothing is mapped.
        unsafe { libc::madvise(at, super::HUGE_PAGE, MADV_COLLAPSE) == 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    pub fn join(_: *mut libc::c_void) -> bool {
        false
    }
}

/// Returns the whole pages between `start` and `start + len` to the kernel, for a forked child that no longer needs
/// their contents: the parent, now their only user, writes to them without a copy. They read as zeroes afterwards.
/// Returns the number of bytes; 0 where there is no whole page, no such call, or where huge pages are allowed, which it
/// would split.
///
/// # Safety
/// Nothing refers to these bytes, no code relies on their contents, and any bytes are valid there.
pub unsafe fn dismiss(start: NonNull<u8>, len: usize) -> usize {
    if len < SMALLEST_PAGE || hugepages() || !cfg!(target_os = "linux") {
        return 0;
    }
    // SAFETY: no pointers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let skipped = start.addr().get().wrapping_neg() % page;
    let whole = len.saturating_sub(skipped) / page * page;
    if whole == 0 {
        return 0;
    }
    // SAFETY: whole pages of the range, whose contents the caller gives up. A refusal changes nothing.
    let refused =
        unsafe { libc::madvise(start.add(skipped).as_ptr().cast(), whole, libc::MADV_DONTNEED) } != 0;
    if refused { 0 } else { whole }
}

/// Makes the system's allocator return unused pages to the kernel. Does nothing where that is not supported.
pub fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// An owned anonymous mapping: private, readable and writable, zero until written; unmapped on drop.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is bound to no thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps `len` bytes of zeros (`len` > 0). The start is aligned to a page, and to 2 MiB where huge pages apply.
    ///
    /// # Errors
    /// Those of `mmap`: `ENOMEM` when the address space or the overcommit limit refuses.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        assert!(len > 0, "an empty mapping cannot be made");
        if hugepages() && len >= HUGE_PAGE { Self::huge(len) } else { Ok(Self::own(map(len)?, len)) }
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The length in bytes, as requested.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address without unmapping the memory, which the caller passes to [`Pages::from_parts`] later.
    pub fn into_start(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).start
    }

    /// A mapping from its parts.
    ///
    /// # Safety
    /// `start` came from [`Pages::into_start`] of a mapping of `len` bytes, of which no other value has been made since.
    pub unsafe fn from_parts(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// Returns the last `len` bytes to the kernel; fewer than all, and in whole pages.
    pub fn cut(&mut self, len: usize) {
        let len = len & !(SMALL_PAGE - 1);
        assert!(len < self.len, "a mapping keeps a page at least");
        if len == 0 || !self.len.is_multiple_of(SMALL_PAGE) {
            return;
        }
        self.len -= len;
        MAPPED.fetch_sub(len, Ordering::Relaxed);
        // SAFETY: the end of a mapping of our own, at a page's start; nothing refers to it any more.
        let refused = unsafe { libc::munmap(self.start.as_ptr().add(self.len).cast(), len) };
        debug_assert_eq!(refused, 0, "a part of a mapping of our own can be unmapped");
    }

    /// Takes ownership of a mapping.
    fn own(start: NonNull<u8>, len: usize) -> Self {
        MAPPED.fetch_add(len, Ordering::Relaxed);
        Self { start, len }
    }

    /// Maps 2 MiB more than requested and unmaps the bytes before and after the aligned part: not every kernel aligns a
    /// large mapping by itself, and an unaligned one loses its first and last huge page.
    fn huge(len: usize) -> io::Result<Self> {
        let Some(padded) = len.checked_next_multiple_of(HUGE_PAGE).and_then(|len| len.checked_add(HUGE_PAGE))
        else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let whole = map(padded)?;
        let before = whole.as_ptr().align_offset(HUGE_PAGE);
        let after = padded - before - (padded - HUGE_PAGE);
        // SAFETY: both ends lie inside the mapping just made, are whole pages, and nothing refers to them yet. The offset
        // is less than the mapping's length, so the start cannot be null.
        let start = unsafe {
            let start = whole.add(before);
            if before > 0 {
                libc::munmap(whole.as_ptr().cast(), before);
            }
            if after > 0 {
                libc::munmap(start.as_ptr().add(padded - HUGE_PAGE).cast(), after);
            }
            start
        };
        let pages = Self::own(start, padded - HUGE_PAGE);
        #[cfg(target_os = "linux")]
        // SAFETY: advice on memory of our own. A kernel without huge pages refuses it, which is harmless.
        unsafe {
            libc::madvise(pages.start.as_ptr().cast(), pages.len, libc::MADV_HUGEPAGE);
        }
        Ok(pages)
    }
}

/// Maps `len` bytes of zeros, at a page's start.
fn map(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that exists.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

impl Drop for Pages {
    /// Unmaps the end first, `UNMAPPED_AT_ONCE` bytes at a time: the kernel lets no other thread map or unmap anything
    /// during a call.
    fn drop(&mut self) {
        while self.len > UNMAPPED_AT_ONCE && self.len.is_multiple_of(SMALL_PAGE) {
            self.cut(UNMAPPED_AT_ONCE);
        }
        MAPPED.fetch_sub(self.len, Ordering::Relaxed);
        // SAFETY: the range was mapped by `map` and is unmapped only here.
        let refused = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(refused, 0, "a mapping of our own can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pages: &Pages, wanted: usize) {
        assert!(pages.len() >= wanted);
        // SAFETY: the mapping is this long, is initialised with zeros, and nobody else writes to it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pages.start().as_ptr(), wanted) };
        for at in [0, wanted / 2, wanted - 1] {
            assert_eq!(bytes[at], 0, "byte {at} of a new mapping is zero");
            bytes[at] = 0xa5;
            assert_eq!(std::mem::take(&mut bytes[at]), 0xa5);
        }
    }

    #[test]
    fn a_mapping_is_zeroed_and_writable_from_its_first_to_its_last_byte() {
        for len in [1, 4096, 65_536, HUGE_PAGE - 1, HUGE_PAGE, 5 * HUGE_PAGE + 1] {
            check(&Pages::zeroed(len).unwrap(), len);
        }
    }

    #[test]
    fn joining_changes_no_byte_and_ends_when_it_is_told_to() {
        let pages = Pages::zeroed(6 * HUGE_PAGE).unwrap();
        // SAFETY: the mapping is this long and ours.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pages.start().as_ptr(), pages.len()) };
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 251) as u8);
        let (start, stop) = (pages.start().as_ptr().expose_provenance(), AtomicBool::new(false));
        assert!(join(start, pages.len(), &stop) <= 6);
        assert!(bytes.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(join(start, pages.len(), &stop), 0);
        assert_eq!(
            join(usize::MAX - (8 << 20), 4 << 20, &AtomicBool::new(false)),
            0,
            "nothing is mapped there"
        );
    }

    #[test]
    fn the_lines_of_a_field_are_added_up() {
        let text = b"Rss: 9 kB\nPrivate_Dirty:         12 kB\nPrivate_Dirty:\nx Private_Dirty: 5 kB\nPrivate_Dirty: 1 kB";
        assert_eq!(sum_of_field(text, b"Private_Dirty:"), 13 << 10);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_written_is_private_and_dirty() {
        let pages = Pages::zeroed(16 << 20).unwrap();
        // SAFETY: the mapping is this long and ours.
        unsafe { pages.start().write_bytes(1, 16 << 20) };
        assert!(private_dirty_bytes() >= 16 << 20);
    }

    #[test]
    fn a_mapping_that_is_cut_keeps_its_beginning() {
        let mut pages = Pages::zeroed(5 * SMALL_PAGE).unwrap();
        pages.cut(2 * SMALL_PAGE + 5);
        assert_eq!(pages.len(), 3 * SMALL_PAGE);
        check(&pages, 3 * SMALL_PAGE);
        let mut odd = Pages::zeroed(3 * SMALL_PAGE + 1).unwrap();
        odd.cut(SMALL_PAGE);
        assert_eq!(
            odd.len(),
            3 * SMALL_PAGE + 1,
            "a length that is not a whole number of pages is left alone"
        );
    }

    #[test]
    fn a_huge_mapping_is_aligned_and_whole() {
        for len in [HUGE_PAGE, HUGE_PAGE + 1, 3 * HUGE_PAGE] {
            let pages = Pages::huge(len).unwrap();
            assert_eq!(pages.start().as_ptr() as usize % HUGE_PAGE, 0);
            check(&pages, len);
        }
    }

    #[test]
    fn a_mapping_larger_than_the_address_space_is_an_error() {
        assert!(Pages::zeroed(usize::MAX / 2).is_err());
        assert!(Pages::huge(usize::MAX).is_err());
    }
}
