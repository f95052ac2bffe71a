//! Placeholders for what a command is given: they exist so that the table's function types have names.

use std::marker::PhantomData;

/// What a command works on.
#[derive(Debug)]
pub struct Context<'a>(PhantomData<&'a ()>);

/// What a command is called with.
#[derive(Debug)]
pub struct Args<'a>(PhantomData<&'a ()>);
