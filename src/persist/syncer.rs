//! The background thread that waits for the disk: it syncs the append-only log (`appendfsync everysec`) and closes
//! unlinked files, which frees their blocks.
//!
//! ```text
//!   loop ── request_sync, close_later ──▶ channel ──▶ thread: fdatasync, close
//!        ◀── pending_syncs, synced_up_to, last_error (atomic numbers) ──
//! ```
//!
//! The loop never waits here, except in [`Syncer::drain`]. The thread performs jobs in the order in which they were
//! sent; the first job starts it, and it ends after its remaining jobs when the syncer is dropped.
//!
//! The next sync does not make up for a failed one: most kernels then treat the pages that could not be written as
//! clean, so the next sync succeeds and proves nothing about them. [`Syncer::last_error`] is cleared by the next
//! success, since writing works again; but [`Syncer::synced_up_to`] stays where it was for as long as that file is
//! written. The bytes appended to it before are only certain to be on disk once they are written again, to another
//! file.
//!
//! A forked child does not have the thread. It must neither send jobs nor drain.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use crate::sys::poller::Waker;
use crate::sys::{crash, disk, file, host};

/// A job for the thread.
enum Job {
    /// Sync the file, at which point the log is `offset` bytes long (counted by the caller).
    Sync {
        file: Arc<File>,
        offset: u64,
    },
    SyncDirectory(File),
    Close(File),
    /// Report that all earlier jobs are done.
    Tell(SyncSender<()>),
}

/// The thread's progress.
#[derive(Default)]
struct Progress {
    pending_syncs: AtomicU64,
    pending_closes: AtomicU64,
    synced: AtomicU64,
    /// The number of the latest sync's error, 0 if it succeeded.
    error: AtomicI32,
    failures: AtomicU64,
    /// Whether each sync wakes the event loop.
    is_awaited: AtomicBool,
}

/// Syncs the bytes of a file to the disk.
type SyncFn = fn(&File) -> io::Result<()>;

/// The thread, as seen by the loop.
pub struct Syncer {
    queue: Option<Sender<Job>>,
    progress: Arc<Progress>,
    /// The processors that the thread is pinned to when it starts; empty for all.
    processors: Vec<usize>,
    sync: SyncFn,
    waker: Option<Waker>,
}

impl Default for Syncer {
    fn default() -> Syncer {
        Syncer::new(Vec::new())
    }
}

impl Syncer {
    /// Returns a syncer whose thread, once started, is pinned to some processors (`bio_cpulist`), or not pinned if the
    /// list is empty.
    pub fn new(processors: Vec<usize>) -> Syncer {
        Syncer { queue: None, progress: Arc::default(), processors, sync: disk::sync_data, waker: None }
    }

    /// Sets how to wake the event loop. Applies to the thread that is started next.
    pub fn wake_by(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    /// Sets whether each sync wakes the event loop. A sync that completes during this call may not, so the caller has
    /// to check [`Syncer::synced_up_to`] afterwards.
    pub fn wake_when_synced(&self, wanted: bool) {
        self.progress.is_awaited.store(wanted, Ordering::SeqCst);
    }

    /// Requests a sync of the bytes written to `file` so far; [`Syncer::synced_up_to`] returns `offset` when it is
    /// done. If the thread gets the last reference to the file, it also closes it.
    pub fn request_sync(&mut self, file: Arc<File>, offset: u64) {
        self.progress.pending_syncs.fetch_add(1, Ordering::Release);
        self.send(Job::Sync { file, offset });
    }

    /// Requests a sync of the names in a directory. It counts as a sync, but adds no bytes of the log.
    pub fn request_directory_sync(&mut self, directory: File) {
        self.progress.pending_syncs.fetch_add(1, Ordering::Release);
        self.send(Job::SyncDirectory(directory));
    }

    /// Requests that an unused file is closed.
    pub fn close_later(&mut self, file: File) {
        self.progress.pending_closes.fetch_add(1, Ordering::Release);
        self.send(Job::Close(file));
    }

    /// Removes a file: its name now, its blocks on the thread.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = disk::unlink_open(path)?;
        self.close_later(file);
        Ok(())
    }

    /// The number of requested syncs that are not done (`aof_pending_bio_fsync`).
    pub fn pending_syncs(&self) -> u64 {
        self.progress.pending_syncs.load(Ordering::Acquire)
    }

    /// Whether a requested sync is not done.
    pub fn is_syncing(&self) -> bool {
        self.pending_syncs() > 0
    }

    /// The number of files still to be closed.
    pub fn pending_closes(&self) -> u64 {
        self.progress.pending_closes.load(Ordering::Acquire)
    }

    /// The largest offset of a completed sync: up to here the log is on disk. Syncs of a file after a failed one do not
    /// advance it (see the module's head).
    pub fn synced_up_to(&self) -> u64 {
        self.progress.synced.load(Ordering::Acquire)
    }

    /// The system's number of the latest sync's error, if that sync failed.
    pub fn last_error(&self) -> Option<i32> {
        Some(self.progress.error.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    /// The number of syncs that have failed.
    pub fn failures(&self) -> u64 {
        self.progress.failures.load(Ordering::Acquire)
    }

    /// Waits until all jobs sent so far are done.
    pub fn drain(&mut self) {
        if self.queue.is_none() {
            return;
        }
        let (done, wait) = sync_channel(1);
        self.send(Job::Tell(done));
        // An error means that the job was dropped, and that none is left.
        let _ = wait.recv();
    }

    fn send(&mut self, job: Job) {
        if self.queue.is_none() {
            self.queue = self.start();
        }
        let refused = match &self.queue {
            // The receiver lives as long as this sender, so this can only fail if the thread has died.
            Some(queue) => queue.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            self.worker().perform(job);
        }
    }

    fn worker(&self) -> Worker {
        Worker {
            progress: Arc::clone(&self.progress),
            sync: self.sync,
            damaged: Vec::new(),
            waker: self.waker.clone(),
        }
    }

    fn start(&self) -> Option<Sender<Job>> {
        let (sender, receiver) = channel::<Job>();
        let mut worker = self.worker();
        let processors = self.processors.clone();
        let work = move || {
            // If pinning fails, the thread runs on any processor.
            let _ = if processors.is_empty() { Ok(()) } else { host::pin(&processors) };
            // Without its own signal stack the thread still works; only a crash here would be reported less well.
            let _ = crash::protect_thread();
            for job in receiver {
                worker.perform(job);
            }
        };
        thread::Builder::new().name("syncer".into()).spawn(work).ok().map(|_| sender)
    }
}

/// The thread's state.
struct Worker {
    progress: Arc<Progress>,
    sync: SyncFn,
    /// Files with a failed sync, as long as they are in use.
    damaged: Vec<Weak<File>>,
    waker: Option<Waker>,
}

impl Worker {
    fn perform(&mut self, job: Job) {
        match job {
            Job::Sync { file, offset } => {
                self.sync(&file, offset);
                drop(file);
                self.progress.pending_syncs.fetch_sub(1, Ordering::SeqCst);
                if self.progress.is_awaited.load(Ordering::SeqCst)
                    && let Some(waker) = &self.waker
                {
                    waker.wake();
                }
            }
            Job::SyncDirectory(directory) => {
                if let Err(error) = file::sync_directory(&directory) {
                    self.note_failure(&error);
                }
                self.progress.pending_syncs.fetch_sub(1, Ordering::Release);
            }
            Job::Close(file) => {
                drop(file);
                self.progress.pending_closes.fetch_sub(1, Ordering::Release);
            }
            // Fails if nobody waits for it any more.
            Job::Tell(done) => drop(done.send(())),
        }
    }

    fn sync(&mut self, file: &Arc<File>, offset: u64) {
        self.damaged.retain(|damaged| damaged.strong_count() > 0);
        match (self.sync)(file) {
            Ok(()) => {
                if !self.damaged.iter().any(|damaged| std::ptr::eq(damaged.as_ptr(), Arc::as_ptr(file))) {
                    self.progress.synced.fetch_max(offset, Ordering::AcqRel);
                }
                self.progress.error.store(0, Ordering::Release);
                // The log is only read at a start.
                disk::drop_cached(file);
            }
            Err(error) => {
                self.damaged.push(Arc::downgrade(file));
                self.note_failure(&error);
            }
        }
    }

    fn note_failure(&self, error: &io::Error) {
        self.progress.failures.fetch_add(1, Ordering::AcqRel);
        self.progress.error.store(disk::error_number(error), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("redstart-syncer-{}-{name}", std::process::id()));
            fs::write(&path, "").unwrap();
            Scratch(path)
        }

        fn open(&self) -> Arc<File> {
            Arc::new(fs::OpenOptions::new().append(true).open(&self.0).unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// A descriptor that no system can sync.
    fn pipe() -> Arc<File> {
        Arc::new(File::from(OwnedFd::from(io::pipe().unwrap().1)))
    }

    #[test]
    fn what_was_requested_is_synced_in_order() {
        let scratch = Scratch::new("order");
        let file = scratch.open();
        let mut syncer = Syncer::default();
        assert_eq!((syncer.synced_up_to(), syncer.pending_syncs(), syncer.last_error()), (0, 0, None));
        syncer.drain();
        for offset in 1..=20 {
            (&*file).write_all(b"x").unwrap();
            syncer.request_sync(Arc::clone(&file), offset);
            assert!(syncer.synced_up_to() <= offset);
        }
        syncer.drain();
        assert_eq!((syncer.synced_up_to(), syncer.is_syncing(), syncer.last_error()), (20, false, None));
        assert_eq!(Arc::strong_count(&file), 1, "the thread lets go of the file");
    }

    #[test]
    fn a_sync_is_pending_until_it_is_done() {
        use std::sync::Barrier;
        static START: Barrier = Barrier::new(2);
        static END: Barrier = Barrier::new(2);
        let slow: SyncFn = |_| {
            START.wait();
            END.wait();
            Ok(())
        };
        let mut syncer = Syncer { sync: slow, ..Syncer::default() };
        syncer.request_sync(pipe(), 7);
        START.wait();
        assert!(syncer.is_syncing());
        assert_eq!((syncer.pending_syncs(), syncer.synced_up_to()), (1, 0));
        END.wait();
        syncer.drain();
        assert!(!syncer.is_syncing());
        assert_eq!(syncer.synced_up_to(), 7);
    }

    #[test]
    fn a_sync_that_fails_is_an_error_until_one_succeeds() {
        let scratch = Scratch::new("fail");
        let mut syncer = Syncer::default();
        syncer.request_sync(pipe(), 10);
        syncer.request_sync(pipe(), 11);
        syncer.drain();
        assert!(syncer.last_error().is_some());
        assert_eq!((syncer.synced_up_to(), syncer.failures(), syncer.pending_syncs()), (0, 2, 0));
        syncer.request_sync(scratch.open(), 12);
        syncer.drain();
        assert_eq!((syncer.last_error(), syncer.synced_up_to(), syncer.failures()), (None, 12, 2));
    }

    #[test]
    fn a_success_after_a_failure_proves_nothing_about_the_same_file() {
        use std::sync::atomic::AtomicBool;
        static BROKEN: AtomicBool = AtomicBool::new(false);
        let sometimes: SyncFn = |_| {
            if BROKEN.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
        };
        let scratch = Scratch::new("damage");
        let (first, second) = (scratch.open(), scratch.open());
        let mut syncer = Syncer { sync: sometimes, ..Syncer::default() };
        let mut after = |broken: bool, file: &Arc<File>, offset: u64| {
            BROKEN.store(broken, Ordering::SeqCst);
            syncer.request_sync(Arc::clone(file), offset);
            syncer.drain();
            (syncer.last_error(), syncer.synced_up_to())
        };
        assert_eq!(after(false, &first, 1), (None, 1));
        assert_eq!(after(true, &first, 2), (Some(libc::EIO), 1));
        assert_eq!(after(false, &first, 3), (None, 1));
        assert_eq!(after(false, &second, 4), (None, 4));
        assert_eq!(after(false, &first, 5), (None, 4));
    }

    #[test]
    fn files_are_closed_and_removed_on_the_thread() {
        let scratch = Scratch::new("remove");
        let (reader, writer) = io::pipe().unwrap();
        let mut syncer = Syncer::default();
        syncer.close_later(File::from(OwnedFd::from(writer)));
        syncer.remove(&scratch.0).unwrap();
        assert!(!scratch.0.exists());
        syncer.drain();
        assert_eq!(syncer.pending_closes(), 0);
        assert_eq!(io::read_to_string(reader).unwrap(), "", "nobody has the other end any more");
        assert!(syncer.remove(&scratch.0).is_err());
    }

    #[test]
    fn jobs_are_done_also_when_the_syncer_is_dropped() {
        let (reader, writer) = io::pipe().unwrap();
        let mut syncer = Syncer::default();
        syncer.close_later(File::from(OwnedFd::from(writer)));
        drop(syncer);
        assert_eq!(io::read_to_string(reader).unwrap(), "");
    }
}
