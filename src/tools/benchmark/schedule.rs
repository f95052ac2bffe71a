//! The due times of requests in an open loop: at a rate that does not depend on how fast the server replies.
//!
//! A closed loop, in which each connection waits for its replies before it sends again, slows down with the server: the
//! requests that would have arrived during a pause are never sent, and the pause is counted once per connection
//! (*coordinated omission*). In an open loop every request has its due time, regardless of earlier ones, and its
//! latency counts from then.
//!
//! Requests are due at even distances, or at random ones like those of independent users (a Poisson process, whose
//! distances are exponentially distributed). Each of several threads has a schedule for its part of the rate: even
//! schedules interleave, and independent Poisson processes add up to one.

use super::template::mixed;

/// The rate of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The requests per second of all threads.
    pub rate: f64,
    /// Whether the distances are random.
    pub is_poisson: bool,
}

/// The due times of one thread, in nanoseconds of the monotonic clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    start_ns: u64,
    /// The average distance between two requests of this thread.
    gap_ns: f64,
    /// The due time of the next request, relative to the start. With even distances it is computed from the number of
    /// the request, so that rounding errors do not add up.
    next_ns: f64,
    offset_ns: f64,
    passed: u64,
    /// The generator state of the random distances.
    random: Option<u64>,
}

impl Schedule {
    /// Creates the schedule of thread number `thread` of `threads`, whose first request is due at or after `start_ns`.
    pub fn new(pace: Pace, thread: usize, threads: usize, seed: u64, start_ns: u64) -> Schedule {
        let gap_ns = 1e9 / pace.rate * threads as f64;
        let offset_ns = 1e9 / pace.rate * thread as f64;
        let random = pace.is_poisson.then(|| mixed(seed ^ (thread as u64) << 32));
        let mut schedule = Schedule { start_ns, gap_ns, next_ns: offset_ns, offset_ns, passed: 0, random };
        if schedule.random.is_some() {
            schedule.next_ns = schedule.random_gap();
        }
        schedule
    }

    /// Returns the due time of the next request.
    #[inline]
    pub fn due_ns(&self) -> u64 {
        self.start_ns + self.next_ns as u64
    }

    /// Advances to the next request.
    #[inline]
    pub fn pass(&mut self) {
        self.passed += 1;
        self.next_ns = match self.random {
            Some(_) => self.next_ns + self.random_gap(),
            None => self.offset_ns + self.passed as f64 * self.gap_ns,
        };
    }

    /// Estimates how many requests are due by `now_ns`, if the next one is.
    pub fn waiting(&self, now_ns: u64) -> u64 {
        (now_ns.saturating_sub(self.due_ns()) as f64 / self.gap_ns) as u64 + 1
    }

    fn random_gap(&mut self) -> f64 {
        let Some(state) = &mut self.random else { return self.gap_ns };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // 53 bits, and never zero: its logarithm is finite.
        let uniform = ((mixed(*state) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -uniform.ln() * self.gap_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(pace: Pace, thread: usize, threads: usize, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(pace, thread, threads, 1, 1000);
        (0..count)
            .map(|_| {
                let due = schedule.due_ns();
                schedule.pass();
                due
            })
            .collect()
    }

    #[test]
    fn even_requests_of_all_threads_interleave_at_the_rate() {
        let pace = Pace { rate: 1e6, is_poisson: false };
        let mut all = [due(pace, 0, 2, 5), due(pace, 1, 2, 5)].concat();
        all.sort_unstable();
        let expected: Vec<u64> = (0..10).map(|index| 1000 + index * 1000).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn an_even_schedule_gathers_no_error() {
        let pace = Pace { rate: 3.0, is_poisson: false };
        let last = *due(pace, 0, 1, 3_000_001).last().unwrap();
        assert_eq!(last, 1000 + 1_000_000 * 1_000_000_000);
    }

    #[test]
    fn random_distances_have_the_rate_on_average_and_spread_as_much() {
        let pace = Pace { rate: 1e6, is_poisson: true };
        let moments = due(pace, 0, 1, 100_001);
        let gaps: Vec<f64> = moments.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((980.0..1020.0).contains(&mean), "{mean}");
        assert!((960.0..1040.0).contains(&variance.sqrt()), "{}", variance.sqrt());
        assert_ne!(due(pace, 0, 2, 3), due(pace, 1, 2, 3));
    }

    #[test]
    fn the_number_of_waiting_requests_counts_the_next_one() {
        let schedule = Schedule::new(Pace { rate: 1e6, is_poisson: false }, 0, 1, 1, 1000);
        assert_eq!(schedule.waiting(1000), 1);
        assert_eq!(schedule.waiting(5500), 5);
    }
}
