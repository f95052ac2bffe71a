//! The tables: their runs and simulations, and their output.

use super::runs::{Limit, Outcome, Policy, run};
use super::simulate::{Lfu, Lru, Optimum, TinyLfu, hit_ratio};
use super::traces::{RECIPES, Recipe, Trace};
use super::{Bench, Result, say};
use std::fmt::Write;

/// The settings of `maxmemory-samples` that are compared.
const SAMPLES: [usize; 2] = [5, 10];

/// A server's two outcomes, by [`SAMPLES`].
type Outcomes = [Outcome; 2];

/// The results of a trace and a policy at equal bytes.
#[derive(Debug)]
pub struct BytesRow {
    /// The trace.
    pub trace: &'static str,
    /// The policy.
    pub policy: Policy,
    /// Redis.
    pub redis: Outcomes,
    /// Redstart.
    pub redstart: Outcomes,
    /// The policy itself, at the number of keys that Redstart held.
    pub exact: f64,
    /// W-TinyLFU at that number.
    pub tiny_lfu: f64,
    /// The highest hit ratio at that number.
    pub optimum: f64,
}

/// The results of a trace and a policy at equal numbers of keys.
#[derive(Debug)]
pub struct KeysRow {
    /// The trace.
    pub trace: &'static str,
    /// The policy.
    pub policy: Policy,
    /// Redis, and for each outcome the policy itself with the same number of keys.
    pub redis: [(Outcome, f64); 2],
    /// The same for Redstart.
    pub redstart: [(Outcome, f64); 2],
}

/// The policy itself, with `keys` keys.
fn exact(policy: Policy, trace: &Trace, keys: f64) -> f64 {
    let (capacity, warm_up) = (keys as usize, trace.warm_up());
    match policy {
        Policy::Lru => hit_ratio(&mut Lru::new(trace.keys, capacity), trace, warm_up),
        Policy::Lfu => hit_ratio(&mut Lfu::new(trace.keys, capacity), trace, warm_up),
    }
}

/// The outcomes of Redis and of Redstart at each setting of samples.
fn both(
    bench: &Bench,
    recipe: &Recipe,
    trace: &Trace,
    policy: Policy,
    limit: Limit,
) -> Result<[Outcomes; 2]> {
    let mut outcomes = Vec::new();
    for spec in [&bench.redis, &bench.redstart] {
        for samples in SAMPLES {
            let outcome = run(bench, spec, recipe, trace, (policy, samples), limit)?;
            say(&format!(
                "{}, {}, {samples} samples, {}: {:.2} % of {:.0} keys, {:.0} requests a second",
                recipe.name,
                policy.directive(),
                spec.name,
                outcome.hit_ratio * 100.0,
                outcome.keys,
                outcome.rate
            ));
            outcomes.push(outcome);
        }
    }
    let [a, b, c, d] = outcomes[..] else { return Err("a run is missing".into()) };
    Ok([[a, b], [c, d]])
}

/// All traces at equal bytes.
pub fn at_equal_bytes(bench: &Bench) -> Result<Vec<BytesRow>> {
    let mut rows = Vec::new();
    for recipe in RECIPES.iter().filter(|recipe| bench.chosen(recipe.name)) {
        let trace = recipe.generate(bench.requests, bench.seed);
        let warm_up = trace.warm_up();
        for &policy in &bench.policies {
            let limit = Limit::Bytes(recipe.megabytes * 1_000_000);
            let [redis, redstart] = both(bench, recipe, &trace, policy, limit)?;
            let keys = redstart[0].keys;
            let row = BytesRow {
                trace: recipe.name,
                policy,
                redis,
                redstart,
                exact: exact(policy, &trace, keys),
                tiny_lfu: hit_ratio(&mut TinyLfu::new(trace.keys, keys as usize), &trace, warm_up),
                optimum: hit_ratio(&mut Optimum::new(&trace, keys as usize), &trace, warm_up),
            };
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The traces whose popularities do not change and whose values have one size, at equal numbers of keys.
pub fn at_equal_keys(bench: &Bench, keys: usize) -> Result<Vec<KeysRow>> {
    let mut rows = Vec::new();
    for recipe in RECIPES.iter().filter(|recipe| recipe.is_plain() && bench.chosen(recipe.name)) {
        let trace = recipe.generate(bench.requests, bench.seed);
        for &policy in &bench.policies {
            let outcomes = both(bench, recipe, &trace, policy, Limit::Keys(keys))?;
            let [redis, redstart] = outcomes
                .map(|outcomes| outcomes.map(|outcome| (outcome, exact(policy, &trace, outcome.keys))));
            rows.push(KeysRow { trace: recipe.name, policy, redis, redstart });
        }
    }
    Ok(rows)
}

/// A table in Markdown: the first two columns are words.
fn markdown(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|---|", heading.join(" | "));
    text.push_str(&"---:|".repeat(heading.len() - 2));
    text.push('\n');
    for cells in rows {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn percent(ratio: f64) -> String {
    format!("{:.2}", ratio * 100.0)
}

/// Percentage points, with a sign.
fn points(difference: f64) -> String {
    format!("{:+.2}", difference * 100.0)
}

/// The first table.
pub fn bytes_markdown(rows: &[BytesRow]) -> String {
    let heading = [
        "trace",
        "policy",
        "keys: Redis",
        "Redstart",
        "Redis, 5",
        "Redstart, 5",
        "Redis, 10",
        "Redstart, 10",
        "exact",
        "W-TinyLFU",
        "optimum",
    ];
    let rows = rows.iter().map(|row| {
        let mut cells = vec![row.trace.to_string(), row.policy.name().into()];
        cells.extend([row.redis, row.redstart].map(|outcomes| format!("{:.0}", outcomes[0].keys)));
        for (redis, redstart) in row.redis.iter().zip(&row.redstart) {
            cells.extend([redis, redstart].map(|outcome| percent(outcome.hit_ratio)));
        }
        cells.extend([row.exact, row.tiny_lfu, row.optimum].map(percent));
        cells
    });
    markdown(&heading, rows)
}

/// The second table.
pub fn keys_markdown(rows: &[KeysRow]) -> String {
    let heading = [
        "trace",
        "policy",
        "exact",
        "Redis, 5",
        "to exact",
        "Redstart, 5",
        "to exact",
        "Redis, 10",
        "to exact",
        "Redstart, 10",
        "to exact",
    ];
    let rows = rows.iter().map(|row| {
        let mut cells = vec![row.trace.to_string(), row.policy.name().into(), percent(row.redstart[0].1)];
        for (redis, redstart) in row.redis.iter().zip(&row.redstart) {
            for (outcome, exact) in [redis, redstart] {
                cells.extend([percent(outcome.hit_ratio), points(outcome.hit_ratio - exact)]);
            }
        }
        cells
    });
    markdown(&heading, rows)
}

#[cfg(test)]
#[allow(unused)]
pub mod tests {
    use super::*;

    /// A row with these hit ratios of Redis and Redstart.
    pub fn sample(trace: &'static str, policy: Policy, redis: f64, redstart: f64) -> BytesRow {
        let outcomes = |hit_ratio, keys| [Outcome { hit_ratio, keys, rate: 1.0 }; 2];
        BytesRow {
            trace,
            policy,
            redis: outcomes(redis, 1000.4),
            redstart: outcomes(redstart, 1500.0),
            exact: 0.7,
            tiny_lfu: 0.75,
            optimum: 0.8,
        }
    }

    #[test]
    fn tables_have_as_many_cells_in_each_line() {
        let row = sample("a", Policy::Lru, 0.5, 0.612_34);
        let keys = KeysRow {
            trace: "a",
            policy: Policy::Lfu,
            redis: row.redis.map(|outcome| (outcome, 0.51)),
            redstart: row.redstart.map(|outcome| (outcome, 0.61)),
        };
        let first = bytes_markdown(&[row]);
        assert!(first.ends_with(
            "| a | LRU | 1000 | 1500 | 50.00 | 61.23 | 50.00 | 61.23 | 70.00 | 75.00 | 80.00 |\n"
        ));
        let second = keys_markdown(&[keys]);
        assert!(second.contains("| a | LFU | 61.00 | 50.00 | -1.00 | 61.23 | +0.23 | 50.00 |"), "{second}");
        for table in [first, second] {
            let cells: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
            assert_eq!(cells, [12, 12, 12]);
        }
    }
}
