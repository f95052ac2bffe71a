//! `--scan`: all keys, one per line; quoted on a terminal.

use super::keyspace::Walk;
use super::{Outcome, Session};
use crate::text::words::push_quoted;
use crate::tools::cli::format::Format;
use crate::tools::console;

/// Prints the keys as they arrive. The lines of one SCAN are flushed together.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let mut walk = Walk::begin(session)?;
    let mut lines = Vec::new();
    while let Some(keys) = walk.next()? {
        lines.clear();
        for key in &keys {
            match session.format {
                Format::Standard => push_quoted(&mut lines, key),
                _ => lines.extend_from_slice(key),
            }
            lines.push(b'\n');
        }
        console::print(&lines)?;
        walk.pause_after_each();
    }
    Ok(())
}
