//! The poller: reports which descriptors can be read or written without waiting.
//!
//! One trait, two kernel interfaces with the same methods in the same order (`epoll.rs`, `kqueue.rs`), one of them
//! compiled. Level-triggered: an event is reported by every wait until its cause is gone, so a loop that does only a
//! bounded amount of work for each client loses nothing.
//!
//! A registration carries a [`Source`], which the kernel returns with the event: the kind of the descriptor, and which
//! one of the kind. A client is identified by a [`Token`], its slot and that slot's generation. So when a client is
//! closed in the middle of a batch, its remaining events need not be searched for: they carry a generation that the
//! slot no longer has.
//!
//! Costs: a wait is one system call for at most [`BATCH`] events, which stay where the kernel wrote them;
//! [`Poller::event`] decodes one in registers. A wait allocates nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The most events that one wait returns. The next wait begins with the remaining ones.
pub const BATCH: usize = 1024;

/// The poller of the target platform.
#[cfg(all(target_os = "linux", not(libkqueue)))]
pub type NativePoller = crate::sys::epoll::Epoll;
/// The poller of the target platform.
#[cfg(any(target_os = "macos", target_os = "freebsd", libkqueue))]
pub type NativePoller = crate::sys::kqueue::Kqueue;

/// Identifies an entry in a table by its slot and the generation of that slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Index in the table.
    pub slot: u32,
    /// How often the slot has been reused; an event of an older generation is stale.
    pub generation: u32,
}

impl Token {
    /// Combines a slot and a generation.
    #[inline]
    pub const fn new(slot: u32, generation: u32) -> Token {
        Token { slot, generation }
    }

    /// Both numbers in one, with the slot in the lower half.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }
}

/// The owner of a registered descriptor: its kind, and which one of its kind.
///
/// ```text
/// [ generation or number 32 | kind 4 | slot or index 28 ]
/// ```
///
/// The loop matches a source exhaustively. Each kind carries the data that finds the descriptor's owner. Where the
/// owner may be replaced while an event is under way, a generation or a number that is never reused distinguishes the
/// old one from the new. Every connection on which commands arrive is a client, whatever is at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A connection in the table of clients.
    Client(Token),
    /// A listener for clients, by its index.
    Listener(u32),
    /// A listener for metrics connections, by its index.
    WebListener(u32),
    /// A metrics connection, by its number.
    Web(u32),
    /// The pipe through which a child sends a snapshot to replicas.
    Transfer,
    /// The connection to a primary, until the replication stream starts.
    Upstream,
    /// The connection to the target of a `MIGRATE`, by the number of that.
    Migration(u32),
    /// A listener for the cluster bus, by its index.
    BusListener(u32),
    /// A connection of the cluster bus, by its number.
    Bus(u32),
}

/// The number of kinds.
const KINDS: u64 = 9;

const KIND_SHIFT: u32 = 28;
const KIND_MASK: u64 = 0xf;

/// Slots and indices are below this.
const MAX_SLOTS: u32 = 1 << KIND_SHIFT;

/// The poller's own registration, the receiving end of its [`Waker`]s, which is none of the kinds.
pub(super) const WAKER: u64 = u64::MAX;
const _: () = assert!(KINDS <= WAKER >> KIND_SHIFT & KIND_MASK);

impl Source {
    /// The 64 bits that the kernel stores with a registration.
    pub(super) const fn to_u64(self) -> u64 {
        let (kind, token) = match self {
            Source::Client(token) => (0, token),
            Source::Listener(index) => (1, Token::new(index, 0)),
            Source::WebListener(index) => (2, Token::new(index, 0)),
            Source::Web(number) => (3, Token::new(0, number)),
            Source::Transfer => (4, Token::new(0, 0)),
            Source::Upstream => (5, Token::new(0, 0)),
            Source::Migration(number) => (6, Token::new(0, number)),
            Source::BusListener(index) => (7, Token::new(index, 0)),
            Source::Bus(number) => (8, Token::new(0, number)),
        };
        assert!(kind < KINDS && token.slot < MAX_SLOTS);
        kind << KIND_SHIFT | token.to_u64()
    }

    /// The inverse of [`Source::to_u64`].
    #[inline]
    pub(super) const fn from_u64(bits: u64) -> Source {
        if bits >> KIND_SHIFT & KIND_MASK == 0 {
            return Source::Client(Token::new(bits as u32, (bits >> 32) as u32));
        }
        Source::other_from_u64(bits)
    }

    /// [`Source::from_u64`] for all but clients: a separate function, so that a client's event costs one comparison and
    /// no table.
    #[cold]
    const fn other_from_u64(bits: u64) -> Source {
        let token = Token::new(bits as u32 & (MAX_SLOTS - 1), (bits >> 32) as u32);
        match bits >> KIND_SHIFT & KIND_MASK {
            1 => Source::Listener(token.slot),
            2 => Source::WebListener(token.slot),
            3 => Source::Web(token.generation),
            4 => Source::Transfer,
            5 => Source::Upstream,
            6 => Source::Migration(token.generation),
            7 => Source::BusListener(token.slot),
            8 => Source::Bus(token.generation),
            _ => panic!("no such kind was registered"),
        }
    }
}

const _: () = {
    let mut kind = 0;
    while kind < KINDS {
        assert!(
            Source::from_u64(kind << KIND_SHIFT).to_u64() == kind << KIND_SHIFT,
            "a kind is read as it was written"
        );
        kind += 1;
    }
};

/// The events that a registration waits for. Both may be false: hang-ups and errors may still be reported then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Wait until there are bytes to read, or the peer has closed its side.
    pub read: bool,
    /// Wait until there is room to write.
    pub write: bool,
}

impl Interest {
    /// Neither.
    pub const NONE: Interest = Interest { read: false, write: false };
    /// Reading only: the interest of an idle client.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writing only.
    pub const WRITE: Interest = Interest { read: false, write: true };
    /// Reading and writing: a client whose socket has not taken all of its output.
    pub const BOTH: Interest = Interest { read: true, write: true };
}

/// One event. The two directions of a descriptor come in one event or in two, depending on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The source that the descriptor was registered with.
    pub source: Source,
    /// A read will not block: there are bytes, the end of the stream, or an error.
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
    /// The connection is gone in both directions or has failed. `readable` is set as well, so that a loop
    /// which only reads finds the cause in its next receive.
    pub closed: bool,
}

/// A kernel's readiness interface.
pub trait Poller: Sized {
    /// An empty poller with its wake-up registered.
    fn new() -> io::Result<Self>;

    /// Registers `fd`, which must not be registered already. The descriptor must be removed before it is closed
    /// if another descriptor of the same open file lives on (a duplicate, a forked child).
    fn add(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()>;

    /// Replaces the interest of a registered descriptor; `source` must be the one that it was added with.
    fn modify(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()>;

    /// Removes a registered descriptor. Its events from the last wait stay readable: the generation in their source
    /// shows that they are stale.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Waits until a descriptor is ready, a [`Waker`] wakes, or `timeout_ms` have passed (`None`: no limit). Returns
    /// the number of events for [`Poller::event`]. A wake-up or a signal ends the wait but is no event, so `Ok(0)` is
    /// normal before the timeout. Data that a thread published before calling [`Waker::wake`] is visible once the wait
    /// that this wake-up ended returns.
    fn wait(&mut self, timeout_ms: Option<u32>) -> io::Result<usize>;

    /// [`Poller::wait`] with a limit in nanoseconds, for callers that must act at a given moment. A kernel that only
    /// knows milliseconds (Linux before 5.11) rounds up to them.
    fn wait_ns(&mut self, timeout_ns: u64) -> io::Result<usize>;

    /// Returns the `index`-th event of the last wait. Panics if it had fewer.
    fn event(&self, index: usize) -> Event;

    /// Returns a handle that ends a wait from another thread or from a signal handler.
    fn waker(&self) -> Waker;
}

/// Ends a [`Poller::wait`]: the current one, or else the next. Several wake-ups before a wait end only that one.
#[derive(Clone, Debug)]
pub struct Waker {
    /// An eventfd, or one end of a pair of sockets: the kernel keeps the written bytes until a wait reads them.
    fd: Arc<OwnedFd>,
}

impl Waker {
    pub(super) fn new(fd: OwnedFd) -> Waker {
        Waker { fd: Arc::new(fd) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Ends the wait. Never blocks, never fails, and is safe in a signal handler that restores `errno`.
    #[inline]
    pub fn wake(&self) {
        wake_raw(self.fd().as_raw_fd());
    }

    /// Returns the descriptor, which stays open for the rest of the process: for signal handlers, which can keep only a
    /// number.
    pub(super) fn leak(&self) -> RawFd {
        std::mem::forget(self.clone());
        self.fd.as_raw_fd()
    }
}

/// Wakes through a descriptor from [`Waker::leak`].
pub(super) fn wake_raw(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight readable bytes, the size of an eventfd's counter. A full counter or socket fails with EAGAIN, and
    // is then already readable.
    unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_source_survives_the_way_through_the_kernel() {
        let slots = [0, 7, MAX_SLOTS - 1];
        let numbers = [0, 7, u32::MAX];
        let clients =
            slots.iter().flat_map(|slot| numbers.map(|number| Source::Client(Token::new(*slot, number))));
        let listeners = slots.iter().flat_map(|slot| [Source::Listener(*slot), Source::WebListener(*slot)]);
        let all: Vec<Source> = clients
            .chain(listeners)
            .chain(numbers.map(Source::Web))
            .chain(numbers.map(Source::Migration))
            .collect();
        for (index, source) in all.iter().enumerate() {
            let bits = source.to_u64();
            assert_eq!(Source::from_u64(bits), *source);
            assert_ne!(bits, WAKER);
            assert!(all[..index].iter().all(|other| other.to_u64() != bits), "{source:?} is another's");
        }
    }

    #[test]
    #[should_panic(expected = "MAX_SLOTS")]
    fn a_slot_that_would_change_the_kind_is_refused() {
        Source::Listener(MAX_SLOTS).to_u64();
    }

    #[test]
    fn a_signal_ends_a_wait_without_an_error() {
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

        extern "C" fn nothing(_: i32) {}
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing; no other test uses the signal.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let mut poller = NativePoller::new().unwrap();
        // SAFETY: no pointers.
        let waiting = unsafe { libc::pthread_self() };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The first signal may arrive before the wait begins, so signals are sent until it has ended.
                while !done.load(Ordering::Acquire) {
                    // SAFETY: the waiting thread outlives this scope.
                    assert_eq!(unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) }, 0);
                    std::thread::yield_now();
                }
            });
            let waited = poller.wait(None);
            done.store(true, Ordering::Release);
            assert_eq!(waited.unwrap(), 0);
        });
    }

    #[test]
    fn a_waker_can_move_to_another_thread() {
        fn sendable<T: Send + Sync + Clone + 'static>() {}
        sendable::<Waker>();
    }
}
