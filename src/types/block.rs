//! A reference-counted, growable byte buffer behind one thin pointer.
//!
//! ```text
//!  Block ──▶ [ refs 4 | len 8 | capacity 8 | bytes … | spare … ]
//! ```
//!
//! A value that is too large for its entry is in a block, and a reply can put the same block into a client's output
//! queue with [`Block::share`]: nothing is copied, and the queue keeps the bytes alive when the key is deleted. A write
//! to a shared block copies it first, so bytes that wait for a socket never change.
//!
//! Costs: 20 bytes in addition to the contents; one atomic operation each for sharing and dropping (the last owner may
//! be a background thread). Growth doubles up to 1 MiB and adds 1 MiB from there, through `realloc`, which moves large
//! blocks by remapping their pages. The pointer itself can be at any address (`Block` has alignment 1), since entries
//! store it behind a key of any length.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::moves::Moves;
use crate::alloc;
use crate::dict::prefetch;
use crate::sys::memory::{self, Pages};

/// `alloc` guarantees alignment 4 for the smallest blocks.
#[repr(C, packed(4))]
struct Header {
    refs: u32,
    len: usize,
    capacity: usize,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 4 + 2 * size_of::<usize>());
const _: () = assert!(align_of::<Block>() == 1);
const _: () = assert!(size_of::<Block>() == size_of::<usize>());

/// Up to this size growth doubles; beyond, it adds this much.
const GROW_STEP: usize = 1 << 20;

/// Below this size, the steps between size classes leave enough room for a splice's growth.
const EXACT_BELOW: usize = 4096;

/// Spare room that a splice keeps.
const SPARE_MIN: usize = 32;

/// From this size on, zeroed memory comes from the kernel and is not written.
const ZEROED_BY_KERNEL: usize = 128 << 10;

/// See the module's head.
#[repr(C, packed)]
pub struct Block {
    at: NonNull<Header>,
}

// SAFETY: only a sole owner (`refs == 1`) writes the bytes, and the count is atomic.
unsafe impl Send for Block {}
// SAFETY: `&Block` only reads, or increments the count atomically.
unsafe impl Sync for Block {}

impl Block {
    /// An empty block with room for at least `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Block {
        let size = usable(capacity);
        Block::adopt(alloc::allocate(size), 0, size)
    }

    /// A block of `len` zero bytes. A large one costs nothing until its pages are written.
    pub fn zeroed(len: usize) -> Block {
        let size = usable(len);
        Block::adopt(alloc::allocate_zeroed(size), len, size)
    }

    /// Whether the system could allocate a block of `len` bytes now. Two system calls.
    pub fn is_possible(len: usize) -> bool {
        HEADER.checked_add(len).is_some_and(|size| Pages::zeroed(size).is_ok())
    }

    /// Writes the header of a fresh allocation of `size` bytes whose first `len` bytes of contents are initialised.
    fn adopt(memory: NonNull<u8>, len: usize, size: usize) -> Block {
        let at = memory.cast::<Header>();
        let header = Header { refs: 1, len, capacity: size - HEADER };
        // SAFETY: we own `size >= HEADER` bytes, aligned to 4 as the packed header requires.
        unsafe { at.as_ptr().write(header) };
        Block { at }
    }

    #[inline(always)]
    fn refs(&self) -> &AtomicU32 {
        let at = self.at.as_ptr();
        // SAFETY: the header lives as long as an owner, and its first field is aligned to 4. Once a second owner
        // exists, the count is accessed only through this reference.
        unsafe { AtomicU32::from_ptr(&raw mut (*at).refs) }
    }

    #[inline(always)]
    fn bytes(&self) -> *mut u8 {
        let at = self.at.as_ptr();
        // SAFETY: the contents begin right after the header, in the same allocation.
        unsafe { at.cast::<u8>().add(HEADER) }
    }

    /// The number of bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        let at = self.at.as_ptr();
        // SAFETY: the header is initialised and alive.
        unsafe { (*at).len }
    }

    /// Whether the block is empty.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of bytes that the block can hold without growing.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        let at = self.at.as_ptr();
        // SAFETY: the header is initialised and alive.
        unsafe { (*at).capacity }
    }

    /// The bytes.
    #[inline(always)]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised, and nobody writes while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.bytes(), self.len()) }
    }

    /// Returns another owner of the same bytes.
    #[must_use]
    #[inline]
    pub fn share(&self) -> Block {
        let before = self.refs().fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "too many owners of one block");
        Block { at: self.at }
    }

    /// Whether the block has another owner.
    #[inline(always)]
    pub fn is_shared(&self) -> bool {
        // Acquire: other owners' reads before they release the block happen before our writes.
        self.refs().load(Ordering::Acquire) != 1
    }

    /// The number of owners, including this one.
    pub fn owners(&self) -> usize {
        self.refs().load(Ordering::Relaxed) as usize
    }

    /// The bytes for writing; copies them first if the block is shared.
    pub fn make_mut(&mut self) -> &mut [u8] {
        self.own(0);
        // SAFETY: the first `len` bytes are initialised, and `own` made us the only owner.
        unsafe { slice::from_raw_parts_mut(self.bytes(), self.len()) }
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.own(bytes.len());
        let len = self.len();
        // SAFETY: `own` made room for them and made us the only owner; `bytes` cannot overlap memory that `&mut self`
        // owns.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes().add(len), bytes.len());
            self.set_len(len + bytes.len());
        }
    }

    /// Replaces the whole contents by `bytes`, in the same memory if it is not shared and its size fits.
    pub fn overwrite(&mut self, bytes: &[u8]) {
        if self.is_shared() || self.capacity() < bytes.len() || self.capacity() / 2 > bytes.len() {
            *self = Block::from(bytes);
            return;
        }
        // SAFETY: the capacity suffices and we are the only owner.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes(), bytes.len());
            self.set_len(bytes.len());
        }
    }

    /// Keeps the first `len` bytes; the capacity stays. Copies them first if the block is shared.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        if self.is_shared() {
            *self = Block::from(&self.as_slice()[..len]);
        } else {
            // SAFETY: fewer bytes than were initialised.
            unsafe { self.set_len(len) };
        }
    }

    /// Replaces the `remove` bytes at `at` by `insert` bytes of unspecified content, moves the bytes after them, and
    /// returns all bytes. Growth adds at most an eighth of spare room; a splice that shortens the contents releases
    /// spare room of more than half: see [`super::packed`].
    pub fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        let old = self.len();
        assert!(at <= old && remove <= old - at, "a splice within the block");
        let new = old - remove + insert;
        if self.is_shared() || self.capacity() < new {
            self.refit(new.max(old));
        }
        // SAFETY: the block is ours and has room for `new` bytes and for the `old` ones. Bytes that were never written
        // are zeroed before they become contents.
        unsafe {
            let bytes = self.bytes();
            if new > old {
                bytes.add(old).write_bytes(0, new - old);
            }
            ptr::copy(bytes.add(at + remove), bytes.add(at + insert), old - at - remove);
            self.set_len(new);
        }
        // A growing block keeps room that was reserved for growth.
        if new < old && self.capacity() / 2 > new + SPARE_MIN {
            self.reallocate(new);
        }
        // SAFETY: as in `make_mut`.
        unsafe { slice::from_raw_parts_mut(self.bytes(), new) }
    }

    /// Becomes the only owner, with room for `len` bytes and, if the size class leaves no spare room, a little more.
    #[cold]
    fn refit(&mut self, len: usize) {
        let wanted = if len < EXACT_BELOW { len } else { len + len / 8 };
        if self.is_shared() {
            let mut copy = Block::with_capacity(wanted);
            copy.extend_from_slice(self.as_slice());
            *self = copy;
        } else {
            self.reallocate(wanted);
        }
    }

    /// Sets the length to `len` bytes: truncates, or appends zero bytes.
    pub fn resize_zeroed(&mut self, len: usize) {
        let old = self.len();
        if len <= old {
            self.truncate(len);
            return;
        }
        if len > self.capacity() && len >= ZEROED_BY_KERNEL && len / 2 >= old {
            let mut grown = Block::zeroed(len);
            grown.make_mut()[..old].copy_from_slice(self.as_slice());
            *self = grown;
            return;
        }
        self.own(len - old);
        // SAFETY: `own` made room for `len` bytes.
        unsafe {
            self.bytes().add(old).write_bytes(0, len - old);
            self.set_len(len);
        }
    }

    /// Makes room for `additional` more bytes, by the growth rule of the module's head.
    pub fn reserve(&mut self, additional: usize) {
        self.own(additional);
    }

    /// The room after the contents, for receiving into. Copies the contents first if the block is shared.
    fn spare_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        self.own(0);
        let len = self.len();
        // SAFETY: the bytes between `len` and `capacity` are allocated, and we are the only owner.
        unsafe { slice::from_raw_parts_mut(self.bytes().add(len).cast(), self.capacity() - len) }
    }

    /// Makes room for `additional` more bytes, with as little spare room as size classes allow.
    pub fn reserve_exact(&mut self, additional: usize) {
        let wanted = self.len().checked_add(additional).expect("length of a block");
        if self.is_shared() {
            let mut copy = Block::with_capacity(wanted);
            copy.extend_from_slice(self.as_slice());
            *self = copy;
        } else if self.capacity() < wanted {
            self.reallocate(wanted);
        }
    }

    /// Appends the bytes that `fill` writes into `max` bytes of room after the contents. `fill` returns the initialised
    /// beginning of that room, and a result.
    ///
    /// # Errors
    /// Those of `fill`; then nothing is appended.
    pub fn fill<T, E>(
        &mut self,
        max: usize,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<(&mut [u8], T), E>,
    ) -> Result<T, E> {
        let len = self.len();
        let room = &mut self.spare_mut()[..max];
        let start = room.as_ptr();
        let (filled, result) = fill(room)?;
        let count = filled.len();
        assert!(count <= max && start.cast() == filled.as_ptr() || count == 0, "the beginning of the room");
        // SAFETY: `filled` is a slice of bytes, so its bytes are initialised; they are the first of the room, and
        // `spare_mut` made us the only owner.
        unsafe { self.set_len(len + count) };
        Ok(result)
    }

    /// Sets the length, after bytes were written to `spare_mut()`.
    ///
    /// # Safety
    /// The first `len` bytes are initialised, `len` is at most the capacity, and the block is not shared.
    #[inline(always)]
    unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity() && !self.is_shared());
        let at = self.at.as_ptr();
        // SAFETY: the header is alive, and we are its only owner.
        unsafe { (*at).len = len };
    }

    /// Releases spare room. Does nothing to a shared block.
    pub fn shrink_to_fit(&mut self) {
        if !self.is_shared() {
            self.reallocate(self.len());
        }
    }

    /// Prefetches the length and the first bytes.
    #[inline]
    pub fn prefetch(&self) {
        let at: *const u8 = { self.at }.as_ptr().cast();
        prefetch(at);
        prefetch(at.wrapping_add(2 * HEADER));
    }

    /// Returns the pages of the contents to the kernel, in a forked child that does not read them again, so that the
    /// parent can write to them without a copy. A block with another owner stays, since another value may use it.
    /// Returns the number of bytes; they are zero afterwards.
    pub fn dismiss(&self) -> usize {
        if self.is_shared() {
            return 0;
        }
        // SAFETY: this owner owns the contents and the spare room and no longer uses them; they are plain bytes.
        unsafe { memory::dismiss(NonNull::new_unchecked(self.bytes()), self.capacity()) }
    }

    /// Moves the memory out of a sparse slab. A shared block stays, since its other owners store its address.
    #[inline]
    pub(super) fn relocate(&mut self, moves: &mut Moves) {
        if self.is_shared() {
            return moves.count(false);
        }
        // SAFETY: `self` is the only owner of the allocation, whose size this is.
        let moved = unsafe { moves.relocate({ self.at }.cast(), HEADER + self.capacity()) };
        self.at = moved.cast();
    }

    /// The bytes that its memory occupies.
    pub fn memory_bytes(&self) -> usize {
        alloc::class_size(HEADER + self.capacity())
    }

    /// Becomes the only owner, with room for `additional` more bytes.
    #[inline]
    fn own(&mut self, additional: usize) {
        if self.is_shared() || self.capacity() - self.len() < additional {
            self.own_slow(additional);
        }
    }

    #[cold]
    fn own_slow(&mut self, additional: usize) {
        let needed = self.len().checked_add(additional).expect("length of a block");
        let wanted = if needed <= self.capacity() && !self.is_shared() {
            return;
        } else if additional == 0 {
            needed
        } else if needed < GROW_STEP {
            needed * 2
        } else {
            needed.saturating_add(GROW_STEP)
        };
        if self.is_shared() {
            let mut copy = Block::with_capacity(wanted);
            copy.extend_from_slice(self.as_slice());
            *self = copy;
        } else {
            self.reallocate(wanted);
        }
    }

    /// Moves the contents to an allocation for `capacity >= len` bytes. We are the only owner.
    fn reallocate(&mut self, capacity: usize) {
        debug_assert!(capacity >= self.len() && !self.is_shared());
        let old = HEADER + self.capacity();
        let new = usable(capacity);
        let memory = { self.at }.cast::<u8>();
        // SAFETY: `old` is the size of this allocation, of which we are the only owner.
        let moved = unsafe { alloc::resize(memory, old, new) }.cast::<Header>();
        // SAFETY: the header moved along.
        unsafe { (*moved.as_ptr()).capacity = new - HEADER };
        self.at = moved;
    }
}

/// The size of an allocation that holds the header and at least `capacity` bytes.
fn usable(capacity: usize) -> usize {
    alloc::class_size(HEADER.checked_add(capacity).expect("capacity of a block"))
}

impl From<&[u8]> for Block {
    fn from(bytes: &[u8]) -> Block {
        let mut block = Block::with_capacity(bytes.len());
        block.extend_from_slice(bytes);
        block
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        self.share()
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // The only owner needs no atomic write: nobody else can raise the count.
        if self.is_shared() && self.refs().fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let size = HEADER + self.capacity();
        let memory = { self.at }.cast::<u8>();
        // SAFETY: we were the last owner, and `size` is what was allocated.
        unsafe { alloc::release(memory, size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_write_to_a_shared_block_leaves_the_other_owner_alone() {
        let mut block = Block::from(&b"hello"[..]);
        let queued = block.share();
        block.extend_from_slice(b" world");
        block.make_mut()[0] = b'J';
        assert_eq!(&*block, b"Jello world");
        assert_eq!(&*queued, b"hello");
        assert!(!block.is_shared() && !queued.is_shared());
    }

    #[test]
    fn every_way_of_writing_copies_a_shared_block_first() {
        type Write = fn(&mut Block);
        let writes: [Write; 7] = [
            |b| b.push(b'x'),
            |b| b.truncate(2),
            |b| b.resize_zeroed(40),
            |b| b.overwrite(b"other"),
            |b| b.make_mut().fill(0),
            |b| {
                b.spare_mut();
            },
            |b| b.reserve(100),
        ];
        for write in writes {
            let mut block = Block::from(&b"abcdef"[..]);
            let queued = block.share();
            write(&mut block);
            assert_eq!(&*queued, b"abcdef");
            assert!(!queued.is_shared(), "the writer has a block of its own");
        }
    }

    #[test]
    fn a_shared_block_outlives_its_first_owner_on_another_thread() {
        let block = Block::from(&vec![7u8; 100_000][..]);
        let other = block.share();
        let thread = std::thread::spawn(move || other.iter().map(|&b| u64::from(b)).sum::<u64>());
        drop(block);
        assert_eq!(thread.join().unwrap(), 700_000);
    }

    #[test]
    fn growth_doubles_and_then_adds_a_mebibyte() {
        let mut block = Block::with_capacity(0);
        block.extend_from_slice(&[1; 1000]);
        assert!((2000..2200).contains(&block.capacity()), "{}", block.capacity());
        let mut large = Block::zeroed(3 << 20);
        let more = large.capacity() - large.len() + 1;
        large.extend_from_slice(&vec![1; more]);
        assert_eq!(large.len(), (3 << 20) + more);
        let room = large.capacity() - large.len();
        assert!((1 << 20..(1 << 20) + 4096).contains(&room), "{room}");
    }

    #[test]
    fn what_was_filled_becomes_contents() {
        let mut block = Block::with_capacity(64);
        block.extend_from_slice(b"all ");
        let filled = block.fill(30, |room| Ok::<_, ()>((room[..4].write_copy_of_slice(b"this"), 7)));
        assert_eq!(filled, Ok(7));
        assert_eq!(&*block, b"all this");
        let failed: Result<(), i32> = block.fill(9, |_| Err(5));
        assert_eq!((failed, &*block), (Err(5), &b"all this"[..]));
        block.fill(9, |_| Ok::<_, ()>((&mut [], ()))).unwrap();
        assert_eq!(&*block, b"all this");
    }

    #[test]
    #[should_panic(expected = "the beginning of the room")]
    fn bytes_that_lie_elsewhere_do_not_fill_a_block() {
        let other = Box::leak(Box::new([0; 4]));
        let _ = Block::with_capacity(64).fill(30, |_| Ok::<_, ()>((&mut other[..], ())));
    }

    #[test]
    fn shrinking_gives_spare_room_back() {
        let mut block = Block::with_capacity(100_000);
        block.extend_from_slice(b"small");
        block.shrink_to_fit();
        assert!(block.memory_bytes() < 64);
        assert_eq!(&*block, b"small");
    }

    #[test]
    fn zeroes_far_beyond_the_end_are_zeroes() {
        let mut block = Block::from(&b"abc"[..]);
        block.resize_zeroed(1 << 20);
        assert_eq!(&block[..3], b"abc");
        assert!(block[3..].iter().all(|&b| b == 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Extend(Vec<u8>),
        Truncate(usize),
        Resize(usize),
        Overwrite(Vec<u8>),
        Shrink,
        Share,
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Extend),
            (0usize..2000).prop_map(Step::Truncate),
            (0usize..6000).prop_map(Step::Resize),
            prop::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Overwrite),
            Just(Step::Shrink),
            Just(Step::Share),
            Just(Step::Release),
        ]
    }

    proptest! {
        #[test]
        fn a_block_is_a_vector_and_its_snapshots_never_change(
            steps in prop::collection::vec(step(), 1..60)
        ) {
            let mut block = Block::with_capacity(0);
            let mut model: Vec<u8> = Vec::new();
            let mut snapshots: Vec<(Block, Vec<u8>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Extend(bytes) => {
                        block.extend_from_slice(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Step::Truncate(n) => {
                        block.truncate(n);
                        model.truncate(n);
                    }
                    Step::Resize(n) => {
                        block.resize_zeroed(n);
                        model.resize(n, 0);
                    }
                    Step::Overwrite(bytes) => {
                        block.overwrite(&bytes);
                        model = bytes;
                    }
                    Step::Shrink => block.shrink_to_fit(),
                    Step::Share => snapshots.push((block.share(), model.clone())),
                    Step::Release => drop(snapshots.pop()),
                }
                prop_assert_eq!(&*block, &model[..]);
                prop_assert!(block.capacity() >= block.len());
            }
            for (snapshot, was) in &snapshots {
                prop_assert_eq!(&**snapshot, &was[..]);
            }
        }
    }
}
