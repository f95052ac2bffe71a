//! `--latency-dist`: one line per second; each character is a class of latencies, and its background is the share of
//! the samples in that class, in xterm's 256 colours.
//!
//! The colours are the output, so they are printed even without a terminal. With `NO_COLOR`, a line lists the classes
//! that have samples, and their shares.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use super::latency::{PAUSE, ping};
use super::link::Link;
use super::{Failure, Outcome, Session, draw};
use crate::sys::clock;

/// A class: its character and its upper bound in microseconds, inclusive.
#[rustfmt::skip]
const CLASSES: [(char, u64); 31] = [
    ('.', 10), ('-', 125), ('*', 250), ('#', 500),
    ('1', 1_000), ('2', 2_000), ('3', 3_000), ('4', 4_000), ('5', 5_000),
    ('6', 6_000), ('7', 7_000), ('8', 8_000), ('9', 9_000),
    ('A', 10_000), ('B', 20_000), ('C', 30_000), ('D', 40_000), ('E', 50_000),
    ('F', 100_000), ('G', 200_000), ('H', 300_000), ('I', 400_000), ('J', 500_000),
    ('K', 1_000_000), ('L', 2_000_000), ('M', 4_000_000), ('N', 8_000_000),
    ('O', 16_000_000), ('P', 30_000_000), ('Q', 60_000_000), ('?', u64::MAX),
];
/// The background colours, from a class without samples to one with all of them.
const PALETTE: [u8; 19] =
    [0, 233, 234, 235, 237, 239, 241, 243, 245, 247, 144, 143, 142, 184, 226, 214, 208, 202, 196];
/// The number of lines between two legends.
const LINES_PER_LEGEND: u64 = 20;
/// The default duration of a line's samples.
const LINE: Duration = Duration::from_secs(1);

/// Prints lines forever.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let length = session.interval.unwrap_or(LINE);
    let has_colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut link = Link::open(session.target)?;
    for line in 0_u64.. {
        if line.is_multiple_of(LINES_PER_LEGEND) {
            draw(&legend(has_colors))?;
        }
        let counts = sample(&mut link, length)?;
        draw(&(if has_colors { colored(&counts) } else { plain(&counts) } + "\n"))?;
    }
    Ok(())
}

/// Takes samples for `length` and returns their number in each class.
fn sample(link: &mut Link<'_>, length: Duration) -> Result<[u64; CLASSES.len()], Failure> {
    let mut counts = [0; CLASSES.len()];
    let start = clock::monotonic_us();
    loop {
        let begin = clock::monotonic_us();
        ping(link)?;
        let end = clock::monotonic_us();
        counts[class(end - begin)] += 1;
        if u128::from(end - start) > length.as_micros() {
            return Ok(counts);
        }
        thread::sleep(PAUSE);
    }
}

fn class(latency_us: u64) -> usize {
    CLASSES.partition_point(|(_, most)| *most < latency_us)
}

fn legend(has_colors: bool) -> String {
    const RULE: &str = "---------------------------------------------";
    let mut palette = String::new();
    if has_colors {
        palette.push_str("From 0 to 100%: ");
        for color in PALETTE {
            let _ = write!(palette, "\x1b[48;5;{color}m ");
        }
        palette.push_str("\x1b[0m\n");
    }
    format!(
        "{RULE}\n\
         . - * #          .01 .125 .25 .5 milliseconds\n\
         1,2,3,...,9      from 1 to 9     milliseconds\n\
         A,B,C,D,E        10,20,30,40,50  milliseconds\n\
         F,G,H,I,J        .1,.2,.3,.4,.5       seconds\n\
         K,L,M,N,O,P,Q,?  1,2,4,8,16,30,60,>60 seconds\n\
         {palette}{RULE}\n"
    )
}

/// Formats every class in the colour of its share. A class with a sample never has the colour of an empty one.
fn colored(counts: &[u64; CLASSES.len()]) -> String {
    let total: u64 = counts.iter().sum();
    let mut line = "\x1b[38;5;0m".to_string();
    for ((character, _), count) in CLASSES.iter().zip(counts) {
        let shade = (count * (PALETTE.len() as u64 - 1)).div_ceil(total.max(1));
        let _ = write!(line, "\x1b[48;5;{}m{character}", PALETTE[shade as usize]);
    }
    line.push_str("\x1b[0m");
    line
}

/// Lists the classes that have samples, with their shares.
fn plain(counts: &[u64; CLASSES.len()]) -> String {
    let total: u64 = counts.iter().sum();
    let seen = CLASSES.iter().zip(counts).filter(|(_, count)| **count > 0);
    let part = |((character, _), count): (&(char, u64), &u64)| {
        format!("{character} {:.0}%", 100.0 * *count as f64 / total as f64)
    };
    seen.map(part).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_first_class_that_it_does_not_exceed() {
        let character = |latency_us| CLASSES[class(latency_us)].0;
        assert_eq!([0, 10, 11, 125, 500, 501].map(character), ['.', '.', '-', '-', '#', '1']);
        assert_eq!([9_001, 60_000_000, 60_000_001].map(character), ['A', 'Q', '?']);
    }

    #[test]
    fn a_class_with_one_sample_of_many_differs_from_one_with_none() {
        let mut counts = [0; CLASSES.len()];
        (counts[0], counts[1]) = (1, 999);
        let line = colored(&counts);
        assert!(line.starts_with("\x1b[38;5;0m\x1b[48;5;233m.\x1b[48;5;196m-\x1b[48;5;0m*"), "{line:?}");
        assert_eq!(plain(&counts), ". 0%  - 100%");
    }
}
