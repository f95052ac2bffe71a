//! Interaction with the system: supervisor, the kernel's OOM score, process title, CPU lists, syslog.
#![cfg(target_os = "linux")]

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use support::{DEADLINE, Launch, Server, Value, eventually, status_field};

fn oom_score(pid: u32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("the score");
    text.trim().parse().expect("a number")
}

fn threads(pid: u32) -> Vec<(String, String)> {
    let all = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    all.filter_map(|task| {
        let path = task.ok()?.path();
        let name = fs::read_to_string(path.join("comm")).ok()?.trim().to_string();
        let status = fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some((name, line.trim().to_string()))
    })
    .collect()
}

#[test]
fn systemd_is_notified_of_the_start_and_the_end() {
    for supervised in ["systemd", "auto"] {
        let launch = Launch::subject();
        let path = launch.directory().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut server = launch
            .environment("NOTIFY_SOCKET", path.to_str().expect("a path of UTF-8"))
            // A supervised process stays in the foreground.
            .flags(&format!("--supervised {supervised} --daemonize yes"))
            .start();
        let receive = || {
            let mut text = [0; 1000];
            let len = socket.recv(&mut text).expect("a notification");
            String::from_utf8_lossy(&text[..len]).into_owned()
        };
        assert_eq!(receive(), "STATUS=Ready to accept connections\nREADY=1\n");
        assert_eq!(server.client().info("process_supervised"), "yes");
        server.signal(Signal::SIGTERM);
        assert_eq!(receive(), "STOPPING=1\n");
        server.wait_exit();
    }
    assert_eq!(Server::start("--supervised auto").client().info("process_supervised"), "no");
}

/// A socket in place of systemd's, at a path or in the abstract namespace.
struct Systemd {
    socket: UnixDatagram,
    name: String,
}

impl Systemd {
    fn at(path: &Path) -> Systemd {
        Systemd::new(UnixDatagram::bind(path).expect("a socket"), path.display().to_string())
    }

    fn abstractly() -> Systemd {
        let name = format!("redstart-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        Systemd::new(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Systemd {
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Systemd { socket, name }
    }

    fn receive(&self) -> String {
        let mut text = [0; 1000];
        let len = self.socket.recv(&mut text).expect("a notification");
        String::from_utf8_lossy(&text[..len]).into_owned()
    }

    /// Receives until `wanted` comes.
    fn wait_for(&self, wanted: &str) {
        while !self.receive().contains(wanted) {}
    }
}

#[test]
fn the_watchdog_of_systemd_hears_of_a_server_whose_loop_goes_round() {
    let systemd = Systemd::abstractly();
    let mut server = Launch::subject()
        .environment("NOTIFY_SOCKET", &systemd.name)
        .environment("WATCHDOG_USEC", "200000")
        .flags("--supervised systemd")
        .start();
    for _ in 0..5 {
        systemd.wait_for("WATCHDOG=1\n");
    }
    server.signal(Signal::SIGTERM);
    systemd.wait_for("STOPPING=1\n");
    server.wait_exit();
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let launch = Launch::subject();
    let systemd = Systemd::at(&launch.directory().join("notify"));
    let mut server = launch
        .environment("NOTIFY_SOCKET", &systemd.name)
        .environment("WATCHDOG_USEC", "1000")
        .environment("WATCHDOG_PID", "1")
        .flags("--supervised systemd --hz 100")
        .start();
    assert!(systemd.receive().contains("READY=1\n"));
    let mut client = server.client();
    let before = client.info_number("uptime_in_seconds");
    client.wait_for_info("uptime_in_seconds", |seconds| seconds > before);
    server.signal(Signal::SIGTERM);
    assert_eq!(systemd.receive(), "STOPPING=1\n");
    server.wait_exit();
}

#[test]
fn systemd_hears_what_a_long_start_and_a_long_end_are_at_and_gives_them_time() {
    let launch = Launch::subject();
    let systemd = Systemd::at(&launch.directory().join("notify"));
    let mut server = launch
        .environment("NOTIFY_SOCKET", &systemd.name)
        .flags("--supervised systemd --save 3600 1000000 --enable-debug-command yes")
        .start();
    systemd.wait_for("READY=1\n");
    server.client().ok("DEBUG POPULATE 1000");
    server.signal(Signal::SIGTERM);
    systemd.wait_for("STATUS=Saving the final RDB snapshot\n");
    systemd.wait_for("EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1\n");
    systemd.wait_for("STOPPING=1\n");
    assert!(server.wait_exit().success());

    let mut server = server.stop().start_or_exit();
    systemd.wait_for("STATUS=Loading\n");
    systemd.wait_for("EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1\n");
    systemd.wait_for("STATUS=Ready to accept connections\nREADY=1\n");
    assert_eq!(server.client().run("DBSIZE"), Value::Integer(1000));
    server.signal(Signal::SIGKILL);
    server.wait_exit();
}

#[test]
fn systemd_hears_why_a_server_could_not_load_its_data() {
    let launch = Launch::subject().file("dump.rdb", "REDIS0011 and then nothing of the kind");
    let systemd = Systemd::at(&launch.directory().join("notify"));
    let launch = launch.environment("NOTIFY_SOCKET", &systemd.name).flags("--supervised systemd");
    let (status, log) = launch.run_to_exit();
    assert!(!status.success(), "{log}");
    systemd.wait_for("STATUS=Fatal error loading the DB");
}

#[test]
fn upstart_finds_the_process_stopped_when_it_is_ready() {
    let launch = Launch::subject().environment("UPSTART_JOB", "redstart");
    let server = launch.flags("--supervised upstart --port 0 --unixsocket socket").start_unlistened();
    eventually("the process is stopped", || {
        status_field(server.pid(), "State").starts_with('T').then_some(())
    });
    server.signal(Signal::SIGCONT);
    eventually("it serves", || support::Client::unix(&server.directory().join("socket")).ok());
}

#[test]
fn the_score_follows_the_directive_and_comes_back() {
    let own = oom_score(std::process::id());
    let server = Server::start("--oom-score-adj yes --oom-score-adj-values 10 200 800");
    assert_eq!(oom_score(server.pid()), (own + 10).min(1000));
    let mut client = server.client();
    // Setting it below its original value would require a privilege.
    let values = format!("{} 200 800", own + 5);
    client.call(&["CONFIG", "SET", "oom-score-adj", "absolute", "oom-score-adj-values", &values]);
    assert_eq!(oom_score(server.pid()), (own + 5).min(1000));
    client.ok("CONFIG SET oom-score-adj relative");
    client.call(&["CONFIG", "SET", "oom-score-adj-values", "20 30 40"]);
    assert_eq!(oom_score(server.pid()), (own + 20).min(1000));
    client.ok("CONFIG SET oom-score-adj no");
    assert_eq!(oom_score(server.pid()), own);
}

/// The title that `ps` shows.
fn title(server: &Server) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", server.pid())).expect("the title");
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', "|")
}

#[test]
fn the_title_is_the_address_or_what_the_template_says() {
    let program = support::server::subject_binary().display().to_string();
    let server = Launch::subject().environment("SOME_VARIABLE", "whose text goes elsewhere").start();
    let mut client = server.client();
    assert_eq!(title(&server), format!("{program} *:{}", server.port()));
    client.call(&["CONFIG", "SET", "proc-title-template", "{title} [{port}] {config-file} {{x}"]);
    assert_eq!(title(&server), format!("{program} [{}] - {{x}}", server.port()));
    // First longer than the room, then shorter.
    client.call(&["CONFIG", "SET", "proc-title-template", &"x".repeat(1 << 20)]);
    let longest = title(&server);
    assert!(longest.len() > program.len() && longest.bytes().all(|byte| byte == b'x'), "{longest}");
    client.call(&["CONFIG", "SET", "proc-title-template", "short"]);
    assert_eq!(title(&server), "short");
    assert_eq!(client.call(&["SET", "k", "v"]), Value::Simple(b"OK".to_vec()));

    let server = Server::start("--set-proc-title no");
    assert!(title(&server).contains("|--set-proc-title|no"), "{}", title(&server));
    let mut client = server.client();
    client.call(&["CONFIG", "SET", "proc-title-template", "short"]);
    assert!(title(&server).contains("|--set-proc-title|no"), "{}", title(&server));
}

#[test]
fn a_server_without_an_environment_has_a_title_in_the_room_of_its_arguments() {
    let program = support::server::subject_binary().display().to_string();
    let server = Launch::subject().without_environment().start();
    server.client().ok("SET k v");
    assert_eq!(title(&server), format!("{program} *:{}", server.port()));
}

#[test]
fn threads_keep_to_their_processors() {
    let all = threads(std::process::id())[0].1.clone();
    let first = all.split([',', '-']).next().expect("a processor");
    let server =
        Server::start(&format!("--server-cpulist {first} --bio-cpulist {first} --enable-debug-command yes"));
    let mut client = server.client();
    client.ok("DEBUG POPULATE 10");
    client.ok("FLUSHALL ASYNC");
    eventually("the background thread runs", || {
        let threads = threads(server.pid());
        (threads.len() > 1 && threads.iter().all(|(_, list)| list == first)).then_some(())
    });
    let server = Server::start("--server-cpulist nonsense");
    server.wait_for_log("'nonsense' is not a list of processors");
    assert_eq!(threads(server.pid())[0].1, all);
}

#[test]
fn a_server_with_the_system_s_log_and_a_mark_serves_whether_or_not_they_are_there() {
    let server = Server::start("--syslog-enabled yes --syslog-ident redstart-test --syslog-facility local7");
    server.client().ok("SET k v");
    // Without the privilege, the mark is refused and the log says so.
    let server = Server::start("--socket-mark-id 7");
    server.client().ok("SET k v");
}
