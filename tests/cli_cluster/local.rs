//! `redstart cluster`: a cluster on this machine.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::server::{Directory, redis_binary, subject_binary};
use crate::support::{Client, Value};
use crate::{Run, cli, run};

/// A port from which on `count` ports and their bus ports are free. Both are below the ephemeral range, and far from
/// those that `free_port` finds in this process.
fn free_ports(count: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let others = std::process::id().wrapping_mul(97) % 22_000;
    // Tests that run at the same time get different ports.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let step = NEXT.fetch_add(64, Ordering::Relaxed);
    let start = 10_000 + ((others + 3_000 + step) % 12_000) as u16;
    (start..22_000)
        .chain(10_000..start)
        .find(|first| (*first..first + count).all(|port| is_free(port) && is_free(port + 10_000)))
        .expect("free ports")
}

fn local(action: &str, directory: &Path, options: &[&str]) -> Run {
    let mut command = Command::new(subject_binary());
    command.args(["cluster", action, "--dir"]).arg(directory).args(options);
    run(command, "")
}

/// Wipes the cluster also if the test fails.
struct Wiped<'a>(&'a Path);

impl Drop for Wiped<'_> {
    fn drop(&mut self) {
        if self.0.exists() {
            local("wipe", self.0, &[]);
        }
    }
}

/// The process IDs in the output of `status`.
fn pids(status: &str) -> Vec<String> {
    status.lines().filter_map(|line| Some(line.split_once("pid ")?.1.to_string())).collect()
}

#[test]
fn a_local_cluster_has_six_nodes_of_this_program_by_default() {
    let home = Directory::new();
    let directory = home.join("cluster");
    let port = free_ports(6);
    let (first, last) = (port.to_string(), port + 5);
    let _wiped = Wiped(&directory);
    let text = local("start", &directory, &["--port", &first, "--", "--appendonly", "yes"]).good();
    let wanted =
        format!("The cluster runs: 3 masters with 1 replica each, on ports {port} to {last} of 127.0.0.1.\n");
    assert!(text.starts_with(&wanted), "{text}");
    let status = local("status", &directory, &[]).good();
    assert_eq!((pids(&status).len(), status.matches("replica of 127.0.0.1:").count()), (6, 3), "{status}");
    for slots in ["[0-5460]", "[5461-10922]", "[10923-16383]"] {
        assert!(status.contains(&format!("master of slots {slots}, pid ")), "{status}");
    }
    for port in port..=last {
        let mut client = Client::tcp(port).expect("a node");
        assert_eq!(client.info("server_name"), "redstart");
        assert_eq!(client.info("aof_enabled"), "1", "the directive has an effect");
    }
    // The keys are in slots of the first, the third and the second master.
    let keys = [("k2", "1"), ("k1", "2"), ("k4", "3")];
    for (key, value) in keys {
        assert_eq!(run(cli(&["-c", "-p", &first, "set", key, value]), "").good(), "OK\n");
    }
    assert_eq!(local("stop", &directory, &[]).good(), "Stopped 6 nodes.\n");
    for port in port..=last {
        assert!(Client::tcp(port).is_err());
    }
    let stopped = local("status", &directory, &[]);
    assert_eq!((stopped.status, stopped.output.matches("  stopped\n").count()), (Some(1), 6), "{stopped:?}");

    assert!(local("start", &directory, &[]).good().starts_with(&wanted));
    assert_eq!(pids(&local("status", &directory, &[]).good()).len(), 6);
    for (key, value) in keys {
        assert_eq!(run(cli(&["-c", "-p", &first, "get", key]), "").good(), format!("{value}\n"));
    }
    local("wipe", &directory, &[]).good();
    assert!(!directory.exists());
    for port in port..=last {
        assert!(Client::tcp(port).is_err());
    }
}

#[test]
fn a_local_cluster_starts_stops_and_disappears() {
    let home = Directory::new();
    let directory = home.join("cluster");
    let port = free_ports(4);
    let (first, server) = (port.to_string(), redis_binary().display().to_string());
    local("status", &directory, &[]).fails_with("has no cluster of 'redstart cluster'");
    let options = ["--masters", "2", "--replicas", "1", "--port", &first, "--server", &server];
    let _wiped = Wiped(&directory);
    // The last node's bus port is taken.
    let taken = TcpListener::bind(("127.0.0.1", port + 10_003)).expect("a free port");
    local("start", &directory, &options).fails_with(&format!("Port {} cannot be used", port + 10_003));
    assert!(!directory.exists());
    drop(taken);

    let text = local("start", &directory, &options).good();
    let last = port + 3;
    let wanted =
        format!("The cluster runs: 2 masters with 1 replica each, on ports {port} to {last} of 127.0.0.1.\n");
    assert!(text.starts_with(&wanted), "{text}");
    assert!(text.contains(&format!("  redstart cli -c -p {port} ")), "{text}");
    let status = local("status", &directory, &[]).good();
    assert!(status.contains(&format!("127.0.0.1:{port}  master of slots [0-8191], pid ")), "{status}");
    assert_eq!((pids(&status).len(), status.matches("replica of 127.0.0.1:").count()), (4, 2), "{status}");
    assert!(status.ends_with("cluster state: ok\n"), "{status}");
    assert_eq!(run(cli(&["-c", "-p", &first, "set", "key", "value"]), "").good(), "OK\n");

    // A changed timeout stays when a node is started again, and needs a configuration file.
    run(cli(&["--cluster", "set-timeout", &format!("127.0.0.1:{port}"), "30000"]), "").good();

    // A second start changes nothing, and one with other settings is refused.
    assert!(local("start", &directory, &options).good().starts_with("The cluster runs already"));
    assert_eq!(pids(&local("status", &directory, &[]).good()), pids(&status));
    local("start", &directory, &["--masters", "3"]).fails_with("has a cluster with --masters 2");

    // A node that was killed is started again.
    let killed: i32 = pids(&status)[3].parse().expect("a process ID");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL)
        .expect("kill");
    crate::eventually("the node is gone", || {
        let run = local("status", &directory, &[]);
        (run.status == Some(1) && run.output.contains(&format!("127.0.0.1:{last}  stopped\n"))).then_some(())
    });
    assert!(local("start", &directory, &[]).good().starts_with("The cluster runs again"));

    assert_eq!(local("stop", &directory, &[]).good(), "Stopped 4 nodes.\n");
    assert_eq!(local("stop", &directory, &[]).good(), "No node runs.\n");
    assert!(Client::tcp(port).is_err());
    local("start", &directory, &[]).good();
    assert_eq!(run(cli(&["-c", "-p", &first, "get", "key"]), "").good(), "value\n");
    let timeout = run(cli(&["-p", &first, "config", "get", "cluster-node-timeout"]), "").good();
    assert_eq!(timeout, "cluster-node-timeout\n30000\n");

    // Only what was created is deleted.
    fs::write(directory.join("notes"), "mine").expect("write a file");
    assert!(local("wipe", &directory, &[]).good().contains("has other files and stays"));
    let left: Vec<_> = fs::read_dir(&directory).expect("the directory").collect();
    assert_eq!(left.len(), 1);
    assert!(Client::tcp(port).is_err());
    local("wipe", &directory, &[]).fails_with("has no cluster of 'redstart cluster'");
    fs::remove_file(directory.join("notes")).expect("remove the file");
    fs::remove_dir(&directory).expect("remove the directory");
    assert!(local("wipe", &directory, &[]).good().starts_with("There is no "));
}

#[test]
fn a_local_cluster_leaves_other_servers_and_directories_alone() {
    let home = Directory::new();
    fs::write(home.join("file"), "mine").expect("write a file");
    let server = redis_binary().display().to_string();
    local("start", home.path(), &["--server", &server]).fails_with("has other files");
    local("wipe", home.path(), &[]).fails_with("has no cluster of 'redstart cluster'");
    assert_eq!(fs::read_to_string(home.join("file")).expect("the file"), "mine");

    // A stale pid file names a process that is not the node, and another server has the port.
    let other = crate::support::Launch::redis().start();
    let directory = home.join("cluster");
    let node = directory.join(other.port().to_string());
    fs::create_dir_all(&node).expect("a directory");
    let settings = format!("masters 1\nreplicas 0\nport {}\nserver {server}\nformed yes\n", other.port());
    fs::write(directory.join("cluster.conf"), settings).expect("write the settings");
    fs::write(node.join("node.pid"), format!("{}\n", other.pid())).expect("write the process ID");
    assert_eq!(local("stop", &directory, &[]).good(), "No node runs.\n");
    local("start", &directory, &[]).fails_with(&format!("Port {} cannot be used", other.port()));
    local("wipe", &directory, &[]).good();
    assert_eq!(other.client().run("PING"), Value::Simple(b"PONG".to_vec()));

    // A server that cannot start is reported with the end of its log.
    let port = free_ports(1).to_string();
    let options =
        ["--masters", "1", "--replicas", "0", "--port", &port, "--server", &server, "--", "--maxmemory", "x"];
    local("start", &directory, &options).fails_with("did not start. The end of its node.log:");
    local("wipe", &directory, &[]).good();
    assert!(!directory.exists());
}
