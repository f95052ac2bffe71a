//! Empty functions under the names that the command table uses for this family.

use crate::command::context::{Args, Context};

/// A placeholder.
pub fn set(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn get(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn getset(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn getdel(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn getex(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn setnx(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn setex(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn psetex(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn mget(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn mset(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn msetnx(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn incr(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn decr(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn incrby(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn decrby(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn incrbyfloat(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn append(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn strlen(_context: &mut Context<'_>, _args: &mut Args<'_>) {}
