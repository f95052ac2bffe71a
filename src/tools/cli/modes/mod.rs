//! The modes: what the tool does instead of sending commands.
//!
//! A mode is chosen by its option, declares its own options, and runs until it is done or interrupted. To add one, add a
//! file here and a line to [`MODES`].

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::options::Options;

/// A mode, as the table has it.
#[derive(Debug)]
pub struct Mode {
    /// The option that chooses it, by clap's name.
    pub option: &'static str,
    /// Its options, the one above among them.
    pub arguments: fn() -> Vec<Arg>,
    /// Runs it and returns the exit status.
    pub main: fn(&Options, &ArgMatches) -> ExitCode,
}

/// The modes in the order of the help.
pub const MODES: &[Mode] = &[];

/// The options of all modes.
pub fn arguments() -> impl Iterator<Item = Arg> {
    MODES.iter().flat_map(|mode| (mode.arguments)())
}

/// The mode that the arguments choose.
pub fn find(matches: &ArgMatches) -> Option<&'static Mode> {
    MODES.iter().find(|mode| matches.value_source(mode.option) == Some(ValueSource::CommandLine))
}
