//! The results of a benchmark by test, independent of the output format.

use super::run::Outcome;
use super::schedule::Pace;

/// The percentiles of tables, in percent.
pub const PERCENTILES: [f64; 9] = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

/// The percentiles for tables with other columns.
pub const FEW_PERCENTILES: [f64; 6] = [0.0, 50.0, 90.0, 99.0, 99.9, 100.0];

/// All rounds of a test against one server.
#[derive(Debug)]
pub struct Measured {
    /// The test's title.
    pub title: String,
    /// The number of the server.
    pub subject: usize,
    /// Outcomes in the order of the rounds; at least one.
    pub rounds: Vec<Outcome>,
}

impl Measured {
    /// Returns the median of a figure over the rounds: the mean of the middle two if their number is even.
    pub fn median(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        match figures.len() {
            0 => 0.0,
            len if len % 2 == 1 => figures[middle],
            _ => f64::midpoint(figures[middle - 1], figures[middle]),
        }
    }

    /// The median of a percentile over the rounds, in milliseconds.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        self.median(|round| round.tally.latencies.percentile(percent) as f64 / 1000.0)
    }

    /// The median of the replies per second.
    pub fn rate(&self) -> f64 {
        self.median(Outcome::rate)
    }

    /// The median round by throughput, which represents all rounds where only one can be shown.
    pub fn typical(&self) -> &Outcome {
        let mut order: Vec<&Outcome> = self.rounds.iter().collect();
        order.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        order[(order.len() - 1) / 2]
    }

    /// This client's processor time per request, in microseconds.
    pub fn client_cpu_us(&self) -> f64 {
        self.median(|round| (round.client_cpu.0 + round.client_cpu.1) * 1e6 / requests(round))
    }

    /// The server's processor time per request, in microseconds, if it reported it in every round.
    pub fn server_cpu_us(&self) -> Option<f64> {
        let told = self.rounds.iter().all(|round| round.server_cpu.is_some());
        told.then(|| self.median(|round| round.server_cpu.unwrap_or(0.0) * 1e6 / requests(round)))
    }

    /// The load of this client: 1 is one fully used processor.
    pub fn client_load(&self) -> f64 {
        self.median(|round| (round.client_cpu.0 + round.client_cpu.1) / round.seconds.max(1e-9))
    }

    /// The number of errors of the server in all rounds.
    pub fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.tally.errors).sum()
    }

    /// Whether there are figures to show: errors alone, which cost a server little, are not a throughput.
    pub fn has_figures(&self) -> bool {
        self.errors() < self.replies()
    }

    /// The number of replies in all rounds, errors included.
    pub fn replies(&self) -> u64 {
        self.rounds.iter().map(|round| round.tally.latencies.count()).sum()
    }

    /// The lowest and the highest replies per second of all rounds, if there are several.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let rates = || self.rounds.iter().map(Outcome::rate);
        (self.rounds.len() > 1).then(|| (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max)))
    }

    /// Whether an open loop did not reach its rate.
    pub fn misses(&self, pace: Pace) -> bool {
        let round = self.typical();
        let count = round.tally.latencies.count() as f64;
        // At random distances, the number of requests varies by its square root.
        let chance = if pace.is_poisson { 3.0 / count.sqrt() } else { 0.0 };
        round.unsent > 0 || round.tally.unanswered > 0 || round.rate() < pace.rate * (0.95 - chance)
    }

    /// Why the last round stopped early, if it did.
    pub fn failure(&self) -> Option<String> {
        self.rounds.last()?.failure.as_ref().map(ToString::to_string)
    }
}

fn requests(round: &Outcome) -> f64 {
    (round.tally.latencies.count() as f64).max(1.0)
}
