//! Results as one HTML page without external resources: charts are inline SVG, the style is `page.css`.
//!
//! An overview of all tests comes first, then each test with its throughput over time and its latencies by percentile,
//! and finally everything needed to repeat the run: the command line, the settings, and the servers' descriptions.

use std::fmt::{self, Write};

use super::json::FACTS;
use super::options::Options;
use super::report::{FEW_PERCENTILES, Measured, PERCENTILES};
use super::run::Outcome;
use super::subject::Subject;
use super::svg::{Axis, COLOURS, Line, chart};
use super::text::{ratio, remarks};
use crate::sys::{calendar, clock};
use crate::text::figures::{COUNTS, exact, in_unit};
use crate::text::html::Escaped;

/// The number of points of a line over time: more would be noise.
const MOMENTS: usize = 120;
/// The minimum share of the last interval, which the end of the run cuts off, for it to be drawn.
const LEAST_PART: f64 = 0.3;
/// The number of steps per power of ten on the latency axis.
const STEPS: usize = 40;
/// The share of its threads' time above which the client may have been the bottleneck.
const BUSY: f64 = 0.9;

/// The page under construction.
struct Page<'a> {
    options: &'a Options,
    subjects: &'a [Subject],
    results: &'a [Measured],
    out: String,
}

/// Returns the page.
pub fn document(options: &Options, command_line: &str, subjects: &[Subject], results: &[Measured]) -> String {
    let mut page = Page { options, subjects, results, out: String::new() };
    page.head();
    let mut titles: Vec<&str> = results.iter().map(|measured| measured.title.as_str()).collect();
    titles.dedup();
    if titles.len() > 1 {
        page.overview(&titles);
    }
    for title in titles {
        page.test(&results.iter().filter(|measured| measured.title == title).collect::<Vec<_>>());
    }
    page.conditions(command_line);
    page.out
}

/// Formats a whole number with digit grouping.
fn grouped(number: f64) -> String {
    exact(number.round() as u64)
}

/// Formats a rate for an axis mark: `80k`, `1.5M`.
fn mark(rate: f64) -> String {
    let (rate, unit) = in_unit(rate, 1000.0, &COUNTS);
    format!("{}{unit}", (rate * 100.0).round() / 100.0)
}

/// Formats a latency with three significant digits.
fn latency(ms: f64) -> String {
    match ms {
        ms if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 10.0 => format!("{ms:.1} ms"),
        ms if ms >= 1.0 => format!("{ms:.2} ms"),
        ms => format!("{:.0} µs", ms * 1000.0),
    }
}

fn name_of_percentile(percent: f64) -> String {
    match percent {
        0.0 => "min".to_string(),
        100.0 => "max".to_string(),
        percent => format!("p{percent}"),
    }
}

/// Formats the requests per second, if there were any.
fn rate_of(measured: &Measured) -> String {
    if measured.has_figures() { grouped(measured.rate()) } else { "errors".to_string() }
}

fn ratio_of(measured: &Measured, first: &Measured) -> String {
    match ratio(measured, first) {
        Some(ratio) if measured.has_figures() => format!("{ratio:.2}×"),
        _ => "–".to_string(),
    }
}

impl Page<'_> {
    /// Formatting into a string does not fail.
    fn put(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(text);
    }

    fn product(&self, subject: usize) -> String {
        self.subjects[subject].product().unwrap_or_else(|| "a server".to_string())
    }

    /// The name of a server with its colour, if there are several servers.
    fn labelled(&self, subject: usize) -> String {
        let colour = subject % COLOURS;
        let (name, product) = (self.options.name(subject), self.product(subject));
        let (name, product) = (Escaped(&name), Escaped(&product));
        format!("<span class=\"dot b{colour}\"></span>{product} <small>{name}</small>")
    }

    fn head(&mut self) {
        let products: Vec<String> = (0..self.subjects.len()).map(|subject| self.product(subject)).collect();
        let names: Vec<String> = (0..self.subjects.len()).map(|subject| self.options.name(subject)).collect();
        let (title, names) = (products.join(" and "), names.join(", "));
        let (title, names) = (Escaped(&title), Escaped(&names));
        let date = calendar::local_time(clock::wall_us() / 1000).to_string();
        let date = date.rsplit_once('.').map_or(date.as_str(), |(whole, _)| whole);
        self.put(format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Benchmark of {title}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
             <h1>Benchmark of {title}</h1>\n<p class=\"lead\">{names} · {date} · {}</p>\n",
            include_str!("page.css"),
            self.load(),
        ));
    }

    /// A short description of the load.
    fn load(&self) -> String {
        let options = self.options;
        let mut words = vec![format!("{} connections", options.clients)];
        match options.pace {
            Some(pace) => words.push(format!("{} requests a second", grouped(pace.rate))),
            None if options.pipeline > 1 => words.push(format!("pipelines of {}", options.pipeline)),
            None => {}
        }
        if self.options.rounds > 1 {
            words.push(format!("medians of {} rounds", options.rounds));
        }
        words.join(" · ")
    }

    /// A bar per test and server.
    fn overview(&mut self, titles: &[&str]) {
        let most = self
            .results
            .iter()
            .filter(|measured| measured.has_figures())
            .map(Measured::rate)
            .fold(1.0, f64::max);
        let compares = self.subjects.len() > 1;
        self.put(format_args!("<section class=\"card\">\n<h2>Throughput</h2>\n"));
        if compares {
            let labels: Vec<String> =
                (0..self.subjects.len()).map(|subject| self.labelled(subject)).collect();
            self.put(format_args!("<p class=\"lead\">{}</p>\n", labels.join(" &nbsp; ")));
        }
        self.put(format_args!("<div class=\"scroll\"><table>\n"));
        for title in titles {
            let all: Vec<&Measured> =
                self.results.iter().filter(|measured| measured.title == *title).collect();
            let Some(first) = all.first() else { continue };
            let name = Escaped(title.split(" (").next().unwrap_or(title)).to_string();
            self.put(format_args!("<tr><td>{name}</td><td class=\"bar\">"));
            for measured in &all {
                let width = if measured.has_figures() { measured.rate() / most * 100.0 } else { 0.0 };
                let colour = measured.subject % COLOURS;
                self.put(format_args!("<i class=\"b{colour}\" style=\"width:{width:.2}%\"></i>"));
            }
            let rates: Vec<String> = all.iter().map(|measured| rate_of(measured)).collect();
            self.put(format_args!("</td><td>{}</td>", rates.join("<br>")));
            if compares {
                let ratios: Vec<String> = all.iter().map(|measured| ratio_of(measured, first)).collect();
                self.put(format_args!("<td>{}</td>", ratios.join("<br>")));
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</table></div>\n</section>\n"));
    }

    /// A test with its figures, charts and percentiles.
    fn test(&mut self, all: &[&Measured]) {
        let Some(first) = all.first() else { return };
        self.put(format_args!("<section class=\"card\">\n<h2>{}</h2>\n", Escaped(&first.title)));
        let with_figures: Vec<&Measured> =
            all.iter().copied().filter(|measured| measured.has_figures()).collect();
        if !with_figures.is_empty() {
            self.findings(&with_figures, first);
        }
        for measured in all {
            self.remarks(measured);
        }
        self.put(format_args!("</section>\n"));
    }

    /// The results of a test, if at least one server gave more than errors; ratios are relative to `first`.
    fn findings(&mut self, all: &[&Measured], first: &Measured) {
        if let [only] = all {
            self.figures(only);
        }
        let typical: Vec<(usize, &Outcome)> =
            all.iter().map(|measured| (measured.subject, measured.typical())).collect();
        let over_time = over_time(&typical);
        let by_percentile = by_percentile(&typical);
        self.put(format_args!(
            "<div class=\"charts\">\n<figure style=\"margin:0\"><h3>Throughput over time</h3>\n{over_time}</figure>\n\
             <figure style=\"margin:0\"><h3>Latency by percentile</h3>\n{by_percentile}</figure>\n</div>\n"
        ));
        match all {
            [only] => self.percentiles(only),
            _ => self.comparison(all, first),
        }
    }

    fn figures(&mut self, measured: &Measured) {
        let round = measured.typical();
        let mut figures = vec![
            ("Requests a second", grouped(measured.rate())),
            ("Median latency", latency(measured.percentile_ms(50.0))),
            ("99 % below", latency(measured.percentile_ms(99.0))),
            ("Longest", latency(measured.percentile_ms(100.0))),
            ("Requests", grouped(round.tally.latencies.count() as f64)),
        ];
        if let Some(us) = measured.server_cpu_us() {
            figures.push(("Server CPU a request", format!("{us:.2} µs")));
        }
        if let Some((least, most)) = measured.spread() {
            figures.push((
                "Requests a second of all rounds",
                format!("{} to {}", grouped(least), grouped(most)),
            ));
        }
        figures.push(("Client CPU a request", format!("{:.2} µs", measured.client_cpu_us())));
        self.put(format_args!("<dl class=\"figures\">\n"));
        for (name, figure) in figures {
            self.put(format_args!("<div><dt>{name}</dt><dd>{figure}</dd></div>\n"));
        }
        self.put(format_args!("</dl>\n"));
    }

    /// The latencies of the only server, wrapped to as many lines as needed.
    fn percentiles(&mut self, measured: &Measured) {
        self.put(format_args!("<dl class=\"figures few\">\n"));
        for percent in PERCENTILES {
            let (name, figure) = (name_of_percentile(percent), latency(measured.percentile_ms(percent)));
            self.put(format_args!("<div><dt>{name}</dt><dd>{figure}</dd></div>\n"));
        }
        self.put(format_args!("</dl>\n"));
    }

    /// One column per server, so that compared figures are side by side.
    fn comparison(&mut self, all: &[&Measured], first: &Measured) {
        self.put(format_args!("<div class=\"scroll\"><table class=\"versus\">\n<tr><td></td>"));
        for measured in all {
            let label = self.labelled(measured.subject);
            self.put(format_args!("<th>{label}</th>"));
        }
        self.put(format_args!("</tr>\n"));
        self.row("requests a second", all, |measured| grouped(measured.rate()));
        self.row("ratio", all, |measured| ratio_of(measured, first));
        if all.iter().any(|measured| measured.rounds.len() > 1) {
            self.row("slowest round", all, |measured| grouped(measured.spread().unwrap_or_default().0));
            self.row("fastest round", all, |measured| grouped(measured.spread().unwrap_or_default().1));
        }
        let cpu = |us: f64| format!("{us:.2} µs");
        self.row("server CPU a request", all, |measured| {
            measured.server_cpu_us().map_or("–".to_string(), cpu)
        });
        for percent in FEW_PERCENTILES {
            let name = format!("latency, {}", name_of_percentile(percent));
            self.row(&name, all, |measured| latency(measured.percentile_ms(percent)));
        }
        self.put(format_args!("</table></div>\n"));
    }

    fn row(&mut self, name: &str, all: &[&Measured], figure: impl Fn(&Measured) -> String) {
        let figures: String = all
            .iter()
            .flat_map(|measured| ["<td>".to_string(), figure(measured), "</td>".to_string()])
            .collect();
        self.put(format_args!("<tr><td>{name}</td>{figures}</tr>\n"));
    }

    fn remarks(&mut self, measured: &Measured) {
        let name = match self.subjects.len() {
            1 => String::new(),
            _ => format!("{} {}: ", self.product(measured.subject), self.options.name(measured.subject)),
        };
        if !measured.has_figures() {
            let (name, replies) = (Escaped(&name), grouped(measured.replies() as f64));
            self.put(format_args!(
                "<p class=\"note\">{name}no result, all {replies} replies were errors</p>\n"
            ));
            return;
        }
        // The spread of the rounds is shown among the figures.
        for remark in
            remarks(self.options, measured).into_iter().filter(|remark| !remark.contains(" rounds, from "))
        {
            self.put(format_args!("<p class=\"note\">{}{}</p>\n", Escaped(&name), Escaped(&remark)));
        }
        let threads = self.options.threads.unwrap_or(1);
        if self.options.pace.is_none() && measured.client_load() > BUSY * threads as f64 {
            self.put(format_args!(
                "<p class=\"note\">The client was busy for {:.0} % of the time of its threads ({threads}): the throughput \
                 may be its limit and not the server's. More --threads help where there are processors.</p>\n",
                measured.client_load() / threads as f64 * 100.0
            ));
        }
    }

    /// The conditions of the measurement.
    fn conditions(&mut self, command_line: &str) {
        self.put(format_args!(
            "<section class=\"card\">\n<h2>Conditions</h2>\n<pre>{}</pre>\n<div class=\"two\">\n",
            Escaped(command_line)
        ));
        let options = self.options;
        let amount = match (options.requests, options.duration) {
            (Some(requests), None) => grouped(requests as f64),
            (Some(requests), Some(seconds)) => format!("{}, at most {seconds} s", grouped(requests as f64)),
            (None, seconds) => format!("for {} s", seconds.unwrap_or(0.0)),
        };
        let pace = match options.pace {
            Some(pace) if pace.is_poisson => format!("open, {} a second, Poisson", pace.rate),
            Some(pace) => format!("open, {} a second, even", pace.rate),
            None => "closed".to_string(),
        };
        let range = options.range.map_or("one key".to_string(), |range| grouped(range as f64));
        let settings = [
            ("requests of a test", amount),
            ("connections", options.clients.to_string()),
            ("threads", options.threads.unwrap_or(1).to_string()),
            ("pipeline", options.pipeline.to_string()),
            ("loop", pace),
            ("bytes of a value", options.size.to_string()),
            ("random keys", range),
            ("seed", options.seed.to_string()),
        ];
        self.facts("The load", settings.map(|(name, value)| (name.to_string(), value)).into());
        for index in 0..self.subjects.len() {
            let subject = &self.subjects[index];
            let facts =
                FACTS.iter().filter_map(|name| Some((name.to_string(), subject.fact(name)?.to_string())));
            let facts: Vec<_> = facts.chain(subject.configuration.iter().cloned()).collect();
            let name = self.options.name(index);
            self.facts(&name, facts);
        }
        self.put(format_args!(
            "</div>\n</section>\n<footer>Made by redstart benchmark {}. Latencies are measured in the client, from \
             {}.</footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
            if options.pace.is_some() { "the moment when a request was due" } else { "the moment when a request was sent" },
        ));
    }

    fn facts(&mut self, title: &str, facts: Vec<(String, String)>) {
        self.put(format_args!("<div><h3>{}</h3><table class=\"facts\">\n", Escaped(title)));
        for (name, value) in facts {
            self.put(format_args!("<tr><td>{}</td><td>{}</td></tr>\n", Escaped(&name), Escaped(&value)));
        }
        self.put(format_args!("</table></div>\n"));
    }
}

/// The replies per second in each interval.
fn over_time(rounds: &[(usize, &Outcome)]) -> String {
    let mut lines = Vec::new();
    for (subject, round) in rounds {
        let (width, intervals) = round.tally.timeline.intervals(MOMENTS);
        let mut points = Vec::new();
        for (index, interval) in intervals.iter().enumerate() {
            let begin = index as f64 * width;
            let lasted = (round.seconds - begin).min(width);
            if lasted >= width * LEAST_PART || points.is_empty() {
                points.push((begin + lasted / 2.0, interval.replies as f64 / lasted.max(1e-9)));
            }
        }
        // Extends the line to the whole run, and makes a single interval a line.
        if let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) {
            points.insert(0, (0.0, first.1));
            points.push((round.seconds, last.1));
        }
        lines.push(Line { colour: *subject, points });
    }
    let most =
        |of: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.points).map(of).fold(0.0, f64::max);
    let seconds = |value: f64| format!("{}", (value * 1000.0).round() / 1000.0);
    let mut x = Axis::linear("seconds", most(|point| point.0), seconds);
    // The axis ends with the run, not at a round number.
    x.to = most(|point| point.0).max(f64::MIN_POSITIVE);
    x.ticks.retain(|(value, _)| *value <= x.to);
    let y = Axis::linear("requests a second", most(|point| point.1), mark);
    chart("Requests a second over the seconds of the run", &x, &y, &lines, true)
}

/// Latencies over percentiles; 90, 99, 99.9 … are at equal distances.
fn by_percentile(rounds: &[(usize, &Outcome)]) -> String {
    let count = rounds.iter().map(|(_, round)| round.tally.latencies.count()).max().unwrap_or(0);
    let decades = (count.max(10) as f64).log10().min(6.0);
    let mut lines = Vec::new();
    for (subject, round) in rounds {
        let latencies = &round.tally.latencies;
        let steps = (decades * STEPS as f64) as usize;
        let point = |step: usize| {
            let at = step as f64 / STEPS as f64;
            let percent = 100.0 * (1.0 - 10f64.powf(-at));
            (at, latencies.percentile(percent).max(1) as f64 / 1000.0)
        };
        lines.push(Line { colour: *subject, points: (0..=steps).map(point).collect() });
    }
    let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.001, f64::max));
    let ms = |value: f64| match value {
        value if value >= 1000.0 => format!("{} s", value / 1000.0),
        value if value >= 1.0 => format!("{value:.0} ms"),
        value => format!("{:.0} µs", value * 1000.0),
    };
    let y = Axis::logarithmic("latency", least.min(most), most, ms);
    let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999"];
    let mut ticks: Vec<(f64, String)> =
        names.iter().enumerate().map(|(index, name)| (index as f64, name.to_string())).collect();
    ticks.insert(1, (2f64.log10(), "50".to_string()));
    ticks.retain(|(value, _)| *value <= decades);
    let x = Axis { label: "percentile", from: 0.0, to: decades, is_log: false, ticks };
    chart("Latency by percentile", &x, &y, &lines, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!((grouped(123.0), grouped(1000.0)), ("123".to_string(), "1,000".to_string()));
        assert_eq!([80_000.0, 1.5e6, 500.0, 2500.0].map(mark), ["80k", "1.5M", "500", "2.5k"]);
        assert_eq!(
            [0.0631, 1.0, 25.46, 512.0, 2100.0].map(latency),
            ["63 µs", "1.00 ms", "25.5 ms", "512 ms", "2.10 s"]
        );
    }
}
