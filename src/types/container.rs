//! Collections that have outgrown a packed form: the trait that a type implements to be an [`Entry`]'s value, and the
//! pointer in the entry.
//!
//! ```text
//!  Handle ──▶ [ operations 8 | the collection … ]
//! ```
//!
//! The encoding in an entry's header identifies the collection's type, so a command pays for a comparison and not for
//! an indirect call. Only operations that work on any entry (dropping, sizing) go through the table of operations in
//! front of the collection. So the entry does not depend on any particular collection, and a new one needs no change
//! here.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::entry::Entry;
use super::kind::{Encoding, Kind};
use super::moves::{MoveCursor, Moves};
use super::record::{CONTAINER, WORD};
use crate::alloc;

/// A collection of at least this many items, each in its own block, is freed in the background. An item takes about 20
/// ns to free, so 512 items would delay the loop by 10 µs. The background thread does not save the work but spreads it:
/// blocks that it frees return through the allocator's remote list, which costs the loop about 30 ns per item.
pub const LARGE_ITEMS: usize = 512;

/// As in Redis, a value of up to this many items is freed at once even if a client or the configuration requests lazy
/// freeing.
pub const LAZY_ITEMS: usize = 64;

/// Parts that a change removed from a value. Freeing them takes long, so the caller drops them in the background.
pub type Debris = Option<Box<dyn Send>>;

/// A large collection, in its own data structure.
///
/// # Safety
/// No two types have the same pair of `KIND` and `ENCODING`: the pair in an entry's header identifies the type.
pub unsafe trait Container: Send + Sized + 'static {
    /// The type that `TYPE` returns.
    const KIND: Kind;
    /// The encoding that `OBJECT ENCODING` returns.
    const ENCODING: Encoding;

    /// The bytes of all memory that it owns, excluding the struct itself.
    fn memory_bytes(&self) -> usize;

    /// Whether a background thread should free it.
    fn is_large(&self) -> bool;

    /// The number of items or nodes to free. If a client or the configuration requests lazy freeing, a background
    /// thread frees values of more than [`LAZY_ITEMS`].
    fn free_effort(&self) -> usize;

    /// Returns the pages of large items to the kernel, in a forked child: see [`Entry::dismiss`]. Returns the number of
    /// bytes.
    fn dismiss(&self) -> usize {
        0
    }

    /// The total cost of [`defragment`](Self::defragment), in small blocks.
    fn walk_len(&self) -> usize {
        0
    }

    /// Moves its blocks out of sparse slabs, starting at `cursor`, which may have any value, until it has taken the
    /// time of about `most` small blocks. Returns the cursor to continue with, `None` at the end.
    fn defragment(&mut self, _cursor: MoveCursor, _most: usize, _moves: &mut Moves) -> Option<MoveCursor> {
        None
    }

    /// Returns an equal collection; a change to one of the two does not affect the other. O(N).
    #[must_use]
    fn duplicate(&self) -> Self;

    /// Prefetches the memory that a lookup of `member` reads first, and returns the hash that
    /// [`prefetch_item`](Self::prefetch_item) and [`prefetch_place`](Self::prefetch_place) take.
    fn prefetch_bucket(&self, _member: &[u8]) -> u64 {
        0
    }

    /// Prefetches the memory that a lookup reads next, once the first line has arrived.
    fn prefetch_item(&self, _hash: u64) {}

    /// Prefetches the memory that a change of the item also reads, once the item has arrived.
    fn prefetch_place(&self, _hash: u64) {}
}

/// The operations of every collection, given the address of its `Boxed`.
struct Operations {
    drop: unsafe fn(NonNull<u8>),
    memory_bytes: unsafe fn(NonNull<u8>) -> usize,
    is_large: unsafe fn(NonNull<u8>) -> bool,
    free_effort: unsafe fn(NonNull<u8>) -> usize,
    dismiss: unsafe fn(NonNull<u8>) -> usize,
    walk_len: unsafe fn(NonNull<u8>) -> usize,
    defragment: unsafe fn(NonNull<u8>, MoveCursor, usize, &mut Moves) -> Option<MoveCursor>,
    duplicate: unsafe fn(NonNull<u8>) -> Handle,
    prefetch_bucket: unsafe fn(NonNull<u8>, &[u8]) -> u64,
    prefetch_item: unsafe fn(NonNull<u8>, u64),
    prefetch_place: unsafe fn(NonNull<u8>, u64),
}

#[repr(C)]
struct Boxed<C> {
    operations: &'static Operations,
    container: C,
}

impl<C: Container> Boxed<C> {
    const OPERATIONS: &'static Operations = &Operations {
        // SAFETY: a handle calls its operations with the address of a `Boxed<C>`, for the same `C`, that it owns.
        drop: |at| drop(unsafe { Box::from_raw(at.cast::<Self>().as_ptr()) }),
        memory_bytes: |at| {
            // SAFETY: as above.
            let container = &unsafe { at.cast::<Self>().as_ref() }.container;
            alloc::heap_size(Layout::new::<Self>()) + container.memory_bytes()
        },
        // SAFETY: as above.
        is_large: |at| unsafe { at.cast::<Self>().as_ref() }.container.is_large(),
        // SAFETY: as above.
        free_effort: |at| unsafe { at.cast::<Self>().as_ref() }.container.free_effort(),
        // SAFETY: as above.
        dismiss: |at| unsafe { at.cast::<Self>().as_ref() }.container.dismiss(),
        // SAFETY: as above.
        walk_len: |at| unsafe { at.cast::<Self>().as_ref() }.container.walk_len(),
        defragment: |at, cursor, most, moves| {
            // SAFETY: as above; the handle was borrowed for writing.
            unsafe { at.cast::<Self>().as_mut() }.container.defragment(cursor, most, moves)
        },
        // SAFETY: as above.
        duplicate: |at| Handle::new(unsafe { at.cast::<Self>().as_ref() }.container.duplicate()),
        // SAFETY: as above.
        prefetch_bucket: |at, member| unsafe { at.cast::<Self>().as_ref() }.container.prefetch_bucket(member),
        // SAFETY: as above.
        prefetch_item: |at, hash| unsafe { at.cast::<Self>().as_ref() }.container.prefetch_item(hash),
        // SAFETY: as above.
        prefetch_place: |at, hash| unsafe { at.cast::<Self>().as_ref() }.container.prefetch_place(hash),
    };
}

/// The owning pointer to a collection of some type. It can be at any address.
#[repr(C, packed)]
pub(super) struct Handle {
    at: NonNull<u8>,
}

impl Handle {
    fn new<C: Container>(container: C) -> Handle {
        let boxed = Box::new(Boxed { operations: Boxed::<C>::OPERATIONS, container });
        Handle { at: NonNull::from(Box::leak(boxed)).cast() }
    }

    fn operations(&self) -> &'static Operations {
        // SAFETY: every `Boxed` begins with its operations.
        unsafe { { self.at }.cast::<&'static Operations>().read() }
    }

    /// The bytes of memory behind the pointer.
    pub(super) fn memory_bytes(&self) -> usize {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().memory_bytes)(self.at) }
    }

    /// Whether a background thread should free it.
    pub(super) fn is_large(&self) -> bool {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().is_large)(self.at) }
    }

    /// The number of items or nodes to free.
    pub(super) fn free_effort(&self) -> usize {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().free_effort)(self.at) }
    }

    /// Returns the pages of large items to the kernel.
    pub(super) fn dismiss(&self) -> usize {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().dismiss)(self.at) }
    }

    /// The cost of a walk over its blocks, in small blocks.
    pub(super) fn walk_len(&self) -> usize {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().walk_len)(self.at) }
    }

    /// Moves blocks out of sparse slabs.
    pub(super) fn defragment(
        &mut self,
        cursor: MoveCursor,
        most: usize,
        moves: &mut Moves,
    ) -> Option<MoveCursor> {
        // SAFETY: the operations are those of what lies at `at`, and `&mut self` is its only user.
        unsafe { (self.operations().defragment)(self.at, cursor, most, moves) }
    }

    /// Returns an equal collection with its own pointer.
    pub(super) fn duplicate(&self) -> Handle {
        // SAFETY: the operations are those of what lies at `at`.
        unsafe { (self.operations().duplicate)(self.at) }
    }

    /// # Safety
    /// What lies at `at` is a `Boxed<C>`.
    #[inline(always)]
    unsafe fn container<C: Container>(&self) -> *mut C {
        // SAFETY: the caller's promise.
        unsafe { &raw mut (*{ self.at }.cast::<Boxed<C>>().as_ptr()).container }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the operations are those of what lies at `at`, which is not used after this.
        unsafe { (self.operations().drop)(self.at) }
    }
}

impl Entry {
    /// An entry with a collection.
    pub fn with_container<C: Container>(key: &[u8], container: C, expire: Option<i64>) -> Entry {
        let (entry, at) = Entry::create(key, CONTAINER, (C::KIND, C::ENCODING), WORD, expire);
        // SAFETY: the value is a word for a handle.
        unsafe { at.cast::<Handle>().write(Handle::new(container)) };
        entry
    }

    /// Returns the collection, if it has this type.
    #[inline(always)]
    pub fn container<C: Container>(&self) -> Option<&C> {
        if !self.holds::<C>() {
            return None;
        }
        // SAFETY: `holds` has checked the type, and the collection lives as long as the entry.
        Some(unsafe { &*self.handle()?.container::<C>() })
    }

    /// Returns the collection for writing, if it has this type.
    #[inline(always)]
    pub fn container_mut<C: Container>(&mut self) -> Option<&mut C> {
        if !self.holds::<C>() {
            return None;
        }
        // SAFETY: `holds` has checked the type, and `&mut self` is the entry's only user.
        Some(unsafe { &mut *self.handle()?.container::<C>() })
    }

    /// Whether the value has members that can be prefetched.
    #[inline]
    pub fn is_container(&self) -> bool {
        self.flags() & CONTAINER != 0
    }

    /// Prefetches the memory that a lookup of `member` in the collection reads first, and returns the hash that
    /// [`prefetch_item`](Self::prefetch_item) and [`prefetch_place`](Self::prefetch_place) take.
    #[inline]
    pub fn prefetch_bucket(&self, member: &[u8]) -> u64 {
        // SAFETY: the operations are those of what the handle points to.
        self.handle().map_or(0, |handle| unsafe { (handle.operations().prefetch_bucket)(handle.at, member) })
    }

    /// Prefetches the memory that the lookup reads next.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        if let Some(handle) = self.handle() {
            // SAFETY: the operations are those of what the handle points to.
            unsafe { (handle.operations().prefetch_item)(handle.at, hash) };
        }
    }

    /// Prefetches the memory that a change of the item also reads.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        if let Some(handle) = self.handle() {
            // SAFETY: the operations are those of what the handle points to.
            unsafe { (handle.operations().prefetch_place)(handle.at, hash) };
        }
    }

    /// Replaces a value of the same kind with a collection; key, access bits and expiry stay.
    pub fn set_container<C: Container>(&mut self, container: C) {
        assert!(self.kind() == C::KIND, "a value changes its encoding, not its type");
        let handle = Handle::new(container);
        self.make_room(CONTAINER, C::ENCODING, WORD);
        // SAFETY: CONTAINER says that the value is a word for a handle, and it does not hold one yet.
        unsafe { self.value_at().cast::<Handle>().write(handle) };
    }

    #[inline(always)]
    fn holds<C: Container>(&self) -> bool {
        self.flags() & CONTAINER != 0 && self.kind() == C::KIND && self.encoding() == C::ENCODING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A collection whose drop can be observed.
    struct Probe {
        alive: Arc<()>,
    }

    // SAFETY: no collection has this pair.
    unsafe impl Container for Probe {
        const KIND: Kind = Kind::List;
        const ENCODING: Encoding = Encoding::Skiplist;

        fn memory_bytes(&self) -> usize {
            1000
        }

        fn is_large(&self) -> bool {
            true
        }

        fn free_effort(&self) -> usize {
            LAZY_ITEMS
        }

        fn duplicate(&self) -> Probe {
            Probe { alive: self.alive.clone() }
        }
    }

    struct Other;

    // SAFETY: no collection has this pair.
    unsafe impl Container for Other {
        const KIND: Kind = Kind::List;
        const ENCODING: Encoding = Encoding::Raw;

        fn memory_bytes(&self) -> usize {
            0
        }

        fn is_large(&self) -> bool {
            false
        }

        fn free_effort(&self) -> usize {
            LAZY_ITEMS + 1
        }

        fn duplicate(&self) -> Other {
            Other
        }
    }

    #[test]
    fn a_duplicate_owns_a_collection_of_its_own_and_a_renamed_entry_the_one_it_had() {
        let alive = Arc::new(());
        let entry = Entry::with_container(b"key", Probe { alive: alive.clone() }, None);
        let address = |entry: &Entry| entry.container::<Probe>().map(std::ptr::from_ref);
        let first = address(&entry);
        let copy = entry.duplicate(b"copy");
        assert_eq!(Arc::strong_count(&alive), 3);
        assert_ne!(address(&copy), first);
        let entry = entry.with_key(b"renamed");
        assert_eq!((address(&entry), entry.key()), (first, &b"renamed"[..]));
        assert_eq!(Arc::strong_count(&alive), 3);
        drop(entry);
        drop(copy);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn an_entry_owns_its_collection_and_knows_its_type() {
        let alive = Arc::new(());
        let mut entry = Entry::with_container(b"a key", Probe { alive: alive.clone() }, Some(5));
        assert_eq!((entry.kind(), entry.encoding()), (Kind::List, Encoding::Skiplist));
        assert!(entry.is_large() && entry.is_freed_lazily() && entry.memory_bytes() > 1000);
        assert!(entry.container::<Probe>().is_some() && entry.container_mut::<Probe>().is_some());
        assert!(entry.container::<Other>().is_none());
        entry.set_expire(None);
        assert_eq!(Arc::strong_count(&alive), 2);
        entry.set_container(Other);
        assert_eq!(Arc::strong_count(&alive), 1, "the collection that was replaced is dropped");
        assert!(entry.container::<Other>().is_some() && !entry.is_large() && entry.is_freed_lazily());
        entry.set_container(Probe { alive: alive.clone() });
        drop(entry);
        assert_eq!(Arc::strong_count(&alive), 1, "the collection is dropped with its entry");
    }
}
