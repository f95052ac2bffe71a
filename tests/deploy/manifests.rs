//! The files for Docker, Compose, Kubernetes, systemd and logrotate, checked by the programs that read them or by their
//! schemas, and run where that needs no daemon.

use crate::support::server::Directory;
use crate::support::{Launch, eventually};
use crate::{file, read, run, tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The versions of Kubernetes whose schemas are used.
const KUBERNETES: &[&str] = &["1.27", "1.32", "1.37"];

/// The directories for Kubernetes, and the objects in them.
const KUBERNETES_OBJECTS: &[(&str, &[&str])] = &[
    (
        "deploy/kubernetes",
        &[
            "statefulset/redstart",
            "service/redstart",
            "service/redstart-headless",
            "configmap/redstart",
            "poddisruptionbudget/redstart",
        ],
    ),
    (
        "deploy/kubernetes-sentinel",
        &[
            "statefulset/redstart-ha",
            "statefulset/redstart-ha-sentinel",
            "service/redstart-ha-headless",
            "service/redstart-ha-sentinel",
            "service/redstart-ha-sentinel-headless",
            "configmap/redstart-ha",
            "poddisruptionbudget/redstart-ha",
            "poddisruptionbudget/redstart-ha-sentinel",
        ],
    ),
    (
        "deploy/kubernetes-cluster",
        &[
            "statefulset/redstart-cluster",
            "job/redstart-cluster-create",
            "service/redstart-cluster",
            "service/redstart-cluster-headless",
            "networkpolicy/redstart-cluster",
            "configmap/redstart-cluster",
            "poddisruptionbudget/redstart-cluster",
        ],
    ),
];

#[test]
fn kubernetes_accepts_every_object() {
    let Some(validate) = tool("kubernetes-validate", &[&["kubernetes-validate", "--version"]]) else {
        return;
    };
    for (directory, objects) in KUBERNETES_OBJECTS {
        let entries = fs::read_dir(file(directory)).expect("the directory");
        let paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        for version in KUBERNETES {
            let text = run(Command::new(&validate).args(["--strict", "-k", version]).args(&paths));
            for object in *objects {
                let passed = format!("passed for resource {object} ");
                assert!(text.contains(&passed), "{version}: no {object} in\n{text}");
            }
        }
    }
}

#[test]
fn the_server_accepts_the_configuration_for_kubernetes() {
    let map = read("deploy/kubernetes/configmap.yaml");
    let (_, block) = map.split_once("redstart.conf: |\n").expect("the configuration");
    let text: String =
        block.lines().flat_map(|line| [line.strip_prefix("    ").unwrap_or(line), "\n"]).collect();
    assert!(text.starts_with("dir /data\n") && text.contains("\nmetrics-port 9121\n"), "{text}");
    // The directories of the container do not exist here.
    let text = text.replace("dir /data\n", "").replace("metrics-port 9121\n", "");
    let server = Launch::subject().config(&text).start();
    let mut client = server.client();
    assert_eq!(client.info_number("maxmemory"), 384 << 20);
    assert_eq!(client.info_number("aof_enabled"), 1);
}

/// Reads a file for Compose as Compose does; no variable is set.
const COMPOSE: &str = "
import sys, re
from compose_spec import PyCompose
text = re.sub(r'[$][{]REDSTART_PASSWORD:[?][^}]*[}]', 'secret', open(sys.argv[1]).read())
compose = PyCompose.from_yaml(text)
compose.validate()
service = compose.to_spec().services['redstart']
print(' '.join(service.command if isinstance(service.command, list) else service.command.root))
";

#[test]
fn compose_accepts_its_file_and_the_server_what_compose_passes_to_it() {
    let Some(python) = tool("python with compose-spec", &[&["python", "-c", "import compose_spec"]]) else {
        return;
    };
    let path = file("deploy/docker-compose.yml");
    let flags = run(Command::new(&python).args(["-c", COMPOSE]).arg(&path));
    let server = Launch::subject().flags(&flags).start();
    let mut client = server.client();
    client.ok("AUTH secret");
    assert_eq!(client.info_number("maxmemory"), 384 << 20);
    drop(server);

    let directory = Directory::new();
    let wrong = read("deploy/docker-compose.yml").replace("restart: unless-stopped", "restart: [1]");
    fs::write(directory.join("wrong.yml"), wrong).expect("write a file");
    let output = Command::new(python).args(["-c", COMPOSE]).arg(directory.join("wrong.yml")).output();
    assert!(!output.expect("run python").status.success(), "the checker accepts anything");
}

#[test]
fn the_dockerfile_has_no_fault_that_a_linter_knows() {
    let Some(hadolint) = tool("hadolint", &[&["hadolint", "--version"]]) else { return };
    run(Command::new(hadolint).arg("--no-color").arg(file("deploy/Dockerfile")));
}

/// The words of the JSON array behind `name` in the Dockerfile.
fn words_of(name: &str) -> Vec<String> {
    let text = read("deploy/Dockerfile");
    let line = text.lines().rev().find_map(|line| line.trim_start().strip_prefix(name)).expect(name);
    let line = line.trim().trim_start_matches('[').trim_end_matches(']');
    line.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
}

#[test]
fn what_the_image_runs_is_what_the_binary_understands() {
    // The health check, against a server that accepts connections, one that requires a password, and none.
    let health = words_of("CMD [\"/usr/local/bin/redstart\", \"cli\"");
    let check = |port: u16, password: &str| {
        let mut command = Command::new(crate::support::server::subject_binary());
        command.args(["cli", "-p", &port.to_string()]).args(&health[1..]).env("REDISCLI_AUTH", password);
        command.output().expect("run the check").status.success()
    };
    assert_eq!(health[1..], ["-e", "ping"]);
    let server = Launch::subject().flags("--requirepass secret").start();
    assert!(check(server.port(), "secret"));
    assert!(!check(server.port(), ""));
    let port = server.port();
    drop(server);
    assert!(!check(port, ""));

    let command = words_of("CMD ");
    assert_eq!(command, ["--protected-mode", "no"]);
    let server = Launch::subject().flags(&command.join(" ")).start();
    let mode = server.client().run("CONFIG GET protected-mode").elements();
    assert_eq!(mode[1].text(), "no");
}

/// The unit as `make install` would write it, for this binary.
fn unit(directory: &Directory) -> std::path::PathBuf {
    let binary = crate::support::server::subject_binary();
    let bin = binary.parent().expect("its directory").display().to_string();
    let text = read("deploy/redstart.service").replace("@BINDIR@", &bin).replace("@SYSCONFDIR@", "/etc");
    assert!(!text.contains("DIR@"), "{text}");
    let path = directory.join("redstart.service");
    fs::write(&path, text).expect("write the unit");
    path
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_confined() {
    let Some(analyze) = tool("systemd-analyze", &[&["systemd-analyze", "--version"]]) else { return };
    let directory = Directory::new();
    let unit = unit(&directory);
    // Its manual page is not installed.
    let output =
        Command::new(&analyze).args(["verify", "--man=no"]).arg(&unit).output().expect("run systemd-analyze");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaints: Vec<&str> = complaints.lines().filter(|line| line.contains("redstart")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:#?}");
    // Exposure from 0 to 10; the threshold is in tenths.
    let security = ["security", "--offline=yes", "--threshold=20", "--no-pager"];
    run(Command::new(&analyze).args(security).arg(&unit));
}

#[test]
fn the_unit_starts_the_server_as_it_is_written() {
    let unit = read("deploy/redstart.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("ExecStart");
    let (_, flags) = line.split_once(".conf ").expect("flags behind the configuration");
    // The test uses its own directories.
    let flags = flags.replace("--dir %S/redstart", "");
    let server =
        Launch::subject().config(&read("redstart.conf").replace("port 6379", "")).flags(&flags).start();
    server.client().ok("SET k v");
    // Started by hand, it has no supervisor to notify.
    assert_eq!(server.client().info("process_supervised"), "yes");
}

#[test]
fn the_password_may_come_from_a_credential_of_the_unit() {
    let unit = read("deploy/redstart.service");
    let (name, _) = unit
        .lines()
        .find_map(|line| line.strip_prefix("#LoadCredential=")?.split_once(":@SYSCONFDIR@/redstart/"))
        .expect("a credential");
    let line = unit.lines().find_map(|line| line.strip_prefix("#     include ")).expect("the line for it");
    assert_eq!(line, format!("/run/credentials/redstart.service/{name}"));
    // As systemd provides it: readable for the user of the service, writable for no user.
    let credentials = Directory::new();
    let included = credentials.join(name);
    fs::write(&included, "requirepass secret\n").expect("write the credential");
    fs::set_permissions(&included, fs::Permissions::from_mode(0o400)).expect("its mode");
    let server = Launch::subject().config(&format!("include {}\n", included.display())).start();
    let mut client = server.client();
    assert!(client.run("PING").text().starts_with("NOAUTH"));
    client.ok("AUTH secret");

    let Some(analyze) = tool("systemd-analyze", &[&["systemd-analyze", "--version"]]) else { return };
    let path = self::unit(&credentials);
    let text = fs::read_to_string(&path).expect("the unit").replace("#LoadCredential=", "LoadCredential=");
    fs::write(&path, text).expect("write the unit");
    let output = Command::new(analyze).args(["verify", "--man=no"]).arg(&path).output().expect("run it");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !complaints.contains("redstart"), "{complaints}");
}

#[test]
fn a_log_that_logrotate_has_moved_goes_on_in_a_new_file() {
    let Some(logrotate) =
        tool("logrotate", &[&["logrotate", "--version"], &["/usr/sbin/logrotate", "--version"]])
    else {
        return;
    };
    let mut server = Launch::subject().flags("--logfile redstart.log").start();
    let directory = server.directory().to_path_buf();
    let log = directory.join("redstart.log");
    let own = |name: &str| directory.join(name).display().to_string();
    let text = read("deploy/logrotate").replace("/var/log/redstart/*.log", &own("redstart.log"));
    fs::write(own("rotation"), text).expect("write the configuration");
    let ready = fs::read_to_string(&log).expect("the log");
    run(Command::new(logrotate).args(["--force", "--state", &own("state"), &own("rotation")]));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_exit();
    let new =
        eventually("a new file", || fs::read_to_string(&log).ok().filter(|text| text.contains("bye bye")));
    assert!(!new.contains("Ready to accept"), "{new}");
    let old = fs::read_to_string(own("redstart.log.1")).expect("the old file");
    assert!(old.contains(ready.trim_end()), "{old}");
}
