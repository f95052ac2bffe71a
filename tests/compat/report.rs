//! The table of `make compat`: for each command how many replies were compared, and how they compared.

use crate::cluster::{self, SCENES, Scene};
use crate::differences;
use crate::effects;
use crate::pair::{Pair, Verdict};
use crate::roles::{self, Role};
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
    /// Replies of servers in a role or in a scene of a cluster, by its title.
    places: BTreeMap<&'static str, Counts>,
}

impl Report {
    pub fn new(pair: &Pair) -> Report {
        let listed = pair.subject.client().run("COMMAND LIST").elements();
        let names = listed.iter().map(Value::text).collect();
        Report {
            names,
            peer: pair.peer,
            rows: BTreeMap::new(),
            parts: BTreeMap::new(),
            places: BTreeMap::new(),
        }
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

    /// Counts a reply of a server in the role or scene with the title `place`.
    pub fn count_in(&mut self, place: &'static str, verdict: Verdict) {
        self.places.entry(place).or_default().add(verdict);
    }

    /// Counts commands whose events and propagated calls were compared.
    pub fn count_effects(&mut self, commands: usize) {
        *self.parts.entry("effects").or_default() += commands as u64;
    }

    /// Replies that differ unintentionally.
    pub fn differences(&self) -> u64 {
        self.rows.values().chain(self.places.values()).map(|counts| counts.different).sum()
    }

    /// The names as typed, with their counts; the last line is the sum.
    fn lines(&self) -> Vec<(String, [u64; 5])> {
        let typed = |name: &str| format!("`{}`", name.to_uppercase().replace('|', " "));
        with_total(self.rows.iter().map(|(name, counts)| (typed(name), counts.cells())).collect())
    }

    /// The roles and scenes, with their counts; the last line is the sum.
    fn lines_of_places(&self) -> Vec<(String, [u64; 5])> {
        let titles = roles::all().into_iter().map(Role::title).chain(SCENES.map(Scene::title));
        let found = titles.filter_map(|title| Some((title.to_string(), self.places.get(title)?.cells())));
        with_total(found.collect())
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{:<74}{:>10}{:>10}{:>8}{:>10}{:>11}\n",
            "", "cases", "equal", "alike", "intended", "different"
        );
        let tables = [(self.rows.is_empty(), self.lines()), (self.places.is_empty(), self.lines_of_places())];
        let lines = tables.into_iter().filter(|(is_empty, _)| !is_empty).flat_map(|(_, lines)| lines);
        for (name, [cases, equal, alike, intended, different]) in lines {
            let name = name.replace(['`', '*'], "");
            let _ = writeln!(out, "{name:<74}{cases:>10}{equal:>10}{alike:>8}{intended:>10}{different:>11}");
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
        out.push_str(&rows("command", &self.lines()));
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

    /// The table of roles and scenes, with the reasons for intended differences.
    fn markdown_of_places(&self) -> String {
        let mut out = format!("Beside `redis-server` {}:\n\n", self.peer);
        out.push_str(&rows("server", &self.lines_of_places()));
        out.push_str("\nIntended differences:\n\n| server | command | reason |\n|---|---|---|\n");
        let of_roles =
            roles::REVIEWED.iter().map(|(role, words, reason)| (role.title().to_string(), words, reason));
        let of_scenes = cluster::REVIEWED.iter().map(|(scenes, words, reason)| {
            let titles: Vec<_> = scenes.iter().map(|scene| scene.title()).collect();
            (titles.join("; "), words, reason)
        });
        for (title, words, reason) in of_roles.chain(of_scenes) {
            let _ = writeln!(out, "| {title} | `{words}` | {reason} |");
        }
        out
    }

    /// Replaces, in a page, the tables between the marks for the release of this Redis, as far as this run has compared
    /// something for them.
    pub fn write(&self, page: &Path) {
        let mut text = std::fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        let release = self.peer.release();
        if !self.rows.is_empty() {
            replace(&mut text, &release, &self.markdown());
        }
        if !self.places.is_empty() {
            replace(&mut text, &format!("roles {release}"), &self.markdown_of_places());
        }
        std::fs::write(page, text).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    }
}

/// Replaces the text between the marks with this name.
fn replace(text: &mut String, name: &str, by: &str) {
    let mark = |place| format!("<!-- compat {name}:{place} -->\n");
    let (start, end) = (mark("start"), mark("end"));
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no {start}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    *text = format!("{before}{start}\n{by}\n{end}{after}");
}

/// Appends the sum of all lines.
fn with_total(mut lines: Vec<(String, [u64; 5])>) -> Vec<(String, [u64; 5])> {
    let sum = |column: usize| lines.iter().map(|(_, cells)| cells[column]).sum();
    let total = std::array::from_fn(sum);
    lines.push(("**all**".into(), total));
    lines
}

/// A table in Markdown.
fn rows(title: &str, lines: &[(String, [u64; 5])]) -> String {
    let mut out = format!(
        "| {title} | cases | equal | alike | intended | different |\n|---|---:|---:|---:|---:|---:|\n"
    );
    for (name, cells) in lines {
        let cells: Vec<String> = cells.iter().map(|n| grouped(*n)).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out
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
