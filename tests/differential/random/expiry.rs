//! Times to live of keys of any type.

use super::words::{any_key, lifetime, one_of};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "expiry",
    words: &["NX", "XX", "GT", "LT"],
    commands: &[
        Generator::new("expire", 1, |r| expire(r, "EXPIRE")),
        Generator::new("pexpire", 1, |r| expire(r, "PEXPIRE")),
        Generator::new("expireat", 1, |r| expire(r, "EXPIREAT")),
        Generator::new("pexpireat", 1, |r| expire(r, "PEXPIREAT")),
        Generator::new("persist", 1, |r| args![any_key(r)]),
        Generator::new("ttl", 1, |r| args![any_key(r)]).compared(Rule::About(5)),
        Generator::new("pttl", 1, |r| args![any_key(r)]).compared(Rule::About(5000)),
        Generator::new("expiretime", 1, |r| args![any_key(r)]).compared(Rule::About(5)),
        Generator::new("pexpiretime", 1, |r| args![any_key(r)]).compared(Rule::About(5000)),
    ],
};

fn expire(random: &mut Random, name: &str) -> Vec<Vec<u8>> {
    let mut args = args![any_key(random), lifetime(random, name)];
    // Comparing two relative times may depend on a millisecond.
    let conditions = if name.ends_with("AT") { &["NX", "XX", "GT", "LT"][..] } else { &["NX", "XX"] };
    args.extend((0..random.below(3)).map(|_| one_of(random, conditions)));
    args
}
