//! The table of `make compat`: for each command how many replies were compared, and how they compared.

use crate::differences;
use crate::effects;
use crate::pair::{Pair, Verdict};
use crate::support::{Value, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Replies of one command.
#[derive(Clone, Copy, Default)]
struct Counts {
    equal: u64,
    alike: u64,
    intended: u64,
    different: u64,
}

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::Alike => self.alike += 1,
            Verdict::Intended => self.intended += 1,
            Verdict::Different => self.different += 1,
        }
    }

    fn cells(&self) -> [u64; 5] {
        let cases = self.equal + self.alike + self.intended + self.different;
        [cases, self.equal, self.alike, self.intended, self.different]
    }
}

/// The findings of a run.
pub struct Report {
    /// The commands that the server under test has, as COMMAND LIST names them.
    names: BTreeSet<String>,
    peer: Version,
    rows: BTreeMap<String, Counts>,
    /// Replies compared by each part of the run.
    parts: BTreeMap<&'static str, u64>,
}

impl Report {
    pub fn new(pair: &Pair) -> Report {
        let listed = pair.subject.client().run("COMMAND LIST").elements();
        let names = listed.iter().map(Value::text).collect();
        Report { names, peer: pair.peer, rows: BTreeMap::new(), parts: BTreeMap::new() }
    }

    /// Counts a reply to `args` under the command's name, if a server has the command and it is in `only`.
    pub fn count(&mut self, args: &[Vec<u8>], verdict: Verdict, part: &'static str, only: &[String]) {
        let word = |at: usize| {
            args.get(at).map(|arg| String::from_utf8_lossy(arg).to_lowercase()).unwrap_or_default()
        };
        let with_subcommand = format!("{}|{}", word(0), word(1));
        let name = if self.names.contains(&with_subcommand) { with_subcommand } else { word(0) };
        let wanted = only.is_empty() || only.contains(&name) || verdict == Verdict::Different;
        if wanted && (self.names.contains(&name) || verdict == Verdict::Different) {
            self.count_of(&name, verdict, part);
        }
    }

    /// Counts a reply to the command `name`.
    pub fn count_of(&mut self, name: &str, verdict: Verdict, part: &'static str) {
        self.rows.entry(name.to_string()).or_default().add(verdict);
        *self.parts.entry(part).or_default() += 1;
    }

    /// Counts commands whose events and propagated calls were compared.
    pub fn count_effects(&mut self, commands: usize) {
        *self.parts.entry("effects").or_default() += commands as u64;
    }

    /// Replies that differ unintentionally.
    pub fn differences(&self) -> u64 {
        self.rows.values().map(|counts| counts.different).sum()
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.rows.values() {
            total.equal += counts.equal;
            total.alike += counts.alike;
            total.intended += counts.intended;
            total.different += counts.different;
        }
        total
    }

    /// The names as typed, with their counts; the last line is the sum.
    fn lines(&self) -> Vec<(String, [u64; 5])> {
        let typed = |name: &str| name.to_uppercase().replace('|', " ");
        let mut lines: Vec<_> =
            self.rows.iter().map(|(name, counts)| (typed(name), counts.cells())).collect();
        lines.push(("all".into(), self.total().cells()));
        lines
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{:<28}{:>10}{:>10}{:>8}{:>10}{:>11}\n",
            "command", "cases", "equal", "alike", "intended", "different"
        );
        for (name, [cases, equal, alike, intended, different]) in self.lines() {
            let _ = writeln!(out, "{name:<28}{cases:>10}{equal:>10}{alike:>8}{intended:>10}{different:>11}");
        }
        out
    }

    /// The same as Markdown, with the reasons for each comparison that is not byte for byte.
    fn markdown(&self) -> String {
        let part = |name: &str| grouped(self.parts.get(name).copied().unwrap_or_default());
        let mut out = format!(
            "Beside `redis-server` {}: {} replies to the lines of the scripts, {} to calls built from `COMMAND DOCS`, {} to \
             random commands; in RESP2 and RESP3. Keyspace events and propagated calls after {} commands. What several clients \
             receive after {} acts.\n\n",
            self.peer,
            part("scripts"),
            part("calls"),
            part("random"),
            part("effects"),
            part("clients")
        );
        out.push_str(
            "| command | cases | equal | alike | intended | different |\n|---|---:|---:|---:|---:|---:|\n",
        );
        for (name, cells) in self.lines() {
            let cells: Vec<String> = cells.iter().map(|n| grouped(*n)).collect();
            let name = if name == "all" { "**all**".into() } else { format!("`{name}`") };
            let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
        }
        out.push_str("\nIntended differences:\n\n| command | reason |\n|---|---|\n");
        for (command, reason) in differences::intended_ones(self.peer) {
            let _ = writeln!(out, "| `{command}` | {reason} |");
        }
        out.push_str(
            "\nIntended differences of events and propagated calls:\n\n| command | reason |\n|---|---|\n",
        );
        for (command, reason) in effects::reviewed::intended_ones(self.peer) {
            let _ = writeln!(out, "| `{command}` | {reason} |");
        }
        out.push_str("\nAlike is enough for generated calls of these:\n\n| command | reason |\n|---|---|\n");
        for (command, reason) in differences::shapes() {
            let _ = writeln!(out, "| `{command}` | {reason} |");
        }
        out.push_str("\nNo calls are generated of these, which scripts and tests of their own call:\n\n| command | reason |\n|---|---|\n");
        for (command, reason) in
            differences::NOT_GENERATED.iter().filter(|(name, _)| self.names.contains(*name))
        {
            let _ = writeln!(out, "| `{}` | {reason} |", command.to_uppercase().replace('|', " "));
        }
        out
    }

    /// Replaces the tables between the marks for the release of this Redis in a page.
    pub fn write(&self, page: &Path) {
        let mark = |place| format!("<!-- compat {}:{place} -->", self.peer.release());
        let (start, end) = (mark("start"), mark("end"));
        let text = std::fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        let (before, rest) =
            text.split_once(&start).unwrap_or_else(|| panic!("no {start} in {}", page.display()));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end} in {}", page.display()));
        let text = format!("{before}{start}\n\n{}\n{end}{after}", self.markdown());
        std::fs::write(page, text).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    }
}

/// A number with separated thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
