//! Empty functions under the names that the command table uses for this family.

use crate::command::context::{Args, Context};

/// A placeholder.
pub fn del(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn unlink(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn exists(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn type_(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn ttl(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn pttl(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn expire(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn pexpire(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn expireat(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn pexpireat(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn expiretime(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn pexpiretime(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn persist(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn randomkey(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn keys(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn scan(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn touch(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn object_encoding(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn object_freq(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn object_idletime(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn object_refcount(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn dbsize(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn flushdb(_context: &mut Context<'_>, _args: &mut Args<'_>) {}

/// A placeholder.
pub fn flushall(_context: &mut Context<'_>, _args: &mut Args<'_>) {}
