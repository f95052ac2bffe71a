//! `redstart --check-system [redstart.conf] [--directive value ...]`: reports settings of the system that do not suit a
//! configuration.
//!
//! The report has the form of `redis-server --check-system`. Exit status: 0 if all checks pass, otherwise 1.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::config::Config;
use crate::server::system::{CHECKS, Finding, Machine};

/// Reports on this machine to standard output, and returns the exit status.
pub fn check_system(config: &Config) -> ExitCode {
    let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match report(&Machine::this(), config, is_coloured, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        // Also if the reader of the report has gone.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Writes the report. Returns whether all checks pass.
fn report(machine: &Machine, config: &Config, is_coloured: bool, out: &mut impl Write) -> io::Result<bool> {
    let paint = |code: &str, word: &str| {
        if is_coloured { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    };
    let mut is_well = true;
    for check in CHECKS {
        write!(out, "[{}]...", check.name)?;
        out.flush()?;
        match check.run(machine, config) {
            Finding::Good => writeln!(out, "{}", paint("32", "OK"))?,
            Finding::Unknown => writeln!(out, "skipped")?,
            Finding::Bad { what, mend } => {
                is_well = false;
                writeln!(out, "{}\n{what}\nTo mend it: {mend}\n", paint("33", "WARNING:"))?;
            }
        }
    }
    Ok(is_well)
}
