//! A client for `metrics-port`, which splits a response into its parts, and a parser of the Prometheus text format.

use std::collections::BTreeMap;
use std::io;

use super::client::Client;

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A request for `path` that keeps the connection open.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A connection.
pub struct Http(Client);

impl Http {
    pub fn connect(port: u16) -> Http {
        Http(Client::tcp(port).expect("connect to the metrics port"))
    }

    /// The same over an existing connection.
    pub fn over(client: Client) -> Http {
        Http(client)
    }

    /// The response to one request on a separate connection.
    pub fn get(port: u16, path: &str) -> Response {
        Http::connect(port).ask(path)
    }

    pub fn ask(&mut self, path: &str) -> Response {
        self.send(&get(path));
        self.receive()
    }

    pub fn send(&mut self, bytes: &str) {
        self.try_send(bytes).expect("send");
    }

    pub fn try_send(&mut self, bytes: &str) -> io::Result<()> {
        self.0.send_raw(bytes.as_bytes())
    }

    pub fn receive(&mut self) -> Response {
        let mut response = self.receive_head();
        let len = response.headers["content-length"].parse().expect("a length");
        response.body = String::from_utf8(self.0.read_raw(len).expect("a body")).expect("text");
        response
    }

    /// A response without a body, as to `HEAD`.
    pub fn receive_head(&mut self) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.0.read_raw(1).expect("a head"));
        }
        let head = String::from_utf8(head).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().expect("the first line");
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
            (name.to_lowercase(), value.to_string())
        });
        let status = status.unwrap_or_else(|| panic!("no status: {first}"));
        Response { status, headers: headers.collect(), body: String::new() }
    }

    /// Reads until the server closes the connection.
    pub fn wait_closed(&mut self) -> String {
        String::from_utf8(self.0.wait_closed()).expect("text")
    }

    pub fn finish_sending(&mut self) {
        self.0.finish_sending();
    }
}

/// A sample: labels and value.
pub type Sample = (BTreeMap<String, String>, f64);

/// The metrics of a scrape.
#[derive(Default)]
pub struct Scrape {
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
    /// The samples by their names.
    pub samples: BTreeMap<String, Vec<Sample>>,
}

impl Scrape {
    /// Parses the text format. Panics where Prometheus would refuse it: an invalid line, a metric in two places, a
    /// sample without a metric, or a duplicate sample.
    pub fn read(text: &str) -> Scrape {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut scrape, mut family) = (Scrape::default(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(!help.is_empty() && !scrape.types.contains_key(name), "{line}");
                family = name.to_string();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, family, "HELP and TYPE go together");
                assert!(["gauge", "counter", "summary", "histogram"].contains(&kind), "{line}");
                scrape.types.insert(name.into(), kind.into());
            } else {
                let (name, sample) = read_sample(line);
                let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{line} in {family}"));
                assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line} in {family}");
                let samples = scrape.samples.entry(name).or_default();
                assert!(samples.iter().all(|(labels, _)| *labels != sample.0), "there twice: {line}");
                samples.push(sample);
            }
        }
        scrape
    }

    /// The value of the only sample of a metric.
    pub fn value(&self, name: &str) -> f64 {
        match self.samples.get(name).map(Vec::as_slice) {
            Some([(_, value)]) => *value,
            samples => panic!("{name}: {samples:?}"),
        }
    }

    /// The value of the sample with this label, if there is one.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        let mut samples = self.samples.get(name)?.iter();
        samples.find(|(labels, _)| labels.get(label).is_some_and(|it| it == value)).map(|(_, value)| *value)
    }
}

/// `name{label="value",…} 1.5`
fn read_sample(line: &str) -> (String, Sample) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let close = loop {
                match chars.next().unwrap_or_else(|| panic!("no end of a label: {line}")) {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, c @ ('\\' | '"'))) => value.push(c),
                        other => panic!("{other:?} behind a backslash: {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.insert(label.trim_start_matches(',').to_string(), value);
            rest = &after[close + 1..];
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_string(), (labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}"))))
}
