//! Commands about the connection.

use super::words::{one_of, value};
use super::{Family, Generator};
use crate::args;

pub const FAMILY: Family = Family {
    name: "connection",
    words: &[],
    commands: &[
        Generator::new("select", 2, |r| args![one_of(r, &["0", "0", "0", "1"])]),
        Generator::new("echo", 1, |r| args![value(r)]),
        Generator::new("ping", 1, |_| args![]),
    ],
};
