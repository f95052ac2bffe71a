//! Screens of a simulated server, at several sizes.

use std::time::Duration;

use super::super::canvas::{Canvas, Size};
use super::super::keys::Key;
use super::super::sample::Sample;
use super::super::source::{Failure, Poll, Settings, Slow};
use super::super::state::State;

/// Returns the INFO of a server after `seconds` of load: of 1,000 GET per second one in four misses, and of 100 SET one
/// fails.
fn info(seconds: u64) -> String {
    let (gets, sets) = (seconds * 1000, seconds * 100);
    format!(
        "redis_version:7.2.4\nredstart_version:0.1.0\nredis_mode:standalone\nos:Linux 6.1 x86_64\nprocess_id:42\n\
        run_id:a\ntcp_port:6379\nuptime_in_seconds:{}\nserver_time_usec:{}000000\nconnected_clients:50\n\
        maxclients:10000\nblocked_clients:3\ntracking_clients:0\nused_memory:52428800\n\
        used_memory_peak:62914560\nused_memory_rss:73400320\nmaxmemory:104857600\n\
        maxmemory_policy:allkeys-lru\nmem_fragmentation_ratio:1.40\nrdb_changes_since_last_save:1234\n\
        rdb_last_save_time:1700000000\naof_enabled:1\naof_current_size:1048576\n\
        total_commands_processed:{}\ntotal_net_input_bytes:{}\nkeyspace_hits:{}\nkeyspace_misses:{}\n\
        expired_keys:{}\ntotal_error_replies:{seconds}\nrole:master\nused_cpu_user:{}\n\
        cmdstat_get:calls={gets},usec={gets}\n\
        cmdstat_set:calls={sets},usec={},failed_calls={seconds}\n\
        cmdstat_config|get:calls=3,usec=30\nerrorstat_OOM:count={seconds}\n\
        db0:keys=1234567,expires=1000,avg_ttl=60000\ndb3:keys={seconds},expires=0,avg_ttl=0\n",
        273_906 + seconds,
        1_700_000_300 + seconds,
        gets + sets,
        gets * 40,
        gets / 4 * 3,
        gets / 4,
        seconds * 12,
        seconds as f64 * 0.25,
        sets * 5,
    )
}

fn poll(seconds: u64) -> Poll {
    let words = [&b"keys"[..], b"user:* \n", "höhe".as_bytes()].map(<[u8]>::to_vec).to_vec();
    Poll {
        sample: Sample::parse(&info(seconds), Duration::from_secs(seconds)),
        slow: vec![Slow {
            id: 1,
            at_s: 1_700_000_000,
            usec: 12_345,
            words,
            client: "10.0.0.1:5000".to_string(),
            name: String::new(),
        }],
        waited: Duration::from_micros(400),
        settings: Settings {
            appendfsync: "everysec".to_string(),
            slower_than_us: Some(10_000),
            ..Settings::default()
        },
        ..Poll::default()
    }
}

fn state() -> State {
    let mut state = State::new("localhost:6379".to_string(), Duration::from_secs(1));
    for seconds in 1..=60 {
        state.receive(Ok(poll(seconds)));
    }
    state
}

fn picture_of(state: &mut State, columns: usize, rows: usize, ascii: bool) -> Vec<String> {
    let mut canvas = Canvas::new(Size { columns, rows }, ascii);
    state.page = super::draw(state, &mut canvas);
    canvas.lines()
}

fn picture(state: &mut State, columns: usize, rows: usize) -> Vec<String> {
    picture_of(state, columns, rows, false)
}

fn has(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

/// Returns the first words of the rows of the table that begins with `head`.
fn rows(lines: &[String], head: &str) -> Vec<String> {
    let table = lines.iter().skip_while(|line| !line.starts_with(head)).skip(1);
    let first = |line: &String| line.split_whitespace().next().map(String::from);
    table.map_while(first).collect()
}

#[test]
fn eighty_by_twenty_four_has_everything() {
    let lines = picture(&mut state(), 80, 24);
    assert_eq!(lines.len(), 24);
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
    for part in [
        "localhost:6379 · Redstart 0.1.0 (Redis 7.2.4) · master · up 3d 04:06:06",
        "standalone · port 6379",
        "pid 42",
        "1.10k",
        "75.0 %",
        "25.0 %",
        "1.36 µs",
        "39.1 KB/s",
        "50.0 MB of 100 MB",
        "60.0 MB peak",
        "1.40 frag",
        "50 of 10,000",
        "3 blocked",
        "1,234,627 in 2 databases",
        "12 expired/s",
        "snapshot 6m ago",
        "1,234 changes since",
        "aof 1.00 MB, everysec",
        "1 OOM/s",
        "12.3 ms",
        r#"keys "user:* \n" höhe"#,
        "over 10.0 ms",
        " q quit",
    ] {
        assert!(has(&lines, part), "{part}\n{}", lines.join("\n"));
    }
    assert_eq!(rows(&lines, " command")[..3], ["get", "set", "config"]);
    assert!(has(&lines, "history") && has(&lines, "▁") && has(&lines, "█"));
}

#[test]
fn a_column_sorts_the_commands() {
    let mut state = state();
    let mut order = |keys: &str| {
        keys.chars().for_each(|key| _ = state.press(Key::Char(key)));
        let lines = picture(&mut state, 80, 24);
        let head = lines.iter().find(|line| line.starts_with(" command")).cloned().unwrap();
        (rows(&lines, " command")[..3].join(" "), head)
    };
    let (names, head) = order("");
    assert!(names == "get set config" && head.contains("calls/s▼"), "{names} {head}");
    let (names, head) = order("s");
    assert!(names == "get set config" && head.contains("cpu▼"), "{names} {head}");
    let (names, head) = order("s");
    assert!(names == "set get config" && head.contains("µs/call▼"), "{names} {head}");
    let (names, _) = order("s");
    assert_eq!(names, "set get config");
    let (names, head) = order(">");
    assert!(names == "config get set" && head.contains("command▲"), "{names} {head}");
    let (names, head) = order("r");
    assert!(names == "set get config" && head.contains("command▼"), "{names} {head}");
}

#[test]
fn a_small_terminal_has_the_most_important_figures() {
    let lines = picture(&mut state(), 40, 10);
    for part in ["localhost:6379", "ops/s", "1.10k", "hits", "memory", "clients", "calls/s▼", "get"] {
        assert!(has(&lines, part), "{part}\n{}", lines.join("\n"));
    }
}

#[test]
fn no_size_breaks_the_picture_with_or_without_a_server() {
    let nodes = with_replication(&format!("{PRIMARY}{CONFIRMATION}"));
    let mut states = [state(), nodes, State::new("localhost:6379".to_string(), Duration::from_secs(1))];
    for state in &mut states {
        for key in [' ', ' ', 'l', 'd', 'n', 'h'] {
            state.press(Key::Char(key));
            for columns in [0, 1, 2, 10, 19, 39, 59, 60, 69, 100, 129, 130, 500] {
                for rows in [0, 1, 2, 3, 8, 9, 13, 19, 23, 40, 200] {
                    assert_eq!(picture(state, columns, rows).len(), if columns == 0 { 0 } else { rows });
                }
            }
        }
    }
}

#[test]
fn a_large_terminal_has_high_charts_and_two_columns() {
    let lines = picture(&mut state(), 200, 60);
    let heads = lines.iter().filter(|line| line.starts_with(" command"));
    assert!(heads.clone().all(|line| line.contains("database") && line.contains("history")));
    assert_eq!(heads.count(), 1);
    assert!(has(&lines, "max 1.10k") && has(&lines, "+1"));
    assert!(has(&lines, "slow log") && has(&lines, r#"keys "user:* \n" höhe"#));
    let charts = lines.iter().find(|line| line.starts_with(" ops/s")).unwrap();
    assert!(charts.contains("hits") && charts.contains("latency"), "{charts}");
    // The slow log has room for the client only in the main part.
    let mut state = state();
    state.press(Key::Char('l'));
    assert!(has(&picture(&mut state, 200, 60), "10.0.0.1:5000"));
}

#[test]
fn in_ascii_there_is_nothing_else() {
    let lines = picture_of(&mut state(), 160, 50, true);
    assert!(lines.iter().all(|line| line.is_ascii()), "{}", lines.join("\n"));
    assert!(has(&lines, "us/call") && has(&lines, "calls/sv") && has(&lines, "#"));
}

#[test]
fn a_server_that_is_gone_is_named_with_the_reason_and_its_figures_stay() {
    let mut state = state();
    state.receive(Err(Failure {
        text: "Could not connect to Redis at localhost:6379: Connection refused".to_string(),
        busy: false,
    }));
    state.silence = Duration::from_secs(5);
    let lines = picture(&mut state, 80, 24);
    assert_eq!(lines[0].trim_end(), " localhost:6379 · Connection refused · last seen 5s ago · trying again");
    assert!(has(&lines, "1.10k"));
    let mut dim = Canvas::new(Size { columns: 80, rows: 24 }, false);
    super::draw(&state, &mut dim);
    let mut bytes = Vec::new();
    dim.update(None, true, &mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    // The first line is an alarm, the last one the frame, and everything between them is dim.
    let styles: Vec<&str> =
        text.split("\x1b[").filter_map(|part| part.split_once('m')).map(|p| p.0).collect();
    assert_eq!(
        styles.iter().filter(|style| style.starts_with("0;")).collect::<Vec<_>>(),
        [&"0;1;97;41", &"0;90", &"0;97;44"]
    );
    state.receive(Ok(poll(61)));
    assert!(picture(&mut state, 80, 24)[0].contains("up 3d"));
}

#[test]
fn what_is_too_long_for_a_line_ends_with_an_ellipsis_and_no_key_is_cut() {
    let mut state = state();
    let lines = picture(&mut state, 80, 24);
    assert!(lines[23].ends_with("d databases  n nodes") && lines[23].contains("h help"), "{}", lines[23]);
    let lines = picture(&mut state, 50, 24);
    assert_eq!(lines[23].trim_end(), " q quit  h help  p pause  -/+ interval  s/r sort");
    assert!(lines[0].ends_with('…') && lines[1].ends_with('…'), "{}\n{}", lines[0], lines[1]);
    state.press(Key::Char('h'));
    for line in picture(&mut state, 80, 24).iter().skip(5).take(13) {
        assert!(line.starts_with("      ") || line.trim().is_empty(), "beside the help: {line}");
    }
}

#[test]
fn views_take_the_main_part_in_turn() {
    let mut state = state();
    state.press(Key::Char('d'));
    assert_eq!(rows(&picture(&mut state, 80, 24), " database")[..2], ["db0", "db3"]);
    state.press(Key::Char('l'));
    let lines = picture(&mut state, 80, 24);
    assert!(!has(&lines, "calls/s▼") && has(&lines, "took"));
    state.press(Key::Escape);
    assert!(has(&picture(&mut state, 80, 24), "calls/s▼"));
    state.press(Key::Char('h'));
    assert!(has(&picture(&mut state, 80, 24), "any key closes this"));
    state.press(Key::Char('x'));
    state.press(Key::Char(' '));
    assert!(picture(&mut state, 80, 24)[0].ends_with("paused"));
}

const PRIMARY: &str = "connected_slaves:3\n\
    slave0:ip=10.0.0.2,port=6379,state=online,offset=1047552,lag=1\n\
    slave1:ip=2001:db8:85a3:8d3:1319:8a2e:370:7348,port=6380,state=online,offset=524288,lag=12\n\
    slave2:ip=10.0.0.4,port=6381,state=send_bulk,offset=0,lag=0\n\
    master_failover_state:no-failover\nmaster_repl_offset:1048576\n";
const CONFIRMATION: &str = "min_slaves_good_slaves:1\nconfirmed_repl_offset:1048000\nwithheld_replies:4\n\
    unconfirmed_replies_dropped:2\n";
const REPLICA: &str = "role:slave\nmaster_host:10.0.0.1\nmaster_port:6379\nslave_repl_offset:4096\n\
    slave_read_repl_offset:5120\nmaster_repl_offset:5120\n";

/// A server with these fields in the section Replication.
fn with_replication(text: &str) -> State {
    let mut state = State::new("localhost:6379".to_string(), Duration::from_secs(1));
    for seconds in 1..=2 {
        // Of two fields of a name, the last one counts.
        let info = format!("{}{text}", info(seconds));
        let sample = Sample::parse(&info, Duration::from_secs(seconds));
        state.receive(Ok(Poll { sample, ..poll(seconds) }));
    }
    state
}

/// Returns the cells of the line that begins with a label or an address.
fn line_of<'a>(lines: &'a [String], label: &str) -> &'a str {
    let found = lines.iter().find(|line| line.trim_start().starts_with(label));
    found.unwrap_or_else(|| panic!("{label}\n{}", lines.join("\n")))
}

#[test]
fn a_server_without_replication_has_no_line_for_it() {
    let mut alone = state();
    let lines = picture(&mut alone, 80, 24);
    assert!(!has(&lines, "replica") && !has(&lines, "confirm"));
    alone.press(Key::Char('n'));
    assert!(has(&picture(&mut alone, 80, 24), "neither a primary nor replicas"));
}

#[test]
fn a_primary_shows_the_worst_replica_and_in_the_table_each_one() {
    let mut state = with_replication(PRIMARY);
    let lines = picture(&mut state, 80, 24);
    assert_eq!(
        line_of(&lines, "replicas").trim(),
        "replicas 3 connected  1 synchronizing  512 KB behind  12s lag  1,048,576 offset"
    );
    state.press(Key::Char('n'));
    let lines = picture(&mut state, 80, 24);
    let head: Vec<&str> = line_of(&lines, "address").split_whitespace().collect();
    assert_eq!(head, ["address", "role", "state", "behind", "lag", "offset"]);
    let cells = |label: &str| line_of(&lines, label).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(cells("10.0.0.2:"), "10.0.0.2:6379 replica online 1.00 KB 1s 1,047,552");
    assert_eq!(cells("10.0.0.4:"), "10.0.0.4:6381 replica send_bulk – – 0");
    assert!(cells("[2001:").ends_with("… replica online 512 KB 12s 524,288"), "{}", cells("[2001:"));
    // Where there is room, the address is whole, and the table is beside the commands.
    assert!(has(&picture(&mut state, 120, 24), "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:6380"));
    state.press(Key::Escape);
    let lines = picture(&mut state, 200, 60);
    assert!(has(&lines, "slow log") && has(&lines, "10.0.0.4:6381"), "{}", lines.join("\n"));
}

#[test]
fn confirmation_and_missing_replicas_are_shown() {
    let lines = picture(&mut with_replication(&format!("{PRIMARY}{CONFIRMATION}")), 80, 24);
    assert_eq!(
        line_of(&lines, "confirm").trim(),
        "confirm  576 B unconfirmed  1,048,000 offset  4 replies wait  2 dropped ever"
    );
    assert!(line_of(&lines, "replicas").contains("1 good"));
    let waiting = "connected_slaves:0\nmin_slaves_good_slaves:0\nconfirmed_repl_offset:-1\n\
                   master_failover_state:failover-in-progress\n";
    let lines = picture(&mut with_replication(waiting), 80, 24);
    assert!(line_of(&lines, "replicas").contains("0 connected  failover in progress  0 good"));
    assert!(line_of(&lines, "confirm").contains("nothing  0 replies wait"));
}

#[test]
fn a_replica_shows_its_link_and_how_far_the_synchronization_is() {
    let shown = |text: &str| {
        let mut state = with_replication(&format!("{REPLICA}{text}"));
        let line = line_of(&picture(&mut state, 80, 24), "replica").trim().to_string();
        state.press(Key::Char('n'));
        let row = line_of(&picture(&mut state, 80, 24), "10.0.0.1:6379").to_string();
        (line, row.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (line, row) = shown("master_link_status:up\nmaster_last_io_seconds_ago:2\n");
    assert_eq!(line, "replica  of 10.0.0.1:6379  link up  2s lag  1.00 KB not applied  4,096 offset");
    assert_eq!(row, "10.0.0.1:6379 primary up 1.00 KB 2s 5,120");
    let (line, row) = shown("master_link_status:down\nmaster_link_down_since_seconds:75\n");
    assert_eq!(line, "replica  of 10.0.0.1:6379  link down 1m  4,096 offset");
    assert_eq!(row, "10.0.0.1:6379 primary down 1m – – 5,120");
    let syncing = "master_link_status:down\nmaster_sync_in_progress:1\nmaster_sync_read_bytes:1048576\n";
    let (line, row) = shown(&format!("{syncing}master_sync_total_bytes:4194304\n"));
    assert!(line.contains("link down  1.00 MB of 4.00 MB, 25.0 %"), "{line}");
    assert_eq!(row, "10.0.0.1:6379 primary sync 25.0 % – – 5,120");
    let (line, row) = shown(&format!("{syncing}master_sync_last_io_seconds_ago:15\n"));
    assert!(line.contains("1.00 MB received, nothing for 15s"), "{line}");
    assert_eq!(row, "10.0.0.1:6379 primary sync 1.00 MB – 15s 5,120");
}

#[test]
fn the_table_of_nodes_leaves_out_columns_in_a_narrow_terminal() {
    let mut state = with_replication(PRIMARY);
    state.press(Key::Char('n'));
    for (columns, heads) in [
        (20, "address"),
        (30, "address state"),
        (39, "address state lag"),
        (50, "address state behind lag"),
        (62, "address state behind lag offset"),
        (72, "address role state behind lag offset"),
    ] {
        let lines = picture(&mut state, columns, 12);
        let head = line_of(&lines, "address").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(head, heads, "{columns}");
        assert!(lines.iter().all(|line| line.chars().count() <= columns));
    }
    // The second of three rows is the first one shown.
    state.page = super::super::state::Page { shown: 1, total: 3 };
    state.press(Key::Down);
    let lines = picture(&mut state, 72, 5);
    assert!(lines.len() == 5 && !has(&lines, "10.0.0.2"), "{}", lines.join("\n"));
}
