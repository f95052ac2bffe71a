//! `table.sort`: quicksort with the median of three as the pivot, in place.
//!
//! ```text
//!   low                                    high
//!    │ ≤ pivot … │ i →   unknown   ← j │ … ≥ pivot │ pivot │ ≥ │
//! ```
//!
//! The choice and order of comparisons follow the reference implementation: an order function can observe them, and the
//! result of an inconsistent one depends on them. Since that function may be a Lua function, the algorithm is a state
//! machine with one state for each place where a comparison happens (`Step`); each step ends by choosing the next two
//! values. The smaller part of a range is sorted first, so the list of remaining ranges never has more than 32 entries.

use crate::lua::machine::{Call, Continue, Event, Machine, Outcome, Raised, again};
use crate::lua::value::{TableId, Value};

/// The number of comparisons between charges to the budget.
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

/// The comparison in progress.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// `high < low`? If so, they are swapped.
    Ends,
    /// `middle < low`? If so, they are swapped.
    MiddleLow,
    /// `high < middle`? If so, they are swapped.
    MiddleHigh,
    /// `i < pivot`? If so, `i` advances.
    Up,
    /// `pivot < j`? If so, `j` advances.
    Down,
}

/// The values being compared, and those kept meanwhile.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    pivot: Value,
    /// The element at `i`, while `j` moves.
    left: Value,
    /// The comparison is `x < y`.
    x: Value,
    y: Value,
}

impl Hand {
    /// Pushes the values on the stack, which keeps them alive.
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

/// The result of a comparison.
enum Comparison {
    Known(bool),
    /// The function to call decides.
    Call(Value),
    /// The budget is used up before the result is known.
    Later,
}

/// The range `low..=high` being sorted, and the remaining ranges.
#[derive(Debug)]
struct Sort {
    low: i64,
    high: i64,
    i: i64,
    j: i64,
    step: Step,
    ranges: Vec<(i64, i64)>,
    /// Whether there is an order function.
    has_order: bool,
    /// Whether it has been called.
    called: bool,
    /// The number of comparisons since the budget was charged.
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
    /// Sorts until everything is in order or the order function has to be called. `answer` is the result of the
    /// comparison in progress, if it is already known.
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

    /// Compares `x < y`.
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

    /// Acts on the result of `x < y`, and chooses the next two values. Returns `false` when everything is in order.
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

    /// Begins partitioning once the first, middle and last element are in order: moves the middle one, the pivot, out
    /// of the way.
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

    /// Splits the range at the pivot, which is at `i`. The smaller part is sorted first.
    fn split(&mut self) {
        let (below, above) = ((self.low, self.i - 1), (self.i + 1, self.high));
        if self.i - self.low < self.high - self.i {
            self.ranges.extend([above, below]);
        } else {
            self.ranges.extend([below, above]);
        }
    }

    /// Begins the next range of two or more elements. Returns `false` if there is none.
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

/// Returns an element. An inconsistent order moves `i` and `j` out of the range, but not beyond 0.
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
