//! `redstart check-rdb FILE`: reads an RDB file and reports what is in it, or where it is broken.

use std::process::ExitCode;

use super::Call;

/// Runs the tool.
pub fn main(call: &Call) -> ExitCode {
    eprintln!("Usage: {} <rdb-file-name>", call.program);
    ExitCode::FAILURE
}
