//! Converts a moment to the machine's time zone, for the log.

use std::fmt;
use std::mem::MaybeUninit;

/// A moment in local time; displays as `21 Nov 2026 12:00:00.123`.
pub struct LocalTime {
    parts: libc::tm,
    millisecond: u64,
}

/// The local time of a moment in Unix milliseconds.
pub fn local_time(unix_ms: u64) -> LocalTime {
    let seconds = (unix_ms / 1000) as libc::time_t;
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; all zero bytes are a valid `tm` if the call fails.
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    LocalTime { parts, millisecond: unix_ms % 1000 }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let tm = &self.parts;
        let month = usize::try_from(tm.tm_mon).ok().and_then(|i| MONTHS.get(i)).unwrap_or(&"???");
        write!(
            f,
            "{:02} {month} {} {:02}:{:02}:{:02}.{:03}",
            tm.tm_mday,
            tm.tm_year + 1900,
            tm.tm_hour,
            tm.tm_min,
            tm.tm_sec,
            self.millisecond
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_day_month_year_and_time_to_the_millisecond() {
        let text = local_time(1_000_000_000_007).to_string();
        // 9 September 2001, 01:46:40 UTC: far enough into the month that every time zone shows September.
        assert!(text.contains(" Sep 2001 ") && text.ends_with(":40.007"), "{text}");
        assert_eq!(text.len(), "09 Sep 2001 01:46:40.007".len());
    }
}
