//! The memory and time of a block of the keyspace, compared with general-purpose allocators.
//!
//! Run: `cargo bench --bench alloc`. glibc is the system's; mimalloc and jemalloc (Debian: libmimalloc2.0 or
//! libmimalloc3, libjemalloc2) replace it through `LD_PRELOAD` if they are installed, so every allocator gets the same
//! calls from the same program. Times are the thread's CPU time; each figure comes from a separate process, and is the
//! least of five runs.
//!
//! | column | measurement |
//! |---|---|
//! | bytes | growth of the resident set, per block |
//! | fill | allocate and write a million blocks, page faults included |
//! | churn | release a random block of the million and allocate one in its place |
//! | hot | the same among 1,000 blocks, which fit in the caches |
//! | drain | release the million in random order |
//! | left | resident bytes per block of the million after releasing all and purging unused memory |

use std::ffi::OsString;
use std::hint::black_box;
use std::process::Command;
use std::ptr::NonNull;

use redstart::alloc;

const BLOCKS: usize = 1_000_000;
const SIZES: [usize; 4] = [26, 30, 55, 123];
const RUNS: usize = 5;
const COLUMNS: usize = 6;

/// An allocator to measure.
trait Source {
    fn allocate(size: usize) -> NonNull<u8>;
    /// # Safety
    /// The block came from `allocate(size)` and is not used again.
    unsafe fn release(block: NonNull<u8>, size: usize);
    fn trim() {}
}

struct Slab;

impl Source for Slab {
    #[inline(always)]
    fn allocate(size: usize) -> NonNull<u8> {
        alloc::allocate(size)
    }

    #[inline(always)]
    unsafe fn release(block: NonNull<u8>, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { alloc::release(block, size) }
    }

    fn trim() {
        while alloc::purge(usize::MAX) > 0 {}
    }
}

struct Malloc;

impl Source for Malloc {
    #[inline(always)]
    fn allocate(size: usize) -> NonNull<u8> {
        // SAFETY: malloc accepts any size.
        NonNull::new(unsafe { libc::malloc(size) }.cast()).expect("memory")
    }

    #[inline(always)]
    unsafe fn release(block: NonNull<u8>, _size: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(block.as_ptr().cast()) }
    }

    #[cfg(target_env = "gnu")]
    fn trim() {
        // SAFETY: it has no preconditions.
        unsafe { libc::malloc_trim(0) };
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc/self/statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("resident pages") * 4096
}

/// Nanoseconds of CPU that this thread has used.
fn cpu_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every supported system, and `now` is a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of CPU for each of `rounds` in `work`.
fn ns_each(rounds: usize, work: impl FnOnce()) -> f64 {
    let start = cpu_ns();
    work();
    (cpu_ns() - start) as f64 / rounds as f64
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * bound as u64) >> 32) as usize
    }
}

fn fresh<S: Source>(size: usize) -> NonNull<u8> {
    let block = S::allocate(size);
    // SAFETY: the block has `size` bytes.
    unsafe { block.write_bytes(1, size) };
    block
}

/// Replaces blocks at random. Returns nanoseconds for one release and one allocation.
fn churn<S: Source>(blocks: &mut [NonNull<u8>], size: usize, random: &mut Random) -> f64 {
    let rounds = 3_000_000;
    ns_each(rounds, || {
        for _ in 0..rounds {
            let slot = &mut blocks[random.below(blocks.len())];
            // SAFETY: the slot's block is replaced at once.
            unsafe { S::release(*slot, size) };
            *slot = black_box(S::allocate(size));
            // SAFETY: every block has at least one byte.
            unsafe { slot.write(1) };
        }
    })
}

fn measure<S: Source>(size: usize) -> [f64; COLUMNS] {
    let mut random = Random(7);
    let mut blocks = vec![NonNull::<u8>::dangling(); BLOCKS];
    blocks.fill(fresh::<S>(size));
    let before = resident_bytes();
    let fill = ns_each(BLOCKS, || blocks.iter_mut().for_each(|slot| *slot = fresh::<S>(size)));
    let bytes = (resident_bytes() - before) as f64 / BLOCKS as f64;
    let cold = churn::<S>(&mut blocks, size, &mut random);
    let hot = churn::<S>(&mut blocks[..1000], size, &mut random);
    for i in (1..BLOCKS).rev() {
        blocks.swap(i, random.below(i + 1));
    }
    let drain = ns_each(BLOCKS, || {
        for &block in &blocks {
            // SAFETY: each block is released once.
            unsafe { S::release(block, size) };
        }
    });
    S::trim();
    let left = resident_bytes().saturating_sub(before) as f64 / BLOCKS as f64;
    [bytes, fill, cold, hot, drain, left]
}

/// One measurement in a separate process.
fn child(source: &str, preload: Option<&str>, size: usize) -> [f64; COLUMNS] {
    let program: OsString = std::env::current_exe().expect("the path of this program").into();
    let mut command = Command::new(program);
    command.args([source, &size.to_string()]);
    if let Some(library) = preload {
        command.env("LD_PRELOAD", library);
    }
    let output = command.output().expect("the measuring process runs");
    let text = String::from_utf8(output.stdout).expect("figures");
    let mut figures = text.split_whitespace().map(|word| word.parse::<f64>().expect("a figure"));
    std::array::from_fn(|_| figures.next().expect("all columns"))
}

fn print_measurement(source: &str, size: usize) {
    let figures = match source {
        "slab" => measure::<Slab>(size),
        "huge" => {
            alloc::set_hugepages(true);
            measure::<Slab>(size)
        }
        _ => measure::<Malloc>(size),
    };
    for figure in figures {
        print!("{figure} ");
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [source, size] = &args[..] {
        print_measurement(source, size.parse().expect("a size"));
        return;
    }
    let library = |names: &[&'static str]| {
        let directories = ["/usr/lib/x86_64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/", "/usr/lib/"];
        let paths = names.iter().flat_map(|name| directories.map(|directory| format!("{directory}{name}")));
        paths.into_iter().find(|path| std::path::Path::new(path).exists())
    };
    let mut rows =
        vec![("slab", "slab", None), ("slab, huge pages", "huge", None), ("glibc", "malloc", None)];
    rows.push((
        "mimalloc",
        "malloc",
        library(&["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"]),
    ));
    rows.push(("jemalloc", "malloc", library(&["libjemalloc.so.2"])));
    rows.retain(|(name, _, preload)| preload.is_some() || !matches!(*name, "mimalloc" | "jemalloc"));
    for size in SIZES {
        println!("| {size} bytes | bytes | fill ns | churn ns | hot ns | drain ns | left bytes |");
        println!("|---|---|---|---|---|---|---|");
        let mut least = vec![[f64::INFINITY; COLUMNS]; rows.len()];
        for _ in 0..RUNS {
            for ((_, source, preload), least) in rows.iter().zip(&mut least) {
                let figures = child(source, preload.as_deref(), size);
                least.iter_mut().zip(figures).for_each(|(least, figure)| *least = least.min(figure));
            }
        }
        for ((name, _, _), figures) in rows.iter().zip(least) {
            let cells: Vec<String> = figures.iter().map(|figure| format!("{figure:.1}")).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
    }
}
