//! The allocator against a model, on one thread and on several.

use std::ptr::NonNull;

use proptest::prelude::*;

use super::{allocate, allocate_zeroed, class_size, release, resize, stats};

/// A block with a pattern of its own in all the bytes that it may use.
struct Filled {
    block: NonNull<u8>,
    size: usize,
    seed: u8,
}

// SAFETY: a block may be released by any thread.
unsafe impl Send for Filled {}

impl Filled {
    fn new(size: usize, seed: u8) -> Filled {
        let mut filled = Filled { block: allocate(size), size, seed };
        filled.fill(0);
        filled
    }

    fn expected(&self, i: usize) -> u8 {
        self.seed.wrapping_add(i as u8).wrapping_mul(31)
    }

    fn fill(&mut self, from: usize) {
        for i in from..class_size(self.size) {
            // SAFETY: the block has that many bytes.
            unsafe { self.block.add(i).write(self.expected(i)) };
        }
    }

    fn check(&self, len: usize) {
        for i in 0..len {
            // SAFETY: the block has that many bytes, all written.
            assert_eq!(unsafe { self.block.add(i).read() }, self.expected(i), "byte {i} of {}", self.size);
        }
    }

    fn resize(&mut self, size: usize) {
        let kept = self.size.min(size);
        // SAFETY: the block is ours, and of this size.
        self.block = unsafe { resize(self.block, self.size, size) };
        self.size = size;
        self.check(kept);
        self.fill(kept);
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check(class_size(self.size));
        }
        // SAFETY: the block is ours, and of this size.
        unsafe { release(self.block, self.size) };
    }
}

/// A block whose contents are of no interest, since there are many.
struct Bare {
    block: NonNull<u8>,
    size: usize,
}

// SAFETY: a block may be released by any thread.
unsafe impl Send for Bare {}

impl Bare {
    fn many(count: usize, size: usize) -> Vec<Bare> {
        (0..count).map(|_| Bare { block: allocate(size), size }).collect()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: the block is ours, and of this size.
        unsafe { release(self.block, self.size) };
    }
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize, u8),
    Release(usize),
    Resize(usize, usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..70, 3 => 0usize..600, 1 => 0usize..6000, 1 => 4090usize..20_000]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (size(), any::<u8>()).prop_map(|(size, seed)| Step::Allocate(size, seed)),
        2 => any::<usize>().prop_map(Step::Release),
        1 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Resize(which, size)),
    ]
}

proptest! {
    #[test]
    fn no_block_is_ever_written_by_another(steps in prop::collection::vec(step(), 1..200)) {
        let mut live: Vec<Filled> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate(size, seed) => live.push(Filled::new(size, seed)),
                Step::Release(which) if !live.is_empty() => {
                    let which = which % live.len();
                    drop(live.swap_remove(which));
                }
                Step::Resize(which, size) if !live.is_empty() => {
                    let which = which % live.len();
                    live[which].resize(size);
                }
                _ => {}
            }
        }
    }
}

/// The same numbers on every run.
fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

#[test]
fn contents_stay_through_churn_over_many_slabs() {
    let mut random = numbers(0x9e37_79b9_7f4a_7c15);
    let mut live: Vec<Filled> = Vec::new();
    for round in 0..30_000 {
        let target = if round / 5000 % 2 == 0 { 4000 } else { 500 };
        if live.len() < target {
            live.push(Filled::new(20 + random(80), round as u8));
        }
        if live.len() > target || random(3) == 0 {
            let which = random(live.len());
            drop(live.swap_remove(which));
        }
    }
}

#[test]
fn blocks_are_aligned_as_promised() {
    for size in (0..700).chain([4095, 4096, 4097, 100_000]) {
        let block = allocate(size);
        let align = if size < 64 { 4 } else { 8 };
        assert!(block.cast::<u64>().addr().get().is_multiple_of(align), "{size}");
        // SAFETY: the block is ours, and of this size.
        unsafe { release(block, size) };
    }
}

#[test]
fn zeroed_blocks_are_zero_where_others_have_written() {
    for size in [1, 8, 50, 4096, 5000, 300_000] {
        drop(Filled::new(size, 3));
        let block = allocate_zeroed(size);
        // SAFETY: the block has `size` initialised bytes.
        assert!(unsafe { std::slice::from_raw_parts(block.as_ptr(), size) }.iter().all(|&b| b == 0));
        // SAFETY: the block is ours, and of this size.
        unsafe { release(block, size) };
    }
}

#[test]
fn blocks_released_by_other_threads_come_back() {
    let mapped = || stats().slab_bytes + stats().free_bytes;
    for _ in 0..200 {
        let blocks = Bare::many(10_000, 200);
        std::thread::spawn(move || drop(blocks)).join().unwrap();
        while super::collect(100) {}
    }
    // 200 rounds of 2 MB would take 400 MB if nothing came back.
    assert!(mapped() < 300 << 20, "{:?}", stats());
}

#[test]
fn threads_hand_each_other_blocks_all_at_once() {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..4).map(|_| std::sync::mpsc::sync_channel::<Filled>(100)).unzip();
    std::thread::scope(|scope| {
        for (seed, receiver) in receivers.into_iter().enumerate() {
            let senders = senders.clone();
            scope.spawn(move || {
                let mut random = numbers(seed as u64 + 1);
                for i in 0..5000 {
                    let filled = Filled::new(10 + random(300), i as u8);
                    // A full channel hands the block back, and it is dropped here.
                    let _ = senders[random(4)].try_send(filled);
                    drop(receiver.try_recv());
                    if i % 100 == 0 {
                        while super::collect(100) {}
                    }
                }
            });
        }
    });
    drop(senders);
}

#[cfg(all(feature = "slab", target_pointer_width = "64", not(fuzzing)))]
mod slabs {
    use super::super::slab::{heap, space};
    use super::*;

    #[test]
    fn memory_of_emptied_slabs_serves_other_classes() {
        for round in 0..100 {
            let size = 24 + round * 40;
            drop(Bare::many((8 << 20) / size, size));
        }
        let used = stats();
        // 100 rounds of 8 MB, each of another class, would take 800 MB if slabs kept their class.
        assert!(used.slab_bytes + used.free_bytes < 400 << 20, "{used:?}");
    }

    #[test]
    fn unused_memory_goes_back_to_the_kernel_within_the_budget() {
        drop(Bare::many(8192, 4000));
        let given = super::super::purge(4 << 20);
        assert!(given > 0 && given <= (4 << 20) + space::REGION, "{given}");
        // What was given back can be taken again.
        drop((0..1024).map(|_| Filled::new(4000, 2)).collect::<Vec<_>>());
    }

    #[test]
    fn where_the_range_is_used_up_blocks_come_from_the_system() {
        // A thread of its own has no slab that could still serve it, but perhaps the heap of one that ended.
        std::thread::spawn(|| {
            space::tests::REFUSE.set(true);
            let mut blocks: Vec<Filled> = Vec::new();
            while blocks.len() < 100_000 {
                blocks.push(Filled::new(3500, 1));
                let last = blocks.last().unwrap().block;
                if space::slab_of(last).is_none() {
                    break;
                }
            }
            let mut outside = blocks.pop().unwrap();
            assert!(space::slab_of(outside.block).is_none(), "the last block is the system's");
            outside.resize(3510);
            outside.resize(30);
            outside.resize(100_000);
            outside.resize(3500);
            space::tests::REFUSE.set(false);
            outside.resize(40);
            assert!(space::slab_of(outside.block).is_some());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_fullest_slab_is_filled_first_so_that_sparse_ones_empty() {
        // No other test uses this class on this thread.
        const SIZE: usize = 1900;
        let first = Filled::new(SIZE, 0);
        let in_slab = heap::slab_numbers(first.block).1 as usize;
        let mut blocks: Vec<Filled> = (0..in_slab * 6).map(|_| Filled::new(SIZE, 0)).collect();
        let slab = |filled: &Filled| space::slab_of(filled.block).unwrap();
        // Of one slab all blocks but one go, and then a block of another.
        let sparse = slab(&blocks[in_slab * 2]);
        let full = slab(&blocks[in_slab * 3 + in_slab / 2]);
        let mut kept = None;
        let mut hole = None;
        for filled in std::mem::take(&mut blocks) {
            if slab(&filled) == sparse && kept.is_some() {
                drop(filled);
            } else if slab(&filled) == sparse {
                kept = Some(filled);
            } else if slab(&filled) == full && hole.is_none() {
                hole = Some(filled);
            } else {
                blocks.push(filled);
            }
        }
        drop(hole);
        // Use up what is left of the current slab.
        while heap::slab_numbers(blocks.last().unwrap().block).0 < in_slab as u32 {
            blocks.push(Filled::new(SIZE, 0));
        }
        let next = Filled::new(SIZE, 0);
        assert!(slab(&next) == full, "the slab with one hole is taken before the sparse one");
    }

    #[test]
    fn the_live_bytes_of_a_thread_rise_and_fall_with_its_blocks() {
        std::thread::spawn(|| {
            let before = heap::own_live_bytes();
            let blocks: Vec<Filled> = (0..1000).map(|_| Filled::new(26, 1)).collect();
            assert_eq!(heap::own_live_bytes() - before, 28_000);
            drop(blocks);
            assert_eq!(heap::own_live_bytes(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_heap_of_a_thread_that_ended_serves_the_next() {
        // Many threads one after the other: if each left its heap behind, so would it the slab that it used.
        for _ in 0..6000 {
            std::thread::spawn(|| drop(Filled::new(500, 1))).join().unwrap();
        }
        assert!(stats().slab_bytes < 250 << 20, "{:?}", stats());
    }

    #[test]
    fn a_forked_child_can_allocate_whatever_other_threads_did_at_that_moment() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        drop(Bare::many(100, 4000));
                    }
                });
            }
            let statuses: Vec<i32> = (0..50).map(|_| status_of_child()).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(statuses, [0; 50]);
        });
    }

    /// Forks a child that takes some slabs; its exit status, or the signal that ended it if it hung.
    fn status_of_child() -> i32 {
        // SAFETY: the child calls nothing but this allocator, `alarm` and `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(20);
                for _ in 0..200 {
                    allocate(3000).write(1);
                }
                libc::_exit(0);
            }
            assert!(child > 0, "fork");
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            status
        }
    }

    /// Runs the test below in a process whose address space is limited.
    fn with_address_space(mebibytes: usize) -> String {
        let name = "alloc::tests::slabs::in_a_small_address_space";
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v $1; exec \"$0\" --ignored --exact --nocapture --test-threads 1 $2"])
            .arg(std::env::current_exe().unwrap())
            .args([(mebibytes << 10).to_string(), name.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    #[test]
    #[ignore = "run by other tests, with a limit"]
    fn in_a_small_address_space() {
        let blocks: Vec<Filled> = (0..2000).map(|i| Filled::new(20 + i % 100, i as u8)).collect();
        let inside = blocks.iter().filter(|filled| space::slab_of(filled.block).is_some()).count();
        println!("[{inside}] blocks in slabs");
    }

    #[test]
    fn where_little_address_space_is_granted_a_smaller_range_serves() {
        assert!(with_address_space(600).contains("[2000] blocks in slabs"));
    }

    #[test]
    fn where_no_range_is_granted_all_blocks_come_from_the_system() {
        assert!(with_address_space(64).contains("[0] blocks in slabs"));
    }
}
