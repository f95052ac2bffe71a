//! Results over time: replies and their longest latency in intervals of equal length, for the charts.
//!
//! The intervals begin at 10 ms. When there are more than `MOST`, pairs of them are merged, so a run of any length
//! keeps between half of `MOST` and all of it.

/// The maximum number of intervals.
const MOST: usize = 8192;
/// The initial length of an interval.
const FIRST_NS: u64 = 10_000_000;

/// The replies of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The number of replies.
    pub replies: u64,
    /// Their longest latency, in nanoseconds.
    pub longest_ns: u64,
}

impl Interval {
    fn add(&mut self, other: Interval) {
        self.replies += other.replies;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }
}

/// The intervals since the start of a run.
#[derive(Clone, Debug)]
pub struct Timeline {
    start_ns: u64,
    width_ns: u64,
    /// The end of the last interval.
    end_ns: u64,
    intervals: Vec<Interval>,
}

impl Timeline {
    /// Creates an empty timeline from `start_ns` of the monotonic clock.
    pub fn new(start_ns: u64) -> Timeline {
        Timeline { start_ns, width_ns: FIRST_NS, end_ns: start_ns, intervals: Vec::new() }
    }

    /// Records `replies` that arrived at `now_ns`, which must not decrease.
    #[inline]
    pub fn note(&mut self, now_ns: u64, replies: u64, longest_ns: u64) {
        if now_ns >= self.end_ns {
            self.extend(now_ns);
        }
        if let Some(last) = self.intervals.last_mut() {
            last.add(Interval { replies, longest_ns });
        }
    }

    #[cold]
    fn extend(&mut self, now_ns: u64) {
        let mut index = self.index(now_ns);
        while index >= MOST {
            self.fold();
            index = self.index(now_ns);
        }
        self.intervals.resize(self.intervals.len().max(index + 1), Interval::default());
        self.end_ns = self.start_ns + self.intervals.len() as u64 * self.width_ns;
    }

    fn index(&self, now_ns: u64) -> usize {
        (now_ns.saturating_sub(self.start_ns) / self.width_ns) as usize
    }

    /// Merges pairs of intervals.
    fn fold(&mut self) {
        self.width_ns *= 2;
        self.intervals = self
            .intervals
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0];
                pair.iter().skip(1).for_each(|interval| sum.add(*interval));
                sum
            })
            .collect();
    }

    /// Adds the replies of another thread since the same start.
    pub fn merge(&mut self, mut other: Timeline) {
        while other.width_ns < self.width_ns {
            other.fold();
        }
        while self.width_ns < other.width_ns {
            self.fold();
        }
        let len = self.intervals.len().max(other.intervals.len());
        self.intervals.resize(len, Interval::default());
        for (interval, more) in self.intervals.iter_mut().zip(other.intervals) {
            interval.add(more);
        }
        self.end_ns = self.start_ns + len as u64 * self.width_ns;
    }

    /// Returns the whole run in at most `most` intervals, and the length of one in seconds. The end of the run may cut
    /// the last one short.
    pub fn intervals(&self, most: usize) -> (f64, Vec<Interval>) {
        let mut copy = self.clone();
        while copy.intervals.len() > most.max(1) {
            copy.fold();
        }
        (copy.width_ns as f64 / 1e9, copy.intervals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn replies_count_in_the_interval_in_which_they_arrive() {
        let mut timeline = Timeline::new(100);
        timeline.note(100, 1, 5);
        timeline.note(100 + 9 * MS, 2, 3);
        timeline.note(100 + 30 * MS, 4, 7);
        let (width, intervals) = timeline.intervals(100);
        let of = |replies, longest_ns| Interval { replies, longest_ns };
        assert_eq!((width, intervals), (0.01, vec![of(3, 5), of(0, 0), of(0, 0), of(4, 7)]));
        let (width, intervals) = timeline.intervals(2);
        assert_eq!((width, intervals), (0.02, vec![of(3, 5), of(4, 7)]));
    }

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_intervals_and_every_reply() {
        let mut timeline = Timeline::new(0);
        for second in 0..5000 {
            timeline.note(second * 1000 * MS, 1, 1);
        }
        assert!(timeline.intervals.len() <= MOST);
        assert_eq!(timeline.intervals.iter().map(|interval| interval.replies).sum::<u64>(), 5000);
        let mut short = Timeline::new(0);
        short.note(5 * MS, 10, 9);
        short.merge(timeline);
        assert_eq!(short.intervals.iter().map(|interval| interval.replies).sum::<u64>(), 5010);
        assert_eq!(short.intervals[0].longest_ns, 9);
    }
}
