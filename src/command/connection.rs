//! Empty functions under the names that the command table uses for this family.

use crate::command::context::{Args, Context};

/// A placeholder.
pub fn ping(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn echo(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn select(_context: &mut Context<'_>, _args: &mut Args<'_>) {}
