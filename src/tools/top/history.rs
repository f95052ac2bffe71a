//! The recent figures of each kind, for the charts.

use std::collections::{BTreeMap, VecDeque};

use super::rates::Rates;

/// The number of figures kept of each kind; terminals rarely have more columns.
const KEPT: usize = 512;

/// Figures in order of arrival; `NAN` is an interval without one.
#[derive(Clone, Debug, Default)]
pub struct Series(VecDeque<f32>);

impl Series {
    /// Appends a figure, and drops the oldest beyond [`KEPT`].
    pub fn push(&mut self, value: Option<f64>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value.map_or(f32::NAN, |value| value as f32));
    }

    /// The last `count` figures, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = f32> + Clone + '_ {
        self.0.range(self.0.len().saturating_sub(count)..).copied()
    }

    /// Returns the maximum of the last `count` figures; 0 if there are none.
    pub fn max(&self, count: usize) -> f32 {
        self.last(count).fold(0.0, f32::max)
    }

    fn is_quiet(&self) -> bool {
        self.0.iter().all(|&value| value == 0.0 || value.is_nan())
    }
}

/// The data of the charts.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub ops: Series,
    pub usec_per_call: Series,
    pub hit_percent: Series,
    pub cpu_percent: Series,
    pub input_bytes: Series,
    pub output_bytes: Series,
    /// Calls per second.
    pub commands: BTreeMap<String, Series>,
}

impl History {
    /// Appends the figures of an interval.
    pub fn record(&mut self, rates: &Rates) {
        self.ops.push(Some(rates.ops));
        self.usec_per_call.push(rates.usec_per_call);
        self.hit_percent.push(rates.hit_percent);
        self.cpu_percent.push(Some(rates.cpu_percent));
        self.input_bytes.push(Some(rates.input_bytes));
        self.output_bytes.push(Some(rates.output_bytes));
        for (name, command) in &rates.commands {
            if command.calls > 0.0 && !self.commands.contains_key(name) {
                self.commands.insert(name.clone(), Series::default());
            }
        }
        self.commands.retain(|name, series| {
            series.push(Some(rates.commands.get(name).map_or(0.0, |command| command.calls)));
            !series.is_quiet()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::rates::CommandRate;
    use super::*;

    fn calls(get: f64) -> Rates {
        let rate = CommandRate { calls: get, ..CommandRate::default() };
        Rates { ops: get, commands: BTreeMap::from([("get".to_string(), rate)]), ..Rates::default() }
    }

    #[test]
    fn the_latest_figures_are_kept() {
        let mut history = History::default();
        for n in 0..KEPT + 10 {
            history.record(&calls(n as f64));
        }
        assert_eq!(history.ops.last(2).collect::<Vec<_>>(), [(KEPT + 8) as f32, (KEPT + 9) as f32]);
        assert_eq!(history.ops.last(10_000).count(), KEPT);
        assert_eq!(history.ops.max(3), (KEPT + 9) as f32);
        assert!(history.hit_percent.last(1).all(f32::is_nan));
        assert_eq!(history.hit_percent.max(5), 0.0);
    }

    #[test]
    fn a_command_has_a_history_as_long_as_it_was_called_in_that_time() {
        let mut history = History::default();
        history.record(&calls(0.0));
        assert!(history.commands.is_empty());
        history.record(&calls(5.0));
        history.record(&Rates::default());
        assert_eq!(history.commands["get"].last(9).collect::<Vec<_>>(), [5.0, 0.0]);
        for _ in 0..KEPT {
            history.record(&calls(0.0));
        }
        assert!(history.commands.is_empty());
    }
}
