//! The text format in which Prometheus receives metrics, version 0.0.4.
//!
//! ```text
//!   # HELP redis_commands_total Executions of a command.
//!   # TYPE redis_commands_total counter
//!   redis_commands_total{cmd="get"} 7
//! ```
//!
//! Everything is appended to one buffer, without an allocation a line.

use crate::text::number;

/// The type of a metric.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It goes up, until the server starts again or its statistics are reset.
    Counter,
    /// Quantiles, a sum and a count.
    Summary,
    /// Counts up to some bounds, a sum and a count.
    Histogram,
}

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A writer of the format.
pub struct Exposition<'a> {
    out: &'a mut Vec<u8>,
}

impl Exposition<'_> {
    /// Appends to `out`.
    pub fn new(out: &mut Vec<u8>) -> Exposition<'_> {
        Exposition { out }
    }

    /// Begins a metric, whose samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        };
        for text in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.push_text(text);
        }
    }

    /// Begins a sample without labels.
    pub fn begin_sample(&mut self, name: &str, suffix: &str) {
        for text in [name, suffix, " "] {
            self.push_text(text);
        }
    }

    /// Begins a sample with labels.
    pub fn begin_labelled(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)]) {
        self.push_text(name);
        self.push_text(suffix);
        let mut before = "{";
        for (label, value) in labels {
            for text in [before, label, "=\""] {
                self.push_text(text);
            }
            self.push_escaped(value);
            before = "\",";
        }
        self.push_text("\"} ");
    }

    /// Ends a sample, after its value.
    pub fn end_sample(&mut self) {
        self.out.push(b'\n');
    }

    /// A metric of one sample, a whole number.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.begin_sample(name, "");
        self.push_u64(value);
        self.end_sample();
    }

    /// A sample with labels, a whole number.
    pub fn labelled(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.begin_labelled(name, suffix, labels);
        self.push_u64(value);
        self.end_sample();
    }

    /// Writes a sample with labels: a time in microseconds, written in seconds.
    pub fn labelled_micros(&mut self, name: &str, labels: &[(&str, &str)], micros: u64) {
        self.begin_labelled(name, "", labels);
        self.push_micros(micros);
        self.end_sample();
    }

    /// A value as it is.
    pub fn push_text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A whole number.
    pub fn push_u64(&mut self, value: u64) {
        number::push_u64(self.out, value);
    }

    /// A number.
    pub fn push_f64(&mut self, value: f64) {
        number::push_f64(self.out, value);
    }

    /// Microseconds, as seconds.
    pub fn push_micros(&mut self, micros: u64) {
        self.push_decimal(micros, 6);
    }

    /// Appends a number whose last `digits` are decimal places.
    pub fn push_decimal(&mut self, value: u64, digits: u32) {
        let unit = 10_u64.pow(digits);
        self.push_u64(value / unit);
        // A leading one keeps the zeroes behind it; the dot takes its place.
        let at = self.out.len();
        self.push_u64(unit + value % unit);
        self.out[at] = b'.';
    }

    fn push_escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\\' => self.push_text("\\\\"),
                b'"' => self.push_text("\\\""),
                b'\n' => self.push_text("\\n"),
                byte => self.out.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_and_times_are_in_seconds() {
        let mut bytes = Vec::new();
        let mut out = Exposition::new(&mut bytes);
        out.labelled("a", "_b", &[("x", "\\ \"\n"), ("y", "é")], 7);
        out.labelled_micros("t", &[("x", "")], 12_000_034);
        out.single("s", Kind::Counter, "Help.", 0);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "a_b{x=\"\\\\ \\\"\\n\",y=\"é\"} 7\nt{x=\"\"} 12.000034\n# HELP s Help.\n# TYPE s counter\ns 0\n"
        );
    }
}
