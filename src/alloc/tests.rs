//! The allocator against a model, on one thread and on several.

use std::cell::Cell;
use std::ptr::NonNull;

use proptest::prelude::*;

use super::{allocate, allocate_zeroed, class_size, release, resize, stats};

thread_local! {
    /// Makes every block of this thread leave, wherever it lies.
    pub static ALL_LEAVE: Cell<bool> = const { Cell::new(false) };
}

/// A block with a pattern of its own in all of its usable bytes.
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

/// A block whose contents do not matter, since there are many.
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

#[test]
fn a_large_block_keeps_its_bytes_as_it_grows_and_shrinks() {
    const MB: usize = 1 << 20;
    let mut filled = Filled::new(60_000, 5);
    for size in [70_000, 71_000, 400_000, MB, MB + 100_000, 3 * MB, 2 * MB, MB, 90_000, 5000, 3 * MB, 10] {
        filled.resize(size);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize, u8),
    Release(usize),
    Resize(usize, usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 0usize..70,
        6 => 0usize..600,
        2 => 0usize..6000,
        2 => 4090usize..20_000,
        1 => 60_000usize..140_000,
    ]
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
    for size in (0..700).chain([4095, 4096, 4097, 5000, 65_600, 65_601, 100_000, 2_000_000]) {
        let block = allocate(size);
        let align = if size < 64 { 4 } else { 8 };
        assert!(block.cast::<u64>().addr().get().is_multiple_of(align), "{size}");
        // SAFETY: the block is ours, and of this size.
        unsafe { release(block, size) };
    }
}

#[test]
fn zeroed_blocks_are_zero_where_others_have_written() {
    for size in [1, 8, 50, 4096, 5000, 300_000, 2_000_000] {
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
    // 200 rounds of 2 MB would take 400 MB if no memory came back.
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
                    let large = [0, 0, 0, 0, 0, 0, 0, 4500, 20_000, 80_000][random(10)];
                    let filled = Filled::new(10 + random(300) + large, i as u8);
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
    use super::super::slab::{heap, pool, space};
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
        // Memory that was returned can be taken again.
        drop((0..1024).map(|_| Filled::new(4000, 2)).collect::<Vec<_>>());
    }

    /// Slabs of this thread for blocks of this size, except the current one; and the live blocks in all of them.
    fn slabs_and_live(size: usize) -> (usize, usize) {
        let wanted = class_size(size);
        let class = super::super::classes().into_iter().find(|class| class.size == wanted);
        class.map_or((0, 0), |class| (class.slabs - 1, class.live))
    }

    #[test]
    fn slabs_that_another_thread_empties_leave_their_owner_without_its_help() {
        // No other test uses these classes on this thread.
        for (size, count) in [(1500, 4000), (7000, 1000)] {
            let blocks = Bare::many(count, size);
            let before = slabs_and_live(size);
            assert!(before.0 > 10 && before.1 == count, "{before:?}");
            std::thread::spawn(move || drop(blocks)).join().unwrap();
            // The blocks in the current slab are seen to be free, and the other slabs are gone.
            assert_eq!(slabs_and_live(size), (0, 0));
            // Only the current slab may have been handed over.
            assert!(!super::super::collect(1));
        }
    }

    /// Allocates `count` blocks and keeps one in `share` of them, at random.
    fn thinned(size: usize, count: usize, share: usize) -> Vec<Filled> {
        let mut random = numbers(0x9e37_79b9_7f4a_7c15);
        let mut blocks: Vec<Filled> = (0..count).map(|i| Filled::new(class_size(size), i as u8)).collect();
        blocks.retain(|_| random(share) == 0);
        blocks
    }

    /// Moves all leaving blocks; returns how many moved.
    fn move_leaving(blocks: &mut [Filled]) -> usize {
        let mut moved = 0;
        for filled in blocks {
            // SAFETY: the block is ours, and of this size.
            if let Some(block) = unsafe { super::super::relocate(filled.block, filled.size) } {
                assert!(
                    !super::super::is_leaving(block, filled.size),
                    "it is never moved to where others leave"
                );
                filled.block = block;
                moved += 1;
            }
        }
        moved
    }

    #[test]
    fn a_compaction_leaves_the_slabs_that_are_needed_and_moves_no_block_twice() {
        // No other test uses these classes on this thread; narrow and wide ones.
        for (size, count, share) in [(44, 100_000, 10), (300, 30_000, 2), (3300, 4000, 5), (20_000, 700, 8)] {
            let mut blocks = thinned(size, count, share);
            let (before, live) = slabs_and_live(size);
            assert!(live == blocks.len() && before > 8);
            assert!(
                !super::super::is_leaving(blocks[0].block, size),
                "nothing leaves before there is a plan"
            );
            let mut compaction = super::super::Compaction::new();
            let freed = loop {
                if let Some(freed) = compaction.plan(3) {
                    break freed;
                }
            };
            let moved = move_leaving(&mut blocks);
            assert_eq!(move_leaving(&mut blocks), 0);
            let (after, still) = slabs_and_live(size);
            let slab = if size > 4096 { 512 << 10 } else { 64 << 10 };
            assert_eq!(still, live);
            // The first slab receives the moved blocks before a kept one is taken.
            assert!(
                before - after + 1 >= freed / slab,
                "{after} of {before} slabs, {freed} bytes to be freed"
            );
            let needed = live * class_size(size) / slab;
            assert!(after <= needed + needed / 8 + 2, "{after} of {before} slabs, {needed} are needed");
            assert!(moved <= live && moved * share > live / 2, "{moved} of {live} blocks have moved");
            drop(compaction);
            assert!(!super::super::is_leaving(blocks[0].block, size));
            // New blocks fill the holes first.
            let capacity = (after + 1) * slab / class_size(size);
            let more: Vec<Filled> = (live..capacity - 64).map(|_| Filled::new(size, 1)).collect();
            assert!(slabs_and_live(size).0 <= after + 1, "{} blocks more", more.len());
        }
    }

    #[test]
    fn what_leaves_but_is_not_moved_serves_allocations_after_the_compaction() {
        const SIZE: usize = 2500;
        let blocks = thinned(SIZE, 4000, 10);
        let before = slabs_and_live(SIZE).0;
        let mut compaction = super::super::Compaction::new();
        while compaction.plan(100).is_none() {}
        // Meanwhile nothing is allocated where others leave.
        let during: Vec<Filled> = (0..1000).map(|_| Filled::new(SIZE, 1)).collect();
        assert!(during.iter().all(|filled| !super::super::is_leaving(filled.block, SIZE)));
        drop(during);
        drop(compaction);
        let after: Vec<Filled> = (0..3000).map(|_| Filled::new(SIZE, 1)).collect();
        assert!(slabs_and_live(SIZE).0 <= before + 1, "{} blocks in no new slab", after.len());
        drop(blocks);
    }

    #[test]
    fn slabs_that_leave_may_be_emptied_by_other_threads() {
        const SIZE: usize = 2800;
        let mut blocks = thinned(SIZE, 4000, 6);
        let mut compaction = super::super::Compaction::new();
        while compaction.plan(100).is_none() {}
        let elsewhere = blocks.split_off(blocks.len() / 2);
        let other = std::thread::spawn(move || drop(elsewhere));
        move_leaving(&mut blocks);
        other.join().unwrap();
        while super::super::collect(100) {}
        drop(blocks);
        drop(compaction);
        assert_eq!(slabs_and_live(SIZE), (0, 0));
    }

    /// Frees blocks of other threads and hands them over, as a thread that is done with its work does.
    fn hand_over_all_of(blocks: Vec<Bare>) {
        drop(blocks);
        super::super::collect(0);
    }

    #[test]
    fn slabs_that_two_threads_empty_together_go_back_whoever_is_last() {
        let mut random = numbers(0x2545_f491_4f6c_dd1d);
        for round in 0..60 {
            let size = [40, 700, 3000, 9000][round % 4] + 200;
            let mut blocks = Bare::many([20_000, 3000, 800, 500][round % 4], size);
            for i in (1..blocks.len()).rev() {
                blocks.swap(i, random(i + 1));
            }
            // In parts, some of them released here and the others elsewhere, at the same time.
            let mut parts: Vec<Vec<Bare>> = Vec::new();
            while !blocks.is_empty() {
                let rest = blocks.split_off(blocks.len() - 1 - random(blocks.len()));
                parts.push(rest);
            }
            std::thread::scope(|scope| {
                for (i, part) in parts.into_iter().enumerate() {
                    match (i + round / 4) % 3 {
                        0 => drop(part),
                        1 => {
                            scope.spawn(move || hand_over_all_of(part));
                        }
                        _ => scope.spawn(move || hand_over_all_of(part)).join().unwrap(),
                    }
                }
            });
            while super::super::collect(3) {}
            assert_eq!(slabs_and_live(size), (0, 0), "round {round}, size {size}");
        }
    }

    #[test]
    fn blocks_that_another_thread_released_are_allocated_before_new_slabs_are_taken() {
        const SIZE: usize = 1180;
        let mut blocks = Bare::many(5000, SIZE);
        let (slabs, _) = slabs_and_live(SIZE);
        for _ in 0..20 {
            // Every second block goes, so that no slab becomes empty.
            let mut keep = false;
            let (kept, gone) = blocks.into_iter().partition::<Vec<Bare>, _>(|_| {
                keep = !keep;
                keep
            });
            let count = gone.len();
            std::thread::spawn(move || drop(gone)).join().unwrap();
            blocks = kept;
            blocks.extend(Bare::many(count, SIZE));
            let now = slabs_and_live(SIZE);
            assert!(now.0 <= slabs + slabs / 20 && now.1 == 5000, "{now:?} of {slabs}");
        }
    }

    #[test]
    fn live_bytes_fall_with_a_release_wherever_it_happens() {
        std::thread::spawn(|| {
            // A thread has its heap from its first block on; it may be one that another thread left.
            drop(Filled::new(26, 1));
            let before = heap::own_live_bytes();
            let blocks: Vec<Filled> = (0..1000).map(|_| Filled::new(26, 1)).collect();
            let other = std::thread::spawn(move || {
                drop(Filled::new(26, 1));
                let before = heap::own_live_bytes();
                drop(blocks);
                heap::own_live_bytes().wrapping_sub(before)
            });
            let change = other.join().unwrap();
            assert_eq!(heap::own_live_bytes().wrapping_sub(before).wrapping_add(change), 0);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn where_the_range_is_used_up_blocks_come_from_the_system() {
        // A thread of its own has no slab that could still serve it, but perhaps the heap of one that ended.
        std::thread::spawn(|| {
            pool::tests::REFUSE.set(true);
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
            pool::tests::REFUSE.set(false);
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
        // Use up the rest of the current slab.
        while heap::slab_numbers(blocks.last().unwrap().block).0 < in_slab as u32 {
            blocks.push(Filled::new(SIZE, 0));
        }
        let next = Filled::new(SIZE, 0);
        assert!(slab(&next) == full, "the slab with one hole is taken before the sparse one");
    }

    #[test]
    fn the_live_bytes_of_a_thread_rise_and_fall_with_its_blocks() {
        std::thread::spawn(|| {
            // A thread has its heap from its first block on; it may be one that another thread left.
            drop(Filled::new(26, 1));
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
        // Many threads one after the other: if each left its heap behind, it would leave the slab that it used as well.
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

    /// Forks a child that takes some slabs. Returns its exit status, or the signal that ended it if it hung.
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
        // More than half of a limit of 600 MiB, so that the use of the rest matters; of sizes that come from narrow
        // slabs, wide ones, runs and mappings.
        let mut large: Vec<Filled> = Vec::new();
        let mut bytes = 0;
        for i in 0.. {
            let size = [500, 9000, 200_000, 2_000_000][i % 4];
            bytes += size;
            if bytes > 350 << 20 {
                break;
            }
            large.push(Filled::new(size, i as u8));
        }
        println!("[{}] large blocks", large.len());
    }

    #[test]
    fn a_limit_of_the_address_space_leaves_nearly_all_of_it_to_blocks() {
        let text = with_address_space(600);
        assert!(text.contains("[2000] blocks in slabs") && text.contains("large blocks"), "{text}");
    }
}
