//! The title of the process: the text that `ps` shows instead of the arguments that started the process.
//!
//! On Linux the kernel shows the memory in which it placed the arguments, so a title overwrites them. It may be longer
//! than they were: the environment follows them directly and is first moved to the heap.
//!
//! ```text
//!   before   redstart 0 --port 0 7000 0 | HOME=/root 0 LANG=C 0
//!   after    redstart *:7000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
//! ```
//!
//! After that the original arguments are available only from [`arguments`]. FreeBSD has a call for setting a title; on
//! other systems [`set`] has no effect.

use std::ffi::OsString;
use std::sync::OnceLock;

static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// The arguments with which the process was started, its own name first.
pub fn arguments() -> &'static [OsString] {
    ARGUMENTS.get_or_init(|| std::env::args_os().collect())
}

/// Sets the title, truncated to the available room. The first call moves the environment, so make it at the start of
/// the process, before another thread uses the environment.
pub fn set(title: &[u8]) {
    let arguments = arguments();
    platform::set(arguments, title);
}

#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::{CStr, OsString, c_char};
    use std::os::unix::ffi::OsStrExt;
    use std::sync::OnceLock;
    use std::{ptr, slice};

    unsafe extern "C" {
        static environ: *const *const c_char;
    }

    /// The memory for a title: address and length; `None` if the arguments were not found.
    static ROOM: OnceLock<Option<(usize, usize)>> = OnceLock::new();

    pub fn set(arguments: &[OsString], title: &[u8]) {
        let Some((start, len)) = *ROOM.get_or_init(|| make_room(arguments)) else { return };
        let shown = title.len().min(len - 1);
        // SAFETY: `make_room` found `len` bytes there that have no other use any more.
        unsafe {
            let room = slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut::<u8>(start), len);
            room[..shown].copy_from_slice(&title[..shown]);
            room[shown..].fill(0);
        }
    }

    /// Finds the memory of the arguments and of the environment after it, and moves the environment out of there.
    fn make_room(arguments: &[OsString]) -> Option<(usize, usize)> {
        let environment = environment_span().or_else(name_of_executable)?;
        let wanted: Vec<u8> =
            arguments.iter().flat_map(|argument| argument.as_bytes().iter().copied().chain([0])).collect();
        let start = environment.0.checked_sub(wanted.len())?;
        // SAFETY: the bytes below the environment belong to the stack, whose top the environment is, so they can be
        // read even if they are not the arguments.
        let found = unsafe { slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(start), wanted.len()) };
        if wanted.is_empty() || found != wanted {
            return None;
        }
        for (name, value) in std::env::vars_os() {
            // SAFETY: no other thread uses the environment, by the contract of `set`. The variable keeps its value,
            // whose text is now a copy.
            unsafe { std::env::set_var(name, value) };
        }
        // A variable that could not be copied, since it has no name, stays where it is.
        let behind =
            environment_strings().all(|text| !(environment.0..environment.1).contains(&text.as_ptr().addr()));
        let end = if behind { environment.1 } else { environment.0 };
        Some((start, end - start))
    }

    /// The first byte of the environment's texts and the end of the last, if they are contiguous.
    fn environment_span() -> Option<(usize, usize)> {
        let mut span: Option<(usize, usize)> = None;
        for text in environment_strings() {
            let at = text.as_ptr().expose_provenance();
            let end = at + text.count_bytes() + 1;
            span = match span {
                None => Some((at, end)),
                Some((start, before)) if before == at => Some((start, end)),
                Some(_) => return None,
            };
        }
        span
    }

    /// The place of a missing environment: before the name of the executable, which follows it.
    fn name_of_executable() -> Option<(usize, usize)> {
        // SAFETY: no pointers.
        let at = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
        (at != 0 && environment_strings().next().is_none()).then_some((at, at))
    }

    fn environment_strings() -> impl Iterator<Item = &'static CStr> {
        // SAFETY: the C library keeps an array of texts that ends with a null; no other thread changes it meanwhile, by
        // the contract of `set`.
        let mut next = unsafe { environ };
        std::iter::from_fn(move || {
            // SAFETY: as above.
            unsafe {
                if next.is_null() || (*next).is_null() {
                    return None;
                }
                let text = CStr::from_ptr(*next);
                next = next.add(1);
                Some(text)
            }
        })
    }
}

#[cfg(target_os = "freebsd")]
mod platform {
    use std::ffi::{CString, OsString};

    pub fn set(_: &[OsString], title: &[u8]) {
        let title: Vec<u8> = title.iter().copied().filter(|byte| *byte != 0).collect();
        let title = CString::new(title).unwrap_or_default();
        // SAFETY: both texts end with a zero byte, and the format takes one text. The minus omits the program's name,
        // which the call would otherwise prepend.
        unsafe { libc::setproctitle(c"-%s".as_ptr(), title.as_ptr()) };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod platform {
    use std::ffi::OsString;

    pub fn set(_: &[OsString], _: &[u8]) {}
}
