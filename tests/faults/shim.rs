//! A library loaded into a server (`LD_PRELOAD`), between it and the system's file operations.
//!
//! It makes calls fail on purpose, and records them. It only handles files below `FAULTS_DIR`; the forked children of
//! the server inherit it. `tests/support/shim.rs` compiles it and controls it.
//!
//! **Faults.** The library reads the file named by `FAULTS_CONTROL` before each call; it may be replaced at any time. A
//! line is a rule, `KIND PATTERN NUMBERS ACTION`:
//!
//! * kind: `open write sync rename unlink truncate mkdir fork`, or `any`;
//! * pattern: a part of the path below the directory, or `*`;
//! * numbers: `3` is the third matching call since the rule was written, `3+` all from the third on;
//! * action: `fail:ERRNO`; `short:N` writes only N bytes and returns N; `torn:N` writes N bytes and kills the process;
//!   `kill` and `killafter` kill it before and after the call; `quota:N` lets N bytes through, then reports a full
//!   disk.
//!
//! A rule that fires appends itself as a line to the file `*.hits` beside the control file.
//!
//! **Records.** The library appends each call that changed something to the file named by `FAULTS_TRACE`, in the order
//! of the calls: see [`record`]. Bytes sent to TCP sockets are recorded between them, so the trace shows which replies
//! were sent at which point.
//!
//! The C library's own functions, found by `dlsym`, execute the calls; the shim's own files are outside of the
//! directory, so it may use `std` freely.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

type Size = isize;

const EINVAL: c_int = 22;
const ENOSPC: c_int = 28;
const SIGKILL: c_int = 9;
const O_CREAT: c_int = 0o100;
const O_TRUNC: c_int = 0o1000;
const AT_FDCWD: c_int = -100;
const SEEK_CUR: c_int = 1;
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
    fn mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
    fn getpeername(fd: c_int, address: *mut u8, len: *mut u32) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn fileno(stream: *mut c_void) -> c_int;
    fn readlink(path: *const c_char, found: *mut u8, len: usize) -> Size;
}

/// The C library's functions that this library replaces.
macro_rules! reals {
    ($($name:ident($($kind:ty),*) -> $result:ty;)*) => {
        struct Reals {
            $($name: unsafe extern "C" fn($($kind),*) -> $result,)*
        }

        /// All of them are looked up when the program starts: a forked child must not do it.
        fn reals() -> &'static Reals {
            static REALS: OnceLock<Reals> = OnceLock::new();
            REALS.get_or_init(|| Reals {
                $($name: {
                    // SAFETY: the name ends with a zero byte.
                    let found = unsafe { dlsym(RTLD_NEXT, concat!(stringify!($name), "\0").as_ptr().cast()) };
                    assert!(!found.is_null());
                    // SAFETY: the C library's function of this name has this type.
                    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($kind),*) -> $result>(found) }
                },)*
            })
        }
    };
}

reals! {
    openat64(c_int, *const c_char, c_int, c_uint) -> c_int;
    fopen64(*const c_char, *const c_char) -> *mut c_void;
    fwrite(*const u8, usize, usize, *mut c_void) -> usize;
    write(c_int, *const u8, usize) -> Size;
    pwrite64(c_int, *const u8, usize, i64) -> Size;
    sendto(c_int, *const u8, usize, c_int, *const u8, u32) -> Size;
    sendmsg(c_int, *const Message, c_int) -> Size;
    fsync(c_int) -> c_int;
    fdatasync(c_int) -> c_int;
    sync_file_range(c_int, i64, i64, c_uint) -> c_int;
    renameat(c_int, *const c_char, c_int, *const c_char) -> c_int;
    unlinkat(c_int, *const c_char, c_int) -> c_int;
    ftruncate64(c_int, i64) -> c_int;
    mkdir(*const c_char, c_uint) -> c_int;
    fork() -> c_int;
}

/// The settings from the environment, and the state that processes share.
struct Shim {
    directory: PathBuf,
    control: Option<PathBuf>,
    trace: Option<PathBuf>,
    shared: &'static Shared,
}

const RULES: usize = 16;

/// Counters shared by the server and its children.
#[repr(C)]
struct Shared {
    /// A hash of the rules to which the counters belong.
    rules: AtomicU64,
    /// For each rule the number of its calls, or of bytes for a quota.
    seen: [AtomicU64; RULES],
    /// Numbers the syncs, so that the end of each can be matched with its beginning.
    syncs: AtomicU64,
}

fn shim() -> Option<&'static Shim> {
    static SHIM: OnceLock<Option<Shim>> = OnceLock::new();
    SHIM.get_or_init(|| {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        // SAFETY: allocates memory shared with children (PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS).
        let memory = unsafe { mmap(std::ptr::null_mut(), size_of::<Shared>(), 3, 0x21, -1, 0) };
        assert_ne!(memory as isize, -1);
        // SAFETY: it is new, zeroed, large enough, and never unmapped.
        let shared = unsafe { &*memory.cast::<Shared>() };
        Some(Shim {
            directory: path("FAULTS_DIR")?,
            control: path("FAULTS_CONTROL"),
            trace: path("FAULTS_TRACE"),
            shared,
        })
    })
    .as_ref()
}

fn set_errno(number: c_int) {
    // SAFETY: the C library's errno of this thread.
    unsafe { *__errno_location() = number }
}

fn errno() -> c_int {
    // SAFETY: the C library's errno of this thread.
    unsafe { *__errno_location() }
}

/// The bytes of a C string.
fn text(path: *const c_char) -> &'static Path {
    // SAFETY: the caller of the C library's function passes a string that ends with a zero byte.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The path of a file below the directory, relative to it; `None` for all others.
fn ours(path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    let below = absolute.strip_prefix(&shim()?.directory).ok()?;
    Some(below.to_str()?.to_string())
}

fn ours_at(directory: c_int, path: *const c_char) -> Option<String> {
    let path = text(path);
    if directory == AT_FDCWD || path.is_absolute() {
        return ours(path);
    }
    ours(&fs::read_link(format!("/proc/self/fd/{directory}")).ok()?.join(path))
}

/// The path of an open file below the directory.
fn ours_open(fd: c_int) -> Option<String> {
    shim()?;
    let path = fs::read_link(format!("/proc/self/fd/{fd}")).ok().filter(|path| path.is_absolute())?;
    ours(Path::new(path.to_str()?.trim_end_matches(" (deleted)")))
}

/// Whether a descriptor is neither a file nor a socket, but an unnamed object of the kernel. A signal handler writes to
/// one to wake the loop, so this allocates nothing and takes no lock.
fn is_nameless(fd: c_int) -> bool {
    const NAMELESS: &[u8] = b"anon_inode:";
    let (mut path, mut found) = ([0; 32], [0; NAMELESS.len()]);
    if write!(&mut path[..], "/proc/self/fd/{fd}\0").is_err() {
        return false;
    }
    // SAFETY: the path ends with a zero byte, and the length passed is that of the buffer.
    let len = unsafe { readlink(path.as_ptr().cast(), found.as_mut_ptr(), found.len()) };
    len == NAMELESS.len() as Size && found == NAMELESS
}

/// The inode of an open file.
fn inode(fd: c_int) -> u64 {
    // SAFETY: the caller has this descriptor open; it is not closed here.
    let file = ManuallyDrop::new(unsafe { fs::File::from_raw_fd(fd) });
    file.metadata().map_or(0, |metadata| metadata.ino())
}

/// The effect of a rule on a call.
#[derive(Clone, Copy)]
enum Action {
    Pass,
    Fail(c_int),
    /// Only this many bytes are written.
    Short(usize),
    Torn(usize),
    Kill,
    KillAfter,
}

/// The effect of the rules on a call for `path`, which writes `len` bytes.
fn action(kind: &str, path: &str, len: usize) -> Action {
    let Some(shim) = shim() else { return Action::Pass };
    let Some(rules) = shim.control.as_ref().and_then(|control| fs::read_to_string(control).ok()) else {
        return Action::Pass;
    };
    let shared = shim.shared;
    let hash = rules.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    if shared.rules.swap(hash, Ordering::SeqCst) != hash {
        shared.seen.iter().for_each(|seen| seen.store(0, Ordering::SeqCst));
    }
    for (rule, seen) in rules.lines().zip(&shared.seen) {
        let words: Vec<&str> = rule.split(' ').collect();
        let [wanted, pattern, numbers, what] = words[..] else { continue };
        if (wanted != kind && wanted != "any") || (pattern != "*" && !path.contains(pattern)) {
            continue;
        }
        let (what, argument) = what.split_once(':').unwrap_or((what, "0"));
        let argument: usize = argument.parse().expect("a number");
        if what == "quota" {
            let before = seen.fetch_add(len as u64, Ordering::SeqCst) as usize;
            if before + len <= argument {
                continue;
            }
            seen.store(argument as u64, Ordering::SeqCst);
            hit(rule);
            return if before < argument { Action::Short(argument - before) } else { Action::Fail(ENOSPC) };
        }
        let number = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let first: u64 = numbers.trim_end_matches('+').parse().expect("a number");
        if number < first || (number > first && !numbers.ends_with('+')) {
            continue;
        }
        hit(&format!("{rule} on {kind} {path}"));
        return match what {
            "fail" => Action::Fail(argument as c_int),
            "short" => Action::Short(argument.min(len)),
            "torn" => Action::Torn(argument.min(len)),
            "kill" => Action::Kill,
            _ => Action::KillAfter,
        };
    }
    Action::Pass
}

/// Records that a rule has fired.
fn hit(rule: &str) {
    let Some(control) = shim().and_then(|shim| shim.control.as_ref()) else { return };
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(control.with_extension("hits")) {
        let _ = writeln!(file, "{rule}");
    }
}

fn die() -> ! {
    // SAFETY: kills this process.
    unsafe { kill(std::process::id() as c_int, SIGKILL) };
    loop {
        std::thread::park();
    }
}

/// Appends a record to the trace: kind (1 byte), inode and number (8 bytes each), the lengths of path and data (4 each),
/// path, data; all numbers little-endian.
///
/// | kind | inode | number | path | data |
/// |---|---|---|---|---|
/// | `C` created | of the new file | | its path | |
/// | `W` written | of the file | offset | path | the bytes |
/// | `T` truncated | of the file | new length | path | |
/// | `S`, `E` a sync begins, has succeeded | of the file or directory | of the sync | path | |
/// | `R` renamed | | | old path | new path |
/// | `U` unlinked | | | path | |
/// | `M` directory made | | | path | |
/// | `N` sent to a client | | port of the client | | the bytes |
///
/// A call is recorded after it has returned, so the trace never has it too early.
fn record(kind: u8, inode: u64, number: u64, path: &str, data: &[u8]) {
    let Some(trace) = shim().and_then(|shim| shim.trace.as_ref()) else { return };
    let kept = errno();
    let mut bytes = vec![kind];
    for number in [inode, number] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for len in [path.len(), data.len()] {
        bytes.extend_from_slice(&(len as u32).to_le_bytes());
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.extend_from_slice(data);
    let mut file = OpenOptions::new().append(true).create(true).open(trace).expect("the trace can be opened");
    file.write_all(&bytes).expect("the trace can be written");
    set_errno(kept);
}

/// Makes a call that does not write, unless a rule prevents it. Calls `success` if it succeeded.
fn call(kind: &str, path: &str, real: impl FnOnce() -> c_int, success: impl FnOnce(c_int)) -> c_int {
    let action = action(kind, path, 0);
    match action {
        Action::Fail(number) => {
            set_errno(number);
            return -1;
        }
        Action::Kill | Action::Torn(_) => die(),
        Action::Pass | Action::Short(_) | Action::KillAfter => {}
    }
    let result = real();
    if result >= 0 {
        success(result);
    }
    if matches!(action, Action::KillAfter) {
        die();
    }
    result
}

/// A write of `data` to an open file; `real` writes the given number of bytes from its start.
fn written(fd: c_int, data: &[u8], at: Option<u64>, real: impl FnOnce(usize) -> Size) -> Size {
    if is_nameless(fd) {
        return real(data.len());
    }
    let Some(path) = ours_open(fd) else {
        let sent = real(data.len());
        if sent > 0 {
            record_sent(fd, &data[..sent as usize]);
        }
        return sent;
    };
    let action = action("write", &path, data.len());
    let len = match action {
        Action::Fail(number) => {
            set_errno(number);
            return -1;
        }
        Action::Kill => die(),
        Action::Short(len) | Action::Torn(len) => len,
        Action::Pass | Action::KillAfter => data.len(),
    };
    let result = real(len);
    if result > 0 {
        let end = || {
            // SAFETY: changes nothing.
            unsafe { lseek(fd, 0, SEEK_CUR) as u64 - result as u64 }
        };
        record(b'W', inode(fd), at.unwrap_or_else(end), &path, &data[..result as usize]);
    }
    if matches!(action, Action::KillAfter | Action::Torn(_)) {
        die();
    }
    result
}

/// Records the bytes sent to a client that is connected by TCP.
fn record_sent(fd: c_int, data: &[u8]) {
    if shim().is_none_or(|shim| shim.trace.is_none()) {
        return;
    }
    let kept = errno();
    let (mut address, mut len) = ([0_u8; 128], 128_u32);
    // SAFETY: `len` is the size of the address.
    let found = unsafe { getpeername(fd, address.as_mut_ptr(), &raw mut len) };
    let family = u16::from_ne_bytes([address[0], address[1]]);
    if found == 0 && (family == 2 || family == 10) {
        let port = u16::from_be_bytes([address[2], address[3]]);
        record(b'N', 0, u64::from(port), "", data);
    }
    set_errno(kept);
}

/// The bytes of a caller's buffer.
fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller of the C library's function guarantees this many bytes.
    unsafe { std::slice::from_raw_parts(data, len) }
}

/// A piece of memory in `writev` and `sendmsg`.
#[repr(C)]
struct Piece {
    data: *const u8,
    len: usize,
}

fn gather(pieces: *const Piece, count: usize) -> Vec<u8> {
    // SAFETY: the caller of the C library's function guarantees this many pieces.
    let pieces = unsafe { std::slice::from_raw_parts(pieces, count) };
    pieces.iter().flat_map(|piece| bytes(piece.data, piece.len)).copied().collect()
}

fn opened(path: Option<String>, whole: &Path, flags: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let Some(path) = path else { return real() };
    let before = fs::metadata(whole).ok();
    call("open", &path, real, |fd| {
        if flags & O_CREAT != 0 && before.is_none() {
            record(b'C', inode(fd), 0, &path, &[]);
        } else if flags & O_TRUNC != 0 && before.is_some_and(|before| before.len() > 0) {
            record(b'T', inode(fd), 0, &path, &[]);
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open64(path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    openat64(AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    openat64(directory, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let real = reals().openat64;
    let own = ours_at(directory, path);
    let whole = own.as_ref().and_then(|own| Some(shim()?.directory.join(own))).unwrap_or_default();
    // SAFETY: the arguments are the caller's.
    opened(own, &whole, flags, || unsafe { real(directory, path, flags, mode) })
}

#[unsafe(no_mangle)]
extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut c_void {
    let real = reals().fopen64;
    let own = ours(text(path));
    let whole = own.as_ref().and_then(|own| Some(shim()?.directory.join(own))).unwrap_or_default();
    let flags = if text(mode).as_os_str().as_bytes().starts_with(b"w") { O_CREAT | O_TRUNC } else { 0 };
    let mut stream = std::ptr::null_mut();
    opened(own, &whole, flags, || {
        // SAFETY: the arguments are the caller's.
        stream = unsafe { real(path, mode) };
        if stream.is_null() {
            return -1;
        }
        // SAFETY: the stream was opened just now.
        unsafe { fileno(stream) }
    });
    stream
}

#[unsafe(no_mangle)]
extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut c_void {
    fopen64(path, mode)
}

/// Writes at once instead of buffering in the C library, so a stream of a file below the directory is always empty.
#[unsafe(no_mangle)]
extern "C" fn fwrite(data: *const u8, size: usize, count: usize, stream: *mut c_void) -> usize {
    let real = reals().fwrite;
    // SAFETY: the stream is the caller's.
    let fd = unsafe { fileno(stream) };
    if ours_open(fd).is_none() {
        // SAFETY: the arguments are the caller's.
        return unsafe { real(data, size, count, stream) };
    }
    let mut done = 0;
    while done < size * count {
        // SAFETY: within the caller's buffer.
        let result = write(fd, unsafe { data.add(done) }, size * count - done);
        if result <= 0 {
            return done / size.max(1);
        }
        done += result as usize;
    }
    count
}

#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, data: *const u8, len: usize) -> Size {
    let real = reals().write;
    // SAFETY: the arguments are the caller's, with the same or a smaller length.
    written(fd, bytes(data, len), None, |len| unsafe { real(fd, data, len) })
}

#[unsafe(no_mangle)]
extern "C" fn writev(fd: c_int, pieces: *const Piece, count: c_int) -> Size {
    let real = reals().write;
    let data = gather(pieces, count.max(0) as usize);
    // SAFETY: the bytes are in `data`.
    written(fd, &data, None, |len| unsafe { real(fd, data.as_ptr(), len) })
}

#[unsafe(no_mangle)]
extern "C" fn pwrite(fd: c_int, data: *const u8, len: usize, at: i64) -> Size {
    pwrite64(fd, data, len, at)
}

#[unsafe(no_mangle)]
extern "C" fn pwrite64(fd: c_int, data: *const u8, len: usize, at: i64) -> Size {
    let real = reals().pwrite64;
    // SAFETY: the arguments are the caller's, with the same or a smaller length.
    written(fd, bytes(data, len), Some(at as u64), |len| unsafe { real(fd, data, len, at) })
}

#[unsafe(no_mangle)]
extern "C" fn send(fd: c_int, data: *const u8, len: usize, flags: c_int) -> Size {
    sendto(fd, data, len, flags, std::ptr::null(), 0)
}

#[unsafe(no_mangle)]
extern "C" fn sendto(
    fd: c_int,
    data: *const u8,
    len: usize,
    flags: c_int,
    to: *const u8,
    to_len: u32,
) -> Size {
    let real = reals().sendto;
    // SAFETY: the arguments are the caller's.
    let sent = unsafe { real(fd, data, len, flags, to, to_len) };
    if sent > 0 {
        record_sent(fd, bytes(data, sent as usize));
    }
    sent
}

/// The head of `struct msghdr`.
#[repr(C)]
struct Message {
    name: *const u8,
    name_len: u32,
    pieces: *const Piece,
    count: usize,
}

#[unsafe(no_mangle)]
extern "C" fn sendmsg(fd: c_int, message: *const Message, flags: c_int) -> Size {
    let real = reals().sendmsg;
    // SAFETY: the arguments are the caller's.
    let sent = unsafe { real(fd, message, flags) };
    if sent > 0 {
        // SAFETY: as above.
        let message = unsafe { &*message };
        record_sent(fd, &gather(message.pieces, message.count)[..sent as usize]);
    }
    sent
}

fn synced(fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let (Some(path), Some(shim)) = (ours_open(fd), shim()) else { return real() };
    let number = shim.shared.syncs.fetch_add(1, Ordering::SeqCst);
    call(
        "sync",
        &path,
        || {
            record(b'S', inode(fd), number, &path, &[]);
            real()
        },
        |_| record(b'E', inode(fd), number, &path, &[]),
    )
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    let real = reals().fsync;
    // SAFETY: the argument is the caller's.
    synced(fd, || unsafe { real(fd) })
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    let real = reals().fdatasync;
    // SAFETY: the argument is the caller's.
    synced(fd, || unsafe { real(fd) })
}

/// This call guarantees nothing about a power cut, so it is not recorded; but it may fail.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(fd: c_int, from: i64, len: i64, flags: c_uint) -> c_int {
    let real = reals().sync_file_range;
    // SAFETY: the arguments are the caller's.
    let real = || unsafe { real(fd, from, len, flags) };
    match ours_open(fd) {
        Some(path) => call("sync", &path, real, |_| {}),
        None => real(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn rename(old: *const c_char, new: *const c_char) -> c_int {
    renameat(AT_FDCWD, old, AT_FDCWD, new)
}

#[unsafe(no_mangle)]
extern "C" fn renameat(from: c_int, old: *const c_char, to: c_int, new: *const c_char) -> c_int {
    let real = reals().renameat;
    // SAFETY: the arguments are the caller's.
    let real = || unsafe { real(from, old, to, new) };
    match (ours_at(from, old), ours_at(to, new)) {
        (Some(old), Some(new)) => {
            call("rename", &format!("{old}>{new}"), real, |_| record(b'R', 0, 0, &old, new.as_bytes()))
        }
        (None, None) => real(),
        _ => {
            set_errno(EINVAL);
            -1
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    unlinkat(AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    let real = reals().unlinkat;
    // SAFETY: the arguments are the caller's.
    let real = || unsafe { real(directory, path, flags) };
    match ours_at(directory, path) {
        Some(own) => call("unlink", &own, real, |_| record(b'U', 0, 0, &own, &[])),
        None => real(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(fd: c_int, len: i64) -> c_int {
    ftruncate64(fd, len)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, len: i64) -> c_int {
    let real = reals().ftruncate64;
    // SAFETY: the arguments are the caller's.
    let real = || unsafe { real(fd, len) };
    match ours_open(fd) {
        Some(path) => call("truncate", &path, real, |_| record(b'T', inode(fd), len as u64, &path, &[])),
        None => real(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    let real = reals().mkdir;
    // SAFETY: the arguments are the caller's.
    let real = || unsafe { real(path, mode) };
    match ours(text(path)) {
        Some(own) => call("mkdir", &own, real, |_| record(b'M', 0, 0, &own, &[])),
        None => real(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn fork() -> c_int {
    let real = reals().fork;
    // SAFETY: the caller forks.
    call("fork", "", || unsafe { real() }, |_| {})
}

/// Looks up all functions before the program starts.
#[unsafe(link_section = ".init_array")]
#[used]
static START: extern "C" fn() = {
    extern "C" fn start() {
        reals();
        shim();
    }
    start
};
