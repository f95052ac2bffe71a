//! The variants with replicas and Sentinel, run without containers: the scripts, files and command lines for Compose
//! and Kubernetes start real servers and Sentinels. Host names become `localhost`, and the test chooses paths and
//! ports.

use std::fs;
use std::path::Path;

use crate::reader::{Reader, run_script};
use crate::support::server::Directory;
use crate::support::{Launch, Server, Value, eventually};

/// One of the variants.
struct Variant {
    /// The names that the servers use for each other.
    hosts: [String; 3],
    /// The command that writes the first roles, into directories that the test has created.
    write_role: Vec<String>,
    /// The path in the script for the directory of the server with this index.
    volume: fn(usize) -> String,
    /// The name of a server and of a Sentinel, which their scripts read from `NAME`.
    names: [fn(usize) -> String; 2],
    /// The server's command line, without the binary.
    arguments: Vec<String>,
    /// The file that it includes.
    included: Option<String>,
    /// The command of a Sentinel.
    sentinel: Vec<String>,
}

fn compose(reader: &Reader) -> Variant {
    let path = "deploy/docker-compose.sentinel.yml";
    let list = |keys: &str| reader.list(path, "compose", keys);
    for index in 1..3 {
        assert_eq!(list(&format!("services/redstart-{index}/command")), list("services/redstart-0/command"));
        assert_eq!(list(&format!("services/sentinel-{index}/command")), list("services/sentinel-0/command"));
    }
    Variant {
        hosts: [0, 1, 2].map(|index| format!("redstart-{index}")),
        write_role: list("services/roles/command"),
        volume: |index| format!("/volumes/redstart-{index}"),
        names: [|_| String::new(), |index| format!("sentinel-{index}")],
        arguments: list("services/redstart-0/command"),
        included: None,
        sentinel: list("services/sentinel-0/command"),
    }
}

fn kubernetes(reader: &Reader) -> Variant {
    let list = |path: &str, keys: &str| {
        let path = format!("deploy/kubernetes-sentinel/{path}");
        reader.list(&path, "StatefulSet", &format!("spec/template/spec/{keys}"))
    };
    let configuration =
        reader.text("deploy/kubernetes-sentinel/configmap.yaml", "ConfigMap", "data/redstart.conf");
    let arguments = list("statefulset.yaml", "containers/0/args");
    Variant {
        hosts: [0, 1, 2].map(|index| format!("redstart-ha-{index}.redstart-ha-headless.here.svc")),
        write_role: list("statefulset.yaml", "initContainers/0/command"),
        volume: |_| "/data".to_owned(),
        names: [|index| format!("redstart-ha-{index}"), |index| format!("redstart-ha-sentinel-{index}")],
        arguments: arguments.iter().map(|word| word.replace("$(REDISCLI_AUTH)", "secret")).collect(),
        included: Some(configuration),
        sentinel: list("sentinel.yaml", "containers/0/command"),
    }
}

impl Variant {
    /// The first configuration of a server, which a second run of the script leaves as it is.
    fn first_role(&self, index: usize) -> String {
        let directory = Directory::new();
        let root = directory.path().to_str().expect("UTF-8");
        let is_compose = self.included.is_none();
        let (from, volume) =
            if is_compose { ("/volumes", (self.volume)(index)) } else { ("/data", String::new()) };
        let own = volume.strip_prefix("/volumes/").unwrap_or_default();
        if is_compose {
            for host in &self.hosts {
                fs::create_dir(directory.join(host)).expect("a volume");
            }
        }
        // Only root may change the owner.
        let chown = if is_compose { vec![("chown -R 10001:10001", "true")] } else { Vec::new() };
        let replacements = [vec![(from, root)], chown].concat();
        let path = directory.join(own).join("redstart.conf");
        run_script(&self.write_role, &replacements, &(self.names[0])(index));
        let text = fs::read_to_string(&path).expect("the first role");
        fs::write(&path, "# changed\n").expect("change the role");
        run_script(&self.write_role, &replacements, &(self.names[0])(index));
        assert_eq!(fs::read_to_string(&path).expect("the role"), "# changed\n");
        text
    }

    /// A server whose initial primary is on this port, or which is the primary.
    fn server(&self, index: usize, primary: Option<u16>) -> Server {
        let role = self.first_role(index);
        assert!(role.starts_with(&format!("replica-announce-ip {}\n", self.hosts[index])), "{role}");
        assert_eq!(role.contains("replicaof"), primary.is_some(), "{role}");
        let old = format!("replicaof {} 6379", self.hosts[0]);
        assert_eq!(role.contains(&old), primary.is_some(), "{role}");
        let role = role.replace(&old, &format!("replicaof localhost {}", primary.unwrap_or_default()));
        let role = role.replace(&self.hosts[index], "localhost");

        let mut launch = Launch::subject().config(&role);
        let mut arguments = self.arguments.join(" ");
        arguments =
            arguments.strip_prefix("/data/redstart.conf ").expect("the file on the volume").to_owned();
        if let Some(included) = &self.included {
            // The directories of the container do not exist here, and the port may be in use.
            let text = included.replace("dir /data\n", "").replace("metrics-port 9121\n", "");
            launch = launch.file("included.conf", &text);
            arguments = arguments.replace("/etc/redstart/redstart.conf", "included.conf");
        }
        // Does not wait for more replicas before a synchronization.
        launch.flags(&arguments).flags("--repl-diskless-sync-delay 0").start()
    }

    /// A Sentinel for the primary on this port.
    fn sentinel(&self, index: usize, primary: u16) -> Server {
        let directory = Directory::new();
        let root = directory.path().to_str().expect("UTF-8");
        let path = directory.join("sentinel.conf");
        let replacements = [(" /data/", &*format!(" {root}/")), (">/data/", &format!(">{root}/"))];
        let replacements = [&replacements[..], &[("exec redis-sentinel", "true")]].concat();
        run_script(&self.sentinel, &replacements, &(self.names[1])(index));
        let text = fs::read_to_string(&path).expect("the configuration");
        let launch = Launch::redis();
        let announced = format!("sentinel announce-port {}\n", launch.port());
        let text: String = text
            .replace(&format!("{} 6379", self.hosts[0]), &format!("localhost {primary}"))
            .replace("sentinel announce-port 26379\n", &announced)
            .replace("down-after-milliseconds redstart 5000", "down-after-milliseconds redstart 2000")
            .lines()
            .filter(|line| !line.starts_with("dir ") && !line.starts_with("port "))
            .map(|line| if line.contains("announce-ip") { "sentinel announce-ip localhost" } else { line })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(text.contains(&format!("sentinel monitor redstart localhost {primary} 2\n")), "{text}");
        launch.config(&text).flags("--sentinel").start()
    }
}

/// Calls a command with the password. `None`: the connection was closed, which happens to clients when Sentinel changes
/// a role.
fn call(server: &Server, words: &[&str]) -> Option<Value> {
    let mut client = server.try_client()?;
    client.try_call(&["AUTH", "secret"]).ok()?;
    Some(client.try_call(words).ok()?.value)
}

/// Waits until `INFO replication` has all these lines.
fn wait_for_info(server: &Server, lines: &[&str]) {
    eventually(&format!("{lines:?} in INFO replication"), || {
        let text = call(server, &["INFO", "replication"])?.text();
        lines.iter().all(|line| text.lines().any(|own| own == *line)).then_some(())
    });
}

/// Waits until the server is a replica of the one on this port.
fn wait_for_replica(server: &Server, primary: u16) {
    let port = format!("master_port:{primary}");
    wait_for_info(server, &["role:slave", "master_host:localhost", &port, "master_link_status:up"]);
}

fn role_file(server: &Server) -> String {
    fs::read_to_string(Path::new(server.directory()).join("redstart.conf")).expect("the role's file")
}

/// Kills the primary, waits for the promotion, brings the old one back, and restarts both without Sentinel.
fn replaces_a_killed_primary(variant: &Variant) {
    let primary = variant.server(0, None);
    let old_port = primary.port();
    let mut replicas: Vec<Server> = (1..3).map(|index| variant.server(index, Some(old_port))).collect();
    for replica in &replicas {
        wait_for_replica(replica, old_port);
    }
    wait_for_info(&primary, &["role:master", "connected_slaves:2", "min_slaves_good_slaves:2"]);
    let sentinels: Vec<Server> = (0..3).map(|index| variant.sentinel(index, old_port)).collect();
    for sentinel in &sentinels {
        eventually("a Sentinel knows all", || {
            let known = call(sentinel, &["SENTINEL", "MASTER", "redstart"])?;
            let count = |field: &str| known.field(field).text();
            (count("num-slaves") == "2" && count("num-other-sentinels") == "2" && count("flags") == "master")
                .then_some(())
        });
    }
    let mut client = primary.client();
    client.ok("AUTH secret");
    client.ok("SET key value");
    assert_eq!(client.run("WAIT 2 0").integer(), 2);
    assert_eq!(client.info_number("maxmemory"), 384 << 20);
    assert_eq!(client.info_number("aof_enabled"), 1);

    let old = primary.stop();
    let promoted = eventually("a replica is promoted", || {
        let name = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "redstart"];
        let addresses: Option<Vec<_>> =
            sentinels.iter().map(|sentinel| Some(call(sentinel, &name)?.elements())).collect();
        let addresses = addresses?;
        let port: u16 = addresses[0][1].text().parse().ok()?;
        let is_agreed = addresses
            .iter()
            .all(|address| address[0].text() == "localhost" && address[1].text() == port.to_string());
        replicas.iter().position(|replica| is_agreed && replica.port() == port)
    });
    let promoted = replicas.remove(promoted);
    wait_for_replica(&replicas[0], promoted.port());
    let old = old.start();
    wait_for_replica(&old, promoted.port());

    // No Sentinel is left to correct a role that is not in the file.
    drop(sentinels);
    assert!(!role_file(&promoted).contains("\nreplicaof "), "{}", role_file(&promoted));
    let line = format!("\nreplicaof localhost {}\n", promoted.port());
    assert!(role_file(&old).contains(&line), "{}", role_file(&old));
    let promoted = promoted.stop().start();
    wait_for_info(&promoted, &["role:master"]);
    let old = old.stop().start();
    wait_for_replica(&old, promoted.port());
    assert_eq!(call(&old, &["GET", "key"]).expect("a reply").text(), "value");
}

#[test]
fn what_compose_starts_replaces_a_killed_primary_and_keeps_the_roles() {
    let Some(reader) = Reader::new() else { return };
    replaces_a_killed_primary(&compose(&reader));
}

#[test]
fn what_kubernetes_starts_replaces_a_killed_primary_and_keeps_the_roles() {
    let Some(reader) = Reader::new() else { return };
    replaces_a_killed_primary(&kubernetes(&reader));
}
