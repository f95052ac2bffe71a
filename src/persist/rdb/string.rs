//! A string value: one string.

use super::{Encoder, Input, LoadError, Loaded, Sink, Target};
use crate::types::Entry;

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    out.text(entry.value());
}

/// The encoding is chosen by the rule for values that are set as a whole, as in Redis.
pub(super) fn load(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    Ok(match input.string()? {
        Loaded::Int(value) => Entry::integer(target.key, value.into(), target.expire_at),
        Loaded::Bytes(bytes) => Entry::string(target.key, &bytes, target.expire_at),
    })
}
