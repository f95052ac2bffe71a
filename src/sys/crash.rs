//! The crash report, written to the log when a fatal signal ends the process.
//!
//! Anything in the process may be broken when this runs: its heap, its locks, its stack. So the report proceeds from
//! what always works to what may fail. The signal, the client with its command, the registers and the raw return
//! addresses come first, formatted on an alternate stack and written directly (`addr2line -e redstart` of the offsets
//! gives names and lines). Then follows the same stack with names, for which the library allocates and reads the
//! executable. If any of it hangs, an alarm ends it. Finally the handler restores the default action and raises the
//! same signal, so that the parent and the core dump show the true cause.
//!
//! The loop records its current work as plain numbers: [`now_serving`], [`now_executing`]. A panic in any thread writes
//! its message, then aborts, and the report follows.
//!
//! Each thread needs an alternate stack of its own for the whole report: [`protect_thread`]. A thread without one omits
//! the stack with names.

use std::backtrace::Backtrace;
use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};
use std::io;
use std::os::fd::RawFd;
use std::panic::PanicHookInfo;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU64, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::sys::net::{Address, far_end_of};
use crate::sys::out_of_memory;
use crate::sys::raw_log::RawLog;

const FATAL: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];
/// Enough for the library's reader of debug information; only pages that are used take memory.
const STACK_BYTES: usize = 1 << 20;
const MAX_FRAMES: usize = 100;
/// How long the report may take.
const REPORT_SECONDS: u32 = 10;

static PROGRAM: OnceLock<Program> = OnceLock::new();
static CRASHED: AtomicBool = AtomicBool::new(false);
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static EXIT_ON_PANIC: AtomicBool = AtomicBool::new(false);
/// The number of the client being served (0 for none), its socket, and its command.
static CLIENT: AtomicU64 = AtomicU64::new(0);
static CLIENT_FD: AtomicI32 = AtomicI32::new(-1);
static COMMAND: AtomicU16 = AtomicU16::new(NO_COMMAND);
/// No command of the client has been executed yet in its turn.
const NO_COMMAND: u16 = u16::MAX;

/// The program's part of the report.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The program's name and version.
    pub version: &'static str,
    /// Returns a command's name by its number. It is called in the handler, so it may only read constants.
    pub command_name: fn(u16) -> &'static str,
}

/// Installs the handlers for the whole process, and the alternate stack of this thread. The report goes to the log of
/// [`crate::sys::raw_log`]. The first `program` is kept for the life of the process.
pub fn install(program: Program) -> io::Result<()> {
    PROGRAM.get_or_init(|| program);
    protect_thread()?;
    std::panic::set_hook(Box::new(on_panic));
    // RESETHAND: a fault inside the handler kills the process at once.
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::SigAction(on_fatal), flags, SigSet::empty());
    for signal in FATAL {
        // SAFETY: the handler never returns to the interrupted code, and does nothing unsafe for a handler before the
        // essential part of the report is written.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Removes the handlers: fatal signals get their default action again.
pub fn uninstall() -> io::Result<()> {
    drop(std::panic::take_hook());
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in FATAL {
        // SAFETY: the default action is the system's own.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Sets whether a panic ends the process with status 1 and without a report, instead of with a signal.
pub fn set_exit_on_panic(on: bool) {
    EXIT_ON_PANIC.store(on, Ordering::Release);
}

/// Crashes by writing to an address that is never mapped.
pub fn fault() -> ! {
    // SAFETY: none; the fault is the purpose.
    unsafe { ptr::without_provenance_mut::<u8>(0x123).write_volatile(1) };
    unreachable!("the kernel refuses a write to the first page")
}

/// Gives this thread an alternate stack, so that even an overflow of its own stack can be reported. For threads that
/// live as long as the process: the stack is never freed.
pub fn protect_thread() -> io::Result<()> {
    if stack_is_ours() {
        return Ok(());
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a new mapping.
    let base = unsafe { libc::mmap(ptr::null_mut(), STACK_BYTES, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers and a pointer; all zeroes is valid.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    stack.ss_sp = base.cast();
    stack.ss_size = STACK_BYTES;
    // SAFETY: the mapping belongs to this thread from now on.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Records the client that the main thread is serving; [`now_executing`] adds the command. Three plain stores for each
/// turn of a client.
#[inline]
pub fn now_serving(client: u64, fd: RawFd) {
    CLIENT_FD.store(fd, Ordering::Relaxed);
    CLIENT.store(client, Ordering::Relaxed);
    COMMAND.store(NO_COMMAND, Ordering::Relaxed);
}

/// Records that the main thread is serving no client.
#[inline]
pub fn now_serving_nobody() {
    CLIENT.store(0, Ordering::Relaxed);
}

/// Records the number of the command being executed for the client of [`now_serving`]. One plain store for each
/// request.
#[inline]
pub fn now_executing(command: u16) {
    COMMAND.store(command, Ordering::Relaxed);
}

fn on_panic(what: &PanicHookInfo<'_>) {
    let (mut out, version) = (RawLog::open(), version());
    // The process ends whether or not this can be written.
    let _ = writeln!(out, "\n\n{version} {what}");
    if EXIT_ON_PANIC.load(Ordering::Acquire) {
        std::process::exit(1);
    }
    std::process::abort();
}

extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if CRASHED.swap(true, Ordering::AcqRel) {
        die_by(signal);
    }
    SIGNAL.store(signal, Ordering::Release);
    // SAFETY: the alarm's handler only ends the process.
    unsafe {
        libc::signal(libc::SIGALRM, on_alarm as extern "C" fn(c_int) as libc::sighandler_t);
        libc::alarm(REPORT_SECONDS);
    }
    let mut out = RawLog::open();
    // The process ends even if the report cannot be written.
    let _ = report(&mut out, signal, info, context);
    if stack_is_ours() && !out_of_memory::is_ending() {
        let _ = report_names(&mut out);
    }
    let _ = out.write_str("=== REDSTART BUG REPORT END: copy to here ===\n");
    die_by(signal);
}

extern "C" fn on_alarm(_: c_int) {
    die_by(SIGNAL.load(Ordering::Acquire));
}

/// Ends the process by the default action of `signal`.
fn die_by(signal: c_int) -> ! {
    // SAFETY: numbers, and a set that is initialised before its use; all may be called in a handler. The signal
    // is blocked while its handler runs, hence the mask.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::raise(signal);
        libc::_exit(128 + signal)
    }
}

/// Writes the part that needs only a stack and a descriptor.
fn report(out: &mut RawLog, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) -> fmt::Result {
    let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
    // SAFETY: the kernel gave the handler a valid structure, in which a fault's address is meaningful for a fault.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let base = executable_base();
    out.write_str("\n\n=== REDSTART BUG REPORT START: copy from here ===\n")?;
    let version = version();
    writeln!(out, "{version} crashed by signal: {signal} ({name}), si_code: {code}")?;
    if signal != libc::SIGABRT {
        writeln!(out, "Accessing address: {address:#x}")?;
    }
    write_work(out)?;
    out.write_str("\n------ REGISTERS ------\n")?;
    write_registers(out, context)?;
    writeln!(out, "\n------ STACK TRACE (address, offset from {base:#x}) ------")?;
    let mut walk = Walk { out, base, frames: 0 };
    // SAFETY: the callback gets the pointer to `walk`, which outlives the call.
    unsafe { _Unwind_Backtrace(on_frame, (&raw mut walk).cast()) };
    Ok(())
}

/// Writes what the main thread was doing. The thread recorded only numbers; the rest comes from the kernel and from
/// constant tables.
fn write_work(out: &mut RawLog) -> fmt::Result {
    let client = CLIENT.load(Ordering::Relaxed);
    if client == 0 {
        return out.write_str("The main thread was serving no client\n");
    }
    let fd = CLIENT_FD.load(Ordering::Relaxed);
    write!(out, "\n------ CURRENT CLIENT INFO ------\nid={client} addr=")?;
    match far_end_of(fd) {
        Address::Unix(_) => out.write_str("unix")?,
        address => write!(out, "{address}")?,
    }
    let command = match (COMMAND.load(Ordering::Relaxed), PROGRAM.get()) {
        (NO_COMMAND, _) | (_, None) => "NULL",
        (number, Some(program)) => (program.command_name)(number),
    };
    writeln!(out, " fd={fd} cmd={command}")
}

fn version() -> &'static str {
    PROGRAM.get().map_or("Redstart", |program| program.version)
}

/// Writes the part that may fail in a broken process.
fn report_names(out: &mut RawLog) -> fmt::Result {
    out.write_str("\n------ STACK TRACE WITH NAMES ------\n")?;
    // The alternate form shows the addresses of frames without a name.
    writeln!(out, "{:#}", Backtrace::force_capture())
}

/// Whether the handler runs on a stack from [`protect_thread`]. The alternate stacks that the standard library gives
/// its threads are too small for reading debug information.
fn stack_is_ours() -> bool {
    // SAFETY: plain numbers and a pointer; all zeroes is valid, and the system only writes it.
    let stack = unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut stack);
        stack
    };
    stack.ss_size >= STACK_BYTES
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn write_registers(out: &mut RawLog, context: *mut c_void) -> fmt::Result {
    use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP};
    let names = [
        ("rip", REG_RIP),
        ("rsp", REG_RSP),
        ("rbp", REG_RBP),
        ("rax", REG_RAX),
        ("rbx", REG_RBX),
        ("rcx", REG_RCX),
        ("rdx", REG_RDX),
        ("rsi", REG_RSI),
        ("rdi", REG_RDI),
        ("r8", REG_R8),
        ("r9", REG_R9),
        ("r10", REG_R10),
        ("r11", REG_R11),
        ("r12", REG_R12),
        ("r13", REG_R13),
        ("r14", REG_R14),
        ("r15", REG_R15),
    ];
    // SAFETY: the kernel passes the interrupted thread's state, valid while the handler runs.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    for (name, index) in names {
        writeln!(out, "{name:>3} {:#018x}", registers[index as usize])?;
    }
    Ok(())
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn write_registers(out: &mut RawLog, context: *mut c_void) -> fmt::Result {
    // SAFETY: the kernel passes the interrupted thread's state, valid while the handler runs.
    let state = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    writeln!(out, " pc {:#018x}\n sp {:#018x}", state.pc, state.sp)?;
    for (index, register) in state.regs.iter().enumerate() {
        writeln!(out, "x{index:<2} {register:#018x}")?;
    }
    Ok(())
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn write_registers(out: &mut RawLog, _: *mut c_void) -> fmt::Result {
    out.write_str("(not known on this platform)\n")
}

struct Walk<'a> {
    out: &'a mut RawLog,
    base: usize,
    frames: usize,
}

type OnFrame = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

// The unwinder that the standard library is linked with, present even when panics abort.
unsafe extern "C" {
    fn _Unwind_Backtrace(on_frame: OnFrame, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

extern "C" fn on_frame(frame: *mut c_void, argument: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const STOP: c_int = 5;
    // SAFETY: the pointer that `report` passed, used by nobody else meanwhile; `frame` is the unwinder's.
    let (walk, address) = unsafe { (&mut *argument.cast::<Walk<'_>>(), _Unwind_GetIP(frame)) };
    walk.frames += 1;
    let written = writeln!(walk.out, "{address:#018x} {:#x}", address.wrapping_sub(walk.base));
    if written.is_ok() && walk.frames < MAX_FRAMES { GO_ON } else { STOP }
}

/// The address at which the executable was loaded; the linker defines the symbol.
fn executable_base() -> usize {
    unsafe extern "C" {
        #[cfg_attr(target_vendor = "apple", link_name = "_mh_execute_header")]
        #[cfg_attr(not(target_vendor = "apple"), link_name = "__ehdr_start")]
        static HEADER: u8;
    }
    (&raw const HEADER).addr()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::raw_log;

    /// Crashes in a process of its own: runs only the test `scene` of this test binary. Returns the signal that killed
    /// it and its standard error.
    fn play(scene: &str) -> (Option<i32>, String) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--test-threads=1", "sys::crash::tests::scene"])
            .env("REDSTART_SCENE", scene)
            .stdout(Stdio::null())
            .output()
            .unwrap();
        (output.status.signal(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    #[ignore = "played by the other tests of this module in a process of its own"]
    fn scene() {
        let Ok(scene) = std::env::var("REDSTART_SCENE") else { return };
        // SAFETY: no pointers: without a core dump the scenes end faster and leave no file.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }) };
        raw_log::set(2, None);
        install(Program { version: "redstart 1.2.3 (test)", command_name: |_| "command|name" }).unwrap();
        match scene.as_str() {
            "fault" => fault(),
            "panic" => panic!("nobody expected this"),
            "serving" => {
                let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
                now_serving(17, std::os::fd::AsRawFd::as_raw_fd(&socket));
                now_executing(5);
                fault()
            }
            "served" => {
                now_serving(17, -1);
                now_serving_nobody();
                fault()
            }
            "exit" => {
                set_exit_on_panic(true);
                panic!("nobody expected this");
            }
            "uninstalled" => {
                uninstall().unwrap();
                fault()
            }
            "abort" => std::process::abort(),
            "overflow" => {
                overflow(&[0; 1000]);
            }
            "sent" => {
                nix::sys::signal::kill(nix::unistd::Pid::this(), Signal::SIGBUS).unwrap();
                // Any thread may receive the signal, perhaps not this one, and not at once.
                loop {
                    std::thread::park();
                }
            }
            _ => unreachable!(),
        }
        std::process::exit(0);
    }

    #[allow(unconditional_recursion)]
    fn overflow(above: &[u64; 1000]) -> u64 {
        let mine = std::hint::black_box([above[0]; 1000]);
        overflow(&mine) + mine[1]
    }

    #[test]
    fn a_fault_reports_its_address_registers_and_stack_and_dies_of_the_same_signal() {
        let (signal, report) = play("fault");
        assert_eq!(signal, Some(libc::SIGSEGV), "{report}");
        for line in [
            "=== REDSTART BUG REPORT START",
            "redstart 1.2.3 (test) crashed by signal: 11 (SIGSEGV), si_code: ",
            "Accessing address: 0x123",
            "------ REGISTERS ------",
            "------ STACK TRACE (address",
            "------ STACK TRACE WITH NAMES ------",
            "scene",
            "=== REDSTART BUG REPORT END",
        ] {
            assert!(report.contains(line), "{line:?} is missing in\n{report}");
        }
        let frames = report.lines().filter(|line| line.starts_with("0x0000")).count();
        assert!(frames > 5, "{frames} frames in\n{report}");
    }

    #[test]
    fn a_report_names_the_client_that_was_served_and_its_command() {
        let (_, report) = play("serving");
        assert!(report.contains("CURRENT CLIENT INFO"), "{report}");
        assert!(report.contains("\nid=17 addr=unix fd="), "{report}");
        assert!(report.contains(" cmd=command|name\n"), "{report}");
        for scene in ["served", "fault"] {
            let (_, report) = play(scene);
            assert!(report.contains("The main thread was serving no client\n"), "{report}");
            assert!(!report.contains("id=17"), "{report}");
        }
    }

    #[test]
    fn an_abort_is_reported() {
        let (signal, report) = play("abort");
        assert_eq!(signal, Some(libc::SIGABRT), "{report}");
        assert!(report.contains("(SIGABRT)") && report.contains("REPORT END"), "{report}");
    }

    #[test]
    fn a_panic_says_what_it_is_and_is_reported() {
        let (signal, report) = play("panic");
        assert_eq!(signal, Some(libc::SIGABRT), "{report}");
        assert!(report.contains("redstart 1.2.3 (test) panicked at src/sys/crash.rs"), "{report}");
        assert!(report.contains("nobody expected this") && report.contains("REPORT END"), "{report}");
    }

    #[test]
    fn a_panic_may_end_in_a_status_instead_of_a_signal() {
        let (signal, report) = play("exit");
        assert_eq!(signal, None, "{report}");
        assert!(report.contains("nobody expected this") && !report.contains("REPORT START"), "{report}");
    }

    #[test]
    fn without_the_handlers_a_crash_is_not_reported() {
        let (signal, report) = play("uninstalled");
        assert_eq!((signal, report.contains("REPORT")), (Some(libc::SIGSEGV), false), "{report}");
    }

    #[test]
    fn a_signal_sent_to_the_process_is_reported_whichever_thread_gets_it() {
        let (signal, report) = play("sent");
        assert_eq!(signal, Some(libc::SIGBUS), "{report}");
        assert!(report.contains("(SIGBUS)") && report.contains("REPORT END"), "{report}");
    }

    #[test]
    fn a_stack_overflow_of_a_protected_thread_is_reported_on_the_alternate_stack() {
        let (signal, report) = play("overflow");
        assert_eq!(signal, Some(libc::SIGSEGV), "{report}");
        assert!(report.contains("(SIGSEGV)") && report.contains("REGISTERS"), "{report}");
    }
}
