//! Modes that measure: the format of their output, and when they print it.

use crate::support::server::subject_is_redis;
use crate::support::terminal::Terminal;
use crate::support::{Launch, Server};
use crate::{Watched, redis_cli, run, tool};

/// The numbers in a text.
fn numbers(text: &str) -> Vec<f64> {
    let parts = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// A text with `#` for each digit.
fn shape(text: &str) -> String {
    let mut shape: Vec<char> = text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    shape.dedup_by(|a, b| (*a, *b) == ('#', '#'));
    shape.into_iter().collect()
}

#[test]
fn latency_prints_one_line_where_no_terminal_watches() {
    let server = Server::start("");
    for (options, form) in [
        (&["-i", "0.1"][..], "# # #.# #\n"),
        (&["-i", "0.1", "--raw"], "# # #.# #\n"),
        (&["-i", "0.1", "--csv"], "#,#,#.#,#\n"),
        (&["-i", "0.1", "--json"], "{\"min\": #, \"max\": #, \"avg\": #.#, \"count\": #}\n"),
    ] {
        let arguments = [&["--latency"], options].concat();
        let run = run(tool(server.port(), &arguments), b"");
        assert_eq!((run.status, shape(&run.output).as_str(), run.errors.as_str()), (Some(0), form, ""));
        let [min, max, average, count] = numbers(&run.output)[..] else { panic!("{}", run.output) };
        assert!(min <= average && average <= max && count >= 1.0, "{}", run.output);
        if let Some(other) = redis_cli(server.port(), &arguments) {
            assert_eq!(shape(&self::run(other, b"").output), form, "{arguments:?}");
        }
    }
}

#[test]
fn latency_rewrites_its_line_on_a_terminal_until_it_is_interrupted() {
    let server = Server::start("");
    let mut terminal = Terminal::start(tool(server.port(), &["--latency"]), 80, 10);
    let first = terminal.wait_for("(1 samples)");
    assert_eq!(shape(&first), "\x1b[#G\x1b[#Kmin: #, max: #, avg: #.# ");
    terminal.wait_for("(20 samples)");
    assert_eq!(terminal.screen().lines().iter().filter(|line| !line.is_empty()).count(), 1);
    terminal.send("\x03");
    assert!(!terminal.wait_exit().success());
    assert!(terminal.is_restored());
}

#[test]
fn latency_history_ends_its_lines_with_their_range() {
    let server = Server::start("");
    let command = tool(server.port(), &["--latency-history", "-i", "0.05"]);
    let mut terminal = Terminal::start(command, 80, 10);
    for _ in 0..3 {
        let line = terminal.wait_for(" seconds range\r\n");
        let samples = numbers(line.rsplit_once('(').expect("a sample").1);
        assert!(samples.len() == 2 && samples[1] >= 0.05, "{line:?}");
    }
    let arguments = ["--latency-history", "-i", "0.05", "--csv"];
    let mut history = Watched::start(tool(server.port(), &arguments));
    assert_eq!(shape(&history.line()), "#,#,#.#,#");
    assert_eq!(shape(&history.line_with("range")), " -- #.# seconds range");
    assert!(history.line().ends_with(",1"));
}

#[test]
fn latencies_have_a_spectrum_of_colours() {
    let server = Server::start("");
    let arguments = ["--latency-dist", "-i", "0.05"];
    let mut spectrum = Watched::start(tool(server.port(), &arguments));
    let legend: Vec<String> = (0..8).map(|_| spectrum.line()).collect();
    assert_eq!(legend[1], ". - * #          .01 .125 .25 .5 milliseconds");
    assert_eq!(legend[5], "K,L,M,N,O,P,Q,?  1,2,4,8,16,30,60,>60 seconds");
    let line = spectrum.line();
    assert!(line.starts_with("\x1b[38;5;0m\x1b[48;5;") && line.ends_with("m?\x1b[0m"), "{line:?}");
    let characters: String =
        line.split('\x1b').filter_map(|part| part.split_once('m')?.1.chars().next()).collect();
    assert_eq!(characters, ".-*#123456789ABCDEFGHIJKLMNOPQ?");
    // The tool repeats the legend every twenty lines.
    for _ in 1..20 {
        assert!(spectrum.line().starts_with("\x1b[38;5;0m"));
    }
    assert_eq!((0..8).map(|_| spectrum.line()).collect::<Vec<_>>(), legend);

    let mut command = tool(server.port(), &arguments);
    command.env("NO_COLOR", "1");
    let mut spectrum = Watched::start(command);
    let legend: Vec<String> = (0..7).map(|_| spectrum.line()).collect();
    assert!(legend.iter().all(|line| !line.contains('\x1b')), "{legend:?}");
    let line = spectrum.line();
    assert!(line.ends_with('%') && !line.contains('\x1b'), "{line:?}");
}

#[test]
fn the_spectrums_legend_is_that_of_redis_cli() {
    let server = Server::start("");
    let Some(other) = redis_cli(server.port(), &["--latency-dist", "-i", "0.05"]) else { return };
    // redis-cli buffers its output if it is not a terminal.
    let mut theirs = Terminal::start(other, 200, 50);
    let mut ours = Terminal::start(tool(server.port(), &["--latency-dist", "-i", "0.05"]), 200, 50);
    assert_eq!(ours.wait_for("\x1b[38;5;0m"), theirs.wait_for("\x1b[38;5;0m"));
}

#[test]
fn intrinsic_latency_needs_no_server() {
    let port = crate::support::server::free_port();
    let run = run(tool(port, &["--intrinsic-latency", "0"]), b"");
    assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
    let (lines, summary) = run.output.split_once("\n\n").unwrap_or(("", run.output.trim_start()));
    assert!(lines.lines().all(|line| shape(line) == "Max latency so far: # microseconds."), "{lines}");
    assert_eq!(
        shape(summary),
        "# total runs (avg latency: #.# microseconds / #.# nanoseconds per run).\n\
         Worst run took #x longer than the average latency.\n"
    );
}

#[test]
fn intrinsic_latency_that_is_interrupted_has_a_summary() {
    let mut measurement = Watched::start(tool(1, &["--intrinsic-latency", "1000"]));
    measurement.line_with("Max latency so far");
    measurement.interrupt();
    let run = measurement.finish();
    assert_eq!(run.status, Some(0));
    assert!(run.output.contains(" total runs (avg latency: "), "{}", run.output);
}

const HEADING: [&str; 2] = [
    "------- data ------ --------------------- load -------------------- - child -",
    "keys       mem      clients blocked requests            connections          ",
];

#[test]
fn stat_prints_figures_line_by_line() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("MSET a 1 b 2");
    client.run("SELECT 3");
    client.run("SET c 3");
    let mut stat = Watched::start(tool(server.port(), &["--stat", "-i", "0.01"]));
    assert_eq!([stat.line(), stat.line()], HEADING);
    let first = stat.line();
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!((words[0], words[2], words[3], words[5]), ("3", "2", "0", "(+0)"), "{first}");
    let positions = [0, 11, 20, 28, 36, 56].map(|at| &first[at..=at]);
    assert!(positions.iter().all(|text| *text != " "), "{first}");
    let second = stat.line();
    assert_eq!(second.split_whitespace().nth(5), Some("(+1)"), "{second}");
    for _ in 2..20 {
        stat.line();
    }
    assert_eq!([stat.line(), stat.line()], HEADING);
}

#[test]
fn stat_goes_on_when_the_server_comes_back() {
    if subject_is_redis() {
        return;
    }
    let server = Server::start("");
    let mut stat = Watched::start(tool(server.port(), &["--stat", "-i", "0.01"]));
    stat.line_with("(+1)");
    let launch: Launch = server.stop();
    // The line ends with a carriage return, so the next one is on the same line of the output.
    let server = launch.start();
    server.client().run("MSET a 1 b 2");
    let line = stat.line_with("Reconnecting... 1\r");
    assert!(line.contains("\r\x1b[0K"), "{line:?}");
    assert!(stat.line_with("2          ").starts_with("2 "));
}

#[test]
fn the_cache_test_prints_hits_and_misses() {
    let server = Server::start("");
    let mut test = Watched::start(tool(server.port(), &["--lru-test", "100"]));
    for _ in 0..2 {
        let line = test.line();
        assert_eq!(shape(&line), "# Gets/sec | Hits: # (#.#%) | Misses: # (#.#%)");
        let [gets, hits, _, misses, _] = numbers(&line)[..] else { panic!("{line}") };
        assert!(gets > 0.0 && hits + misses == gets, "{line}");
    }
    let keys = server.client().run("DBSIZE").integer();
    assert!((10..=100).contains(&keys), "{keys} keys");
    drop(test);

    // A refused write does not count as stored.
    server.client().ok("CONFIG SET maxmemory 1");
    let run = run(tool(server.port(), &["--lru-test", "100"]), b"");
    assert_eq!(run.status, Some(1));
    assert!(run.errors.starts_with("OOM "), "{}", run.errors);
}
