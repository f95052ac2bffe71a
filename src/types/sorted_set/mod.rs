//! Sorted sets: members with scores, in order.

mod element;
mod large;
mod leaf;
mod node;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use large::{Gather, SortedSet};
pub use walk::Elements;
