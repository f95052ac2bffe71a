//! Sparse registers: runs of equal values, as opcodes of one or two bytes from the first register to the last.
//!
//! ```text
//!  00llllll            ZERO    l+1 registers (1 to 64) are zero
//!  01llllll llllllll   XZERO   l+1 registers (1 to 16,384) are zero
//!  1vvvvvll            VAL     l+1 registers (1 to 4) are v+1 (1 to 32)
//! ```
//!
//! Raising a register inside a run splits the run into up to three. Then up to five opcodes are checked for neighbours
//! that can be joined. The resulting opcodes must be exactly Redis's, since `GET` returns these bytes and other servers
//! continue with them, so the order of these steps is Redis's. In particular, zero runs are never joined, and joining
//! starts at the opcode before the changed one.
//!
//! Costs: finding a register walks the opcodes from the start, eight at a time: about half a microsecond at the default
//! limit of 3,000 bytes. Callers that raise registers in ascending order ([`Cursor`]) walk the opcodes only once.

use std::fmt::Write as _;

use super::{Corrupted, HEADER, REGISTERS};

const XZERO: u8 = 0x40;
const VAL: u8 = 0x80;
const ZERO_MAX: usize = 64;
/// The most registers of one VAL opcode.
pub const VAL_MAX: usize = 4;
/// The highest value of a VAL opcode.
pub const RANK_MAX: u8 = 32;
/// The number of opcodes that are checked for runs to join.
const JOIN_SCAN: usize = 5;

/// A run, as one opcode encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whether it takes two bytes.
    pub long: bool,
    /// The value of its registers.
    pub value: u8,
    /// The number of registers, at least 1.
    pub len: usize,
}

impl Run {
    #[inline(always)]
    fn size(self) -> usize {
        1 + usize::from(self.long)
    }
}

/// The opcode at `at`; `None` at the end, or if the second byte is missing.
#[inline(always)]
fn run_at(value: &[u8], at: usize) -> Option<Run> {
    let first = *value.get(at)?;
    Some(if first & VAL != 0 {
        Run { long: false, value: (first >> 2 & 0x1f) + 1, len: usize::from(first & 3) + 1 }
    } else if first & XZERO != 0 {
        let len = usize::from(first & 0x3f) << 8 | usize::from(*value.get(at + 1)?);
        Run { long: true, value: 0, len: len + 1 }
    } else {
        Run { long: false, value: 0, len: usize::from(first) + 1 }
    })
}

/// All opcodes of a sparse value; the last item is an error if an opcode is truncated.
pub fn runs(value: &[u8]) -> impl Iterator<Item = Result<Run, Corrupted>> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        if at >= value.len() {
            return None;
        }
        let run = run_at(value, at).ok_or(Corrupted);
        at = run.map_or(value.len(), |run| at + run.size());
        Some(run)
    })
}

/// Calls `visit` with each run and its first register. Runs that do not cover exactly all registers are an error, which
/// may be found after some of them were visited; no visit goes past the last register.
pub fn for_each_run(value: &[u8], mut visit: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let mut register = 0;
    for run in runs(value) {
        let run = run?;
        if register + run.len > REGISTERS {
            return Err(Corrupted);
        }
        visit(register, run);
        register += run.len;
    }
    if register == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The value of one register; `None` if the runs end before it.
pub fn get(value: &[u8], register: usize) -> Option<u8> {
    find(value, &mut Cursor::START.clone(), register).ok().map(|(_, run)| run.value)
}

/// The opcodes as `PFDEBUG DECODE` prints them: `z:3 Z:200 v:2,4`, a VAL opcode with its value and length.
pub fn describe(value: &[u8]) -> Result<String, Corrupted> {
    let mut text = String::new();
    for run in runs(value) {
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = match run? {
            Run { value: 0, long: false, len } => write!(text, "{separator}z:{len}"),
            Run { value: 0, len, .. } => write!(text, "{separator}Z:{len}"),
            Run { value, len, .. } => write!(text, "{separator}v:{value},{len}"),
        };
    }
    Ok(text)
}

/// A position between opcodes.
#[derive(Clone, Copy, Debug)]
struct Spot {
    /// The offset of the opcode.
    at: usize,
    /// Its first register.
    register: usize,
    /// The offset of the opcode before it.
    before: Option<usize>,
}

impl Spot {
    const START: Spot = Spot { at: HEADER, register: 0, before: None };

    /// The position after the opcode here, which encodes `run`.
    #[inline(always)]
    fn after(self, run: Run) -> Spot {
        Spot { at: self.at + run.size(), register: self.register + run.len, before: Some(self.at) }
    }
}

/// The position from which the next search for a register can start. A search for a register below those that were
/// raised before needs a new cursor.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// A position that the last change cannot have moved.
    spot: Spot,
}

impl Cursor {
    /// The cursor at the first register.
    pub const START: Cursor = Cursor { spot: Spot::START };
}

/// The change needed to raise a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// None: it is already that high.
    None,
    /// A change of opcodes.
    Edit(Edit),
    /// Conversion to dense: opcodes cannot encode the rank, or not within the limit of bytes.
    Promote,
}

/// A change of opcodes, valid for the value that it was planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    at: usize,
    removed: usize,
    opcodes: Opcodes,
    /// The offset at which joining begins.
    join_at: usize,
}

/// Up to five bytes of opcodes: a long run split in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Opcodes {
    bytes: [u8; 5],
    len: usize,
}

impl Opcodes {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Adds a run of up to [`REGISTERS`], or up to four if the value is above zero.
    fn push_run(&mut self, value: u8, len: usize) {
        match (value, len) {
            (_, 0) => {}
            (0, 1..=ZERO_MAX) => self.push((len - 1) as u8),
            (0, _) => {
                self.push(XZERO | ((len - 1) >> 8) as u8);
                self.push((len - 1) as u8);
            }
            _ => self.push(val(value, len)),
        }
    }
}

fn val(value: u8, len: usize) -> u8 {
    VAL | (value - 1) << 2 | (len - 1) as u8
}

/// Plans to raise `register` to `rank` in the sparse `value`, which must not grow beyond `max_bytes`. The cursor
/// advances, and is valid for this value whether or not the edit is applied.
/// and is valid for this value whether or not the edit is applied.
pub fn plan(
    value: &[u8],
    cursor: &mut Cursor,
    register: usize,
    rank: u8,
    max_bytes: usize,
) -> Result<Raise, Corrupted> {
    if rank > RANK_MAX {
        return Ok(Raise::Promote);
    }
    let (spot, run) = find(value, cursor, register)?;
    if run.value >= rank {
        return Ok(Raise::None);
    }
    let mut opcodes = Opcodes::default();
    opcodes.push_run(run.value, register - spot.register);
    opcodes.push_run(rank, 1);
    opcodes.push_run(run.value, spot.register + run.len - 1 - register);
    let grown = value.len() - run.size() + opcodes.len;
    if grown > value.len() && grown > max_bytes {
        return Ok(Raise::Promote);
    }
    let join_at = spot.before.unwrap_or(HEADER);
    Ok(Raise::Edit(Edit { at: spot.at, removed: run.size(), opcodes, join_at }))
}

/// Finds the run of `register`.
#[inline]
fn find(value: &[u8], cursor: &mut Cursor, register: usize) -> Result<(Spot, Run), Corrupted> {
    let mut here = skip(value, cursor.spot, register);
    // An edit changes opcodes from the one before `here` on. The one before that is the last safe position to resume
    // from.
    let mut trail = [Spot::START; 2];
    let mut steps = 0;
    loop {
        let run = run_at(value, here.at).ok_or(Corrupted)?;
        if register < here.register + run.len {
            cursor.spot = match steps {
                0 => Spot::START,
                1 => trail[1],
                _ => trail[0],
            };
            return Ok((here, run));
        }
        trail = [trail[1], here];
        steps += 1;
        here = here.after(run);
    }
}

/// Advances from `spot` to a position not beyond the run of `register`, eight opcodes at a time as long as each takes a
/// single byte. In larger sketches nearly all do.
#[inline]
fn skip(value: &[u8], mut spot: Spot, register: usize) -> Spot {
    const EACH: u64 = 0x0101_0101_0101_0101;
    while let Some(word) = value.get(spot.at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let vals = word >> 7 & EACH;
        let next = if word >> 6 & EACH & !vals == 0 {
            // The length is in the lower two bits of a VAL, and in the lower six of a ZERO.
            let lens = word & ((0x3f * EACH) ^ (0x3c * vals));
            let pairs = (lens & 0x00ff_00ff_00ff_00ff) + (lens >> 8 & 0x00ff_00ff_00ff_00ff);
            let sum = pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
            Spot { at: spot.at + 8, register: spot.register + sum as usize + 8, before: Some(spot.at + 7) }
        } else {
            let Some(run) = run_at(value, spot.at) else { break };
            spot.after(run)
        };
        if next.register > register {
            break;
        }
        spot = next;
    }
    spot
}

/// Applies a planned edit, and joins runs that have become equal.
pub fn apply(value: &mut Vec<u8>, edit: Edit) {
    let Edit { at, removed, opcodes, join_at } = edit;
    let len = value.len();
    value.resize(len.max(len - removed + opcodes.len), 0);
    value.copy_within(at + removed..len, at + opcodes.len);
    value[at..at + opcodes.len].copy_from_slice(&opcodes.bytes[..opcodes.len]);
    value.truncate(len - removed + opcodes.len);
    join(value, join_at);
}

/// Joins neighbouring VAL runs of the same value if one opcode can encode both, within the next opcodes from `at` on.
fn join(value: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_SCAN {
        let Some(run) = run_at(value, at) else { return };
        if run.value > 0
            && let Some(next) = run_at(value, at + 1)
            && next.value == run.value
            && run.len + next.len <= VAL_MAX
        {
            value[at + 1] = val(run.value, run.len + next.len);
            value.remove(at);
            // The joined run is now at `at`, and may be joined with its next neighbour as well.
            continue;
        }
        at += run.size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Vec<u8> {
        [&[0; HEADER][..], &[0x7f, 0xff]].concat()
    }

    fn raise(value: &mut Vec<u8>, cursor: &mut Cursor, register: usize, rank: u8) -> bool {
        match plan(value, cursor, register, rank, usize::MAX) {
            Ok(Raise::Edit(edit)) => apply(value, edit),
            Ok(Raise::None) => return false,
            other => panic!("{other:?}"),
        }
        true
    }

    fn values(value: &[u8]) -> Vec<u8> {
        let mut values = Vec::new();
        for_each_run(value, |_, run| values.extend(std::iter::repeat_n(run.value, run.len))).unwrap();
        values
    }

    fn text(value: &[u8]) -> String {
        let kind =
            |run: Run| if run.value > 0 { format!("{}x{}", run.value, run.len) } else { run.len.to_string() };
        runs(value).map(|run| kind(run.unwrap())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn runs_are_split_and_joined_as_registers_rise() {
        let mut value = empty();
        let mut add = |register, rank| {
            raise(&mut value, &mut Cursor::START.clone(), register, rank);
            text(&value)
        };
        assert_eq!(add(100, 3), "100 3x1 16283");
        assert_eq!(add(102, 3), "100 3x1 1 3x1 16281");
        assert_eq!(add(101, 3), "100 3x3 16281");
        assert_eq!(add(101, 4), "100 3x1 4x1 3x1 16281");
        assert_eq!(add(103, 3), "100 3x1 4x1 3x2 16280");
        assert_eq!(add(0, 1), "1x1 99 3x1 4x1 3x2 16280");
        assert_eq!(add(16_383, 32), "1x1 99 3x1 4x1 3x2 16279 32x1");
        assert_eq!(add(50, 7), "1x1 49 7x1 49 3x1 4x1 3x2 16279 32x1");
        assert_eq!(add(50, 6), "1x1 49 7x1 49 3x1 4x1 3x2 16279 32x1");
    }

    #[test]
    fn a_run_of_four_is_not_joined_further() {
        let mut value = empty();
        for register in 0..6 {
            raise(&mut value, &mut Cursor::START.clone(), register, 1);
        }
        assert_eq!(text(&value), "1x4 1x2 16378");
    }

    #[test]
    fn a_cursor_leads_to_the_same_bytes_as_a_search_from_the_start() {
        let mut state = 1u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..60 {
            let mut value = empty();
            for _ in 0..next(1 + round * 20) {
                let within = [40, 300, REGISTERS][round % 3];
                raise(&mut value, &mut Cursor::START.clone(), next(within), next(3) as u8 + 1);
            }
            let mut with_cursor = value.clone();
            let mut cursor = Cursor::START;
            let step = [1, 3, 50][next(3)];
            let mut register = next(step);
            while register < 700 {
                let rank = next(4) as u8 + 1;
                let raised = raise(&mut value, &mut Cursor::START.clone(), register, rank);
                assert_eq!(raise(&mut with_cursor, &mut cursor, register, rank), raised);
                assert_eq!(with_cursor, value, "register {register}");
                register += next(step) + 1;
            }
        }
    }

    #[test]
    fn any_sequence_of_raises_keeps_the_maxima() {
        let mut value = empty();
        let mut model = vec![0; REGISTERS];
        let mut state = 7u64;
        for _ in 0..3000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (register, rank) = ((state >> 40) as usize % REGISTERS, (state >> 20) as u8 % 32 + 1);
            assert_eq!(raise(&mut value, &mut Cursor::START.clone(), register, rank), model[register] < rank);
            model[register] = rank.max(model[register]);
        }
        assert_eq!(values(&value), model);
    }

    #[test]
    fn a_value_that_would_have_to_grow_is_promoted_and_one_that_would_not_is_changed() {
        let mut value = empty();
        raise(&mut value, &mut Cursor::START.clone(), 5, 1);
        let len = value.len();
        let plan = |register, rank, max| plan(&value, &mut Cursor::START.clone(), register, rank, max);
        assert_eq!(plan(9, 1, len), Ok(Raise::Promote));
        assert!(matches!(plan(9, 1, len + 2), Ok(Raise::Edit(_))));
        assert!(matches!(plan(5, 2, 0), Ok(Raise::Edit(_))));
        assert_eq!(plan(5, 1, 0), Ok(Raise::None));
        assert_eq!(plan(5, 33, usize::MAX), Ok(Raise::Promote));
    }

    #[test]
    fn every_register_is_found_where_the_runs_say() {
        let mut value = empty();
        let mut state = 3u64;
        for round in 0..4000 {
            if round % 400 == 0 {
                let values = values(&value);
                assert!((0..REGISTERS).all(|register| get(&value, register) == Some(values[register])));
                assert_eq!(get(&value, REGISTERS), None);
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (register, rank) = ((state >> 40) as usize % REGISTERS, (state >> 62) as u8 + 1);
            raise(&mut value, &mut Cursor::START.clone(), register, rank);
        }
    }

    #[test]
    fn runs_of_too_few_or_too_many_registers_are_corrupted() {
        let header = [0; HEADER];
        for opcodes in [
            &b""[..],
            b"\x7f",
            b"\x7f\xfe",
            b"\x7f\xff\x00",
            b"\x7f\xff\x80",
            b"\x00\x7f\xff",
            b"\x7f\xff\x40",
        ] {
            let value = [&header[..], opcodes].concat();
            let mut visited = 0;
            let outcome = for_each_run(&value, |register, run| visited = register + run.len);
            assert_eq!(outcome, Err(Corrupted), "{opcodes:?}");
            assert!(visited <= REGISTERS);
        }
        let short = [&header[..], b"\x05"].concat();
        assert_eq!(plan(&short, &mut Cursor::START.clone(), 6, 1, 3000), Err(Corrupted));
    }
}
