//! `DEBUG` subcommands that end the process: crashes, for tests of recovery, and restarts.

use std::io;
use std::time::Duration;

use crate::alloc;
use crate::command::Args;
use crate::command::error::{Error, Result};
use crate::config::ShutdownOptions;
use crate::server::Server;
use crate::server::stopping::Progress;
use crate::sys::{crash, process};

/// More memory than any machine has, and less than a pointer's offset may be.
const TOO_MUCH: usize = isize::MAX as usize - (1 << 20);

impl Server {
    /// `DEBUG SEGFAULT`, `PANIC`, `ASSERT` and `OOM`: crashes as a bug of that kind would, with a report in the log.
    pub(super) fn debug_crash(how: &[u8]) -> ! {
        match how {
            b"segfault" => crash::fault(),
            b"oom" => {
                let block = alloc::allocate(TOO_MUCH);
                unreachable!("the system gave {TOO_MUCH} bytes at {block:p}")
            }
            b"assert" => panic!("assertion failed: DEBUG ASSERT was called"),
            _ => panic!("DEBUG PANIC was called"),
        }
    }

    /// `DEBUG RESTART [milliseconds]` and `CRASH-AND-RECOVER [milliseconds]`: executes the program again in the same
    /// process, after a clean shutdown or at once. Replies only if that fails.
    pub(super) fn debug_restart(&mut self, how: &[u8], args: Args<'_>) -> Result {
        let delay_ms = if args.len() > 2 { super::integer(args.get(2))?.max(0) } else { 0 };
        if how == b"restart" {
            if self.core.config.file.is_some() && self.rewrite_config(false).is_err() {
                self.process.log.warning(format_args!("Can't restart: configuration rewrite process failed"));
                return Err(Error::new("ERR failed to restart the server. Check server logs."));
            }
            if self.begin_shutdown(ShutdownOptions::NOW) == Progress::Failed {
                return Err(Error::new("ERR failed to restart the server. Check server logs."));
            }
        }
        std::thread::sleep(Duration::from_millis(delay_ms as u64));
        let error: io::Error = process::run_again();
        self.process.log.warning(format_args!("Can't restart: {error}"));
        // The listeners are closed already: this process would be unreachable.
        std::process::exit(1)
    }
}
