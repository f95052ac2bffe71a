//! `table.sort`: quicksort with the median of three as the pivot, in place.
//!
//! ```text
//!   low                                    high
//!    │ ≤ pivot … │ i →   unknown   ← j │ … ≥ pivot │ pivot │ ≥ │
//! ```
//!
//! Which elements are compared, and in which order, follows the reference implementation: a function that defines the
//! order can see it, and the result of an inconsistent one depends on it. Since that function may be one of Lua, the
//! algorithm is written as a machine of states, one for each place where a comparison happens (`Step`): each of them
//! ends by choosing the next two values. The smaller part of a range is sorted first, so that the list of ranges that
//! are left never has more than 32 entries.

use crate::lua::machine::{Call, Continue, Event, Machine, Outcome, Raised, again};
use crate::lua::value::{TableId, Value};

/// Comparisons before the budget is charged for them.
const CHARGE_EVERY: usize = 64;

/// `table.sort(table [, comes_before])`
pub fn sort(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let Some(length) = m.length(table) else { return again(sort) };
    let length = length as i64;
    let has_order = !m.argument(call, 2).is_nil();
    if has_order {
        m.check_function(call, 2)?;
    }
    let mut sort = Box::new(Sort {
        low: 0,
        high: 0,
        i: 0,
        j: 0,
        step: Step::Ends,
        ranges: vec![(1, length)],
        has_order,
        called: false,
        charged: 0,
    });
    let mut hand = Hand::default();
    if !sort.next_range(m, table, &mut hand) {
        return Ok(Outcome::Values(0));
    }
    sort.run(m, call, table, hand, None)
}

/// The comparison that is under way.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// `high < low`? Then they are swapped.
    Ends,
    /// `middle < low`? Then they are swapped.
    MiddleLow,
    /// `high < middle`? Then they are swapped.
    MiddleHigh,
    /// `i < pivot`? Then `i` goes on.
    Up,
    /// `pivot < j`? Then `j` goes on.
    Down,
}

/// What is compared, and what has to be remembered in the meantime.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    pivot: Value,
    /// The element at `i`, while `j` moves.
    left: Value,
    /// The question is whether `x < y`.
    x: Value,
    y: Value,
}

impl Hand {
    /// Puts the values on the stack, where they stay alive.
    fn push(self, m: &mut Machine) {
        for value in [self.pivot, self.left, self.x, self.y] {
            m.push(value);
        }
    }

    fn pop(m: &mut Machine) -> Hand {
        let (y, x, left, pivot) = (m.pop(), m.pop(), m.pop(), m.pop());
        Hand { pivot, left, x, y }
    }
}

/// How a comparison turns out.
enum Comparison {
    Known(bool),
    /// As this function says.
    Call(Value),
    /// The budget is used up before the result is known.
    Later,
}

/// The range `low..=high` that is being sorted, and those that are left.
#[derive(Debug)]
struct Sort {
    low: i64,
    high: i64,
    i: i64,
    j: i64,
    step: Step,
    ranges: Vec<(i64, i64)>,
    /// There is a function that compares.
    has_order: bool,
    /// It has been called.
    called: bool,
    /// Comparisons since the budget was charged.
    charged: usize,
}

impl Continue for Sort {
    fn resume(mut self: Box<Self>, m: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised> {
        let answer = self.called.then(|| results > 0 && !m.from_top(results).is_false());
        self.called = false;
        m.drop_values(results);
        let hand = Hand::pop(m);
        let table = m.check_table(call, 1)?;
        self.run(m, call, table, hand, answer)
    }
}

impl Sort {
    /// Goes on until everything is in order, or until a function has to be called. `answer` is that of the comparison
    /// under way, if it is known already.
    fn run(
        mut self: Box<Self>,
        m: &mut Machine,
        call: Call,
        table: TableId,
        mut hand: Hand,
        mut answer: Option<bool>,
    ) -> Result<Outcome, Raised> {
        loop {
            let less = match answer.take() {
                Some(less) => less,
                None => match self.compare(m, call, hand)? {
                    Comparison::Known(less) => less,
                    Comparison::Call(function) => {
                        hand.push(m);
                        m.push(function);
                        m.push(hand.x);
                        m.push(hand.y);
                        self.called = true;
                        return Ok(Outcome::Call { arguments: 2, then: self });
                    }
                    Comparison::Later => {
                        hand.push(m);
                        return Ok(Outcome::Pause(self));
                    }
                },
            };
            if !self.advance(m, table, &mut hand, less)? {
                return Ok(Outcome::Values(0));
            }
            self.charged += 1;
            if self.charged == CHARGE_EVERY {
                self.charged = 0;
                if !m.charge(CHARGE_EVERY) {
                    hand.push(m);
                    return Ok(Outcome::Pause(self));
                }
            }
        }
    }

    /// Whether `x < y`.
    fn compare(&self, m: &mut Machine, call: Call, hand: Hand) -> Result<Comparison, Raised> {
        if self.has_order {
            return Ok(Comparison::Call(m.argument(call, 2)));
        }
        match (hand.x, hand.y) {
            (Value::Number(x), Value::Number(y)) => Ok(Comparison::Known(x < y)),
            (Value::String(x), Value::String(y)) => Ok(m
                .order_in_pieces(x, y)
                .map_or(Comparison::Later, |order| Comparison::Known(order.is_lt()))),
            (x, y) => {
                let (kind, other) = (x.type_name(), y.type_name());
                if kind != other {
                    return Err(m.plain_error(format!("attempt to compare {kind} with {other}")));
                }
                let less = m.metamethod(x, Event::Less);
                if less.is_nil() || !m.heap.equal(less, m.metamethod(y, Event::Less)) {
                    return Err(m.plain_error(format!("attempt to compare two {kind} values")));
                }
                Ok(Comparison::Call(less))
            }
        }
    }

    /// Does what follows from `x < y`, and chooses the next two values. Returns `false` when everything is in order.
    fn advance(
        &mut self,
        m: &mut Machine,
        table: TableId,
        hand: &mut Hand,
        less: bool,
    ) -> Result<bool, Raised> {
        let (low, high) = (self.low, self.high);
        let middle = i64::midpoint(low, high);
        let Hand { x, y, .. } = *hand;
        match self.step {
            Step::Ends => {
                if less {
                    put(m, table, [(low, x), (high, y)])?;
                }
                if high - low == 1 {
                    return Ok(self.next_range(m, table, hand));
                }
                self.ask(Step::MiddleLow, hand, element(m, table, middle), element(m, table, low));
            }
            Step::MiddleLow if less => {
                put(m, table, [(middle, y), (low, x)])?;
                return self.begin_partition(m, table, hand, middle);
            }
            Step::MiddleLow => self.ask(Step::MiddleHigh, hand, element(m, table, high), x),
            Step::MiddleHigh => {
                if less {
                    put(m, table, [(middle, x), (high, y)])?;
                }
                return self.begin_partition(m, table, hand, middle);
            }
            Step::Up if less => {
                if self.i > high {
                    return Err(m.error("invalid order function for sorting"));
                }
                self.rise(m, table, hand);
            }
            Step::Up => {
                hand.left = x;
                self.sink(m, table, hand);
            }
            Step::Down if less => {
                if self.j < low {
                    return Err(m.error("invalid order function for sorting"));
                }
                self.sink(m, table, hand);
            }
            Step::Down if self.j < self.i => {
                let (pivot, other) = (element(m, table, high - 1), element(m, table, self.i));
                put(m, table, [(high - 1, other), (self.i, pivot)])?;
                self.split();
                return Ok(self.next_range(m, table, hand));
            }
            Step::Down => {
                put(m, table, [(self.i, y), (self.j, hand.left)])?;
                self.rise(m, table, hand);
            }
        }
        Ok(true)
    }

    fn ask(&mut self, step: Step, hand: &mut Hand, x: Value, y: Value) {
        self.step = step;
        hand.x = x;
        hand.y = y;
    }

    /// The least, middle and last element are in order: moves the middle one, the pivot, out of the way.
    fn begin_partition(
        &mut self,
        m: &mut Machine,
        table: TableId,
        hand: &mut Hand,
        middle: i64,
    ) -> Result<bool, Raised> {
        if self.high - self.low == 2 {
            return Ok(self.next_range(m, table, hand));
        }
        hand.pivot = element(m, table, middle);
        let other = element(m, table, self.high - 1);
        put(m, table, [(middle, other), (self.high - 1, hand.pivot)])?;
        self.i = self.low;
        self.j = self.high - 1;
        self.rise(m, table, hand);
        Ok(true)
    }

    fn rise(&mut self, m: &Machine, table: TableId, hand: &mut Hand) {
        self.i += 1;
        self.ask(Step::Up, hand, element(m, table, self.i), hand.pivot);
    }

    fn sink(&mut self, m: &Machine, table: TableId, hand: &mut Hand) {
        self.j -= 1;
        self.ask(Step::Down, hand, hand.pivot, element(m, table, self.j));
    }

    /// The pivot is at `i`: what is left are the parts on either side of it, the smaller one to be sorted first.
    fn split(&mut self) {
        let (below, above) = ((self.low, self.i - 1), (self.i + 1, self.high));
        if self.i - self.low < self.high - self.i {
            self.ranges.extend([above, below]);
        } else {
            self.ranges.extend([below, above]);
        }
    }

    /// Begins with the next range of two or more elements. Returns `false` if there is none.
    fn next_range(&mut self, m: &Machine, table: TableId, hand: &mut Hand) -> bool {
        while let Some((low, high)) = self.ranges.pop() {
            if low < high {
                self.low = low;
                self.high = high;
                self.ask(Step::Ends, hand, element(m, table, high), element(m, table, low));
                return true;
            }
        }
        false
    }
}

/// An inconsistent order makes `i` and `j` leave the range, but not beyond 0.
#[inline]
fn element(m: &Machine, table: TableId, index: i64) -> Value {
    m.heap.get_index(table, index as usize)
}

fn put(m: &mut Machine, table: TableId, elements: [(i64, Value); 2]) -> Result<(), Raised> {
    for (index, value) in elements {
        super::store(m, table, Value::Number(index as f64), value)?;
    }
    Ok(())
}
