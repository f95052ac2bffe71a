//! Runs the variants with a cluster without containers: the scripts, files and command lines for Compose and Kubernetes
//! start six servers.
//!
//! ```text
//!   a container   ─▶ a server on its own address (127.0.77.1, …), on a port that all of them share
//!   the image     ─▶ a directory at the front of PATH: redis-cli, which uses this port, and getent, which reads
//!   the resolver     a file of the test
//! ```
//!
//! As in Kubernetes, a restarted pod gets a new address. Containers of Compose keep theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use crate::reader::{Reader, script};
use crate::run;
use crate::support::server::{Directory, free_port, subject_binary};
use crate::support::{Client, Launch, Server, eventually};

const NODES: usize = 6;

/// One of the variants.
struct Variant {
    /// The names that the script resolves.
    hosts: [String; NODES],
    /// The name that resolves to all nodes, if there is one.
    all: Option<&'static str>,
    /// The command line of a server, without the binary.
    arguments: Vec<String>,
    /// Its configuration file.
    configuration: String,
    /// The commands of the container that creates the cluster, of the one that finds addresses, and of its probe.
    create: Vec<String>,
    addresses: Option<Vec<String>>,
    probe: Option<Vec<String>>,
    /// The `redis-cli` of the scripts.
    client: String,
}

fn compose(reader: &Reader) -> Variant {
    let list = |keys: &str| reader.list("deploy/docker-compose.cluster.yml", "compose", keys);
    let address =
        |index: usize| reader.text("deploy/docker-compose.cluster.yml", "compose", &address_keys(index));
    for index in 1..NODES {
        assert_eq!(list(&format!("services/redstart-{index}/command")), list("services/redstart-0/command"));
    }
    let addresses: BTreeSet<String> = (0..NODES).map(address).collect();
    assert_eq!(addresses.len(), NODES, "{addresses:?}");
    Variant {
        hosts: std::array::from_fn(|index| format!("redstart-{index}")),
        all: None,
        arguments: list("services/redstart-0/command"),
        configuration: String::new(),
        create: list("services/create/command"),
        addresses: None,
        probe: None,
        client: format!("{} cli", subject_binary().display()),
    }
}

fn address_keys(index: usize) -> String {
    format!("services/redstart-{index}/networks/default/ipv4_address")
}

fn kubernetes(reader: &Reader) -> Variant {
    let file = |name: &str| format!("deploy/kubernetes-cluster/{name}");
    let pod = |keys: &str| {
        reader.list(
            &file("statefulset.yaml"),
            "StatefulSet",
            &format!("spec/template/spec/containers/{keys}"),
        )
    };
    let mut arguments = pod("0/args");
    assert_eq!(arguments.remove(0), "/etc/redstart/redstart.conf");
    let configuration = reader.text(&file("configmap.yaml"), "ConfigMap", "data/redstart.conf");
    assert!(configuration.contains("dir /data\n") && configuration.contains("metrics-port 9121\n"));
    Variant {
        hosts: std::array::from_fn(|n| format!("redstart-cluster-{n}.redstart-cluster-headless.here.svc")),
        all: Some("redstart-cluster-headless.here.svc"),
        arguments,
        // The directory does not exist here, and the port may be in use.
        configuration: configuration.replace("dir /data\n", "").replace("metrics-port 9121\n", ""),
        create: reader.list(&file("job.yaml"), "Job", "spec/template/spec/containers/0/command"),
        addresses: Some(pod("1/command")),
        probe: Some(pod("1/readinessProbe/exec/command")),
        client: run(Command::new("sh").args(["-c", "command -v redis-cli"])).trim().to_owned(),
    }
}

/// A server, and the process that finds addresses.
struct Pod {
    address: Ipv4Addr,
    server: Option<Server>,
    beside: Option<Child>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(mut child) = self.beside.take() {
            let _ = (child.kill(), child.wait());
        }
    }
}

struct Deployment<'a> {
    variant: &'a Variant,
    port: u16,
    bus_port: u16,
    /// Dropped before the directory.
    pods: Vec<Pod>,
    /// The programs in the containers' PATH.
    image: Directory,
    /// The last byte of the next address.
    next: u8,
}

impl Deployment<'_> {
    fn start(variant: &Variant) -> Deployment<'_> {
        let (port, bus_port, image) = (free_port(), free_port(), Directory::new());
        let resolver = format!(
            "awk -v name=\"$2\" '$3 == name {{ print; found = 1 }} END {{ exit !found }}' {}",
            image.join("hosts").display()
        );
        let client = format!("exec {} -h \"${{SELF:-127.0.0.1}}\" -p {port} \"$@\"", variant.client);
        for (name, text) in [("getent", resolver), ("redis-cli", client)] {
            fs::write(image.join(name), format!("#!/bin/sh\n{text}\n")).expect("a script");
            fs::set_permissions(image.join(name), fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        let mut deployment = Deployment { variant, port, bus_port, pods: Vec::new(), image, next: 1 };
        for index in 0..NODES {
            let address = deployment.address();
            deployment.pods.push(Pod { address, server: None, beside: None });
            deployment.run_pod(index, Launch::subject().config(&deployment.included()));
        }
        deployment
    }

    /// An address that no pod has had.
    fn address(&mut self) -> Ipv4Addr {
        self.next += 1;
        Ipv4Addr::new(127, 0, 77, self.next - 1)
    }

    fn included(&self) -> String {
        let text = &self.variant.configuration;
        assert!(text.is_empty() || text.contains("cluster-node-timeout 5000\n"), "{text}");
        text.replace("cluster-node-timeout 5000\n", "cluster-node-timeout 2000\n")
    }

    /// The words of a server's command line.
    fn words(&self, index: usize) -> Vec<String> {
        let address = self.pods[index].address.to_string();
        let mut words: Vec<String> = self
            .variant
            .arguments
            .iter()
            .map(|word| match word.as_str() {
                "5000" => "2000".to_owned(),
                "$(NAME).redstart-cluster-headless.$(NAMESPACE).svc" => self.variant.hosts[index].clone(),
                word => word.replace("$(REDISCLI_AUTH)", "secret").replace("$(ADDRESS)", &address),
            })
            .collect();
        assert!(words.iter().all(|word| !word.contains('$')), "{words:?}");
        let own = format!(
            "--port {} --cluster-port {} --bind {address} --bind-source-addr {address} --repl-diskless-sync-delay 0",
            self.port, self.bus_port
        );
        words.extend(own.split(' ').map(String::from));
        words
    }

    /// Starts a server on the address of its pod, and the process that finds addresses.
    fn run_pod(&mut self, index: usize, launch: Launch) {
        self.write_hosts();
        let server = launch.flags(&self.words(index).join(" ")).start_unlistened();
        let address = self.pods[index].address.to_string();
        self.pods[index].server = Some(server);
        eventually("the server replies", || {
            self.try_client(index)?.run("PING").text().eq("PONG").then_some(())
        });
        if let Some(command) = &self.variant.addresses {
            let text = self.script(command, &[("sleep 10", "sleep 0.1")]);
            let child = self.shell(&text).env("SELF", address).spawn().expect("a shell");
            self.pods[index].beside = Some(child);
        }
    }

    /// Kills both processes of a pod. Returns the server's launch without flags.
    fn kill(&mut self, index: usize) -> Launch {
        let words = self.words(index).len();
        let pod = &mut self.pods[index];
        if let Some(mut child) = pod.beside.take() {
            let _ = (child.kill(), child.wait());
        }
        pod.server.take().expect("a server").stop().without_flags(words)
    }

    /// Restarts killed servers, in Kubernetes with new addresses.
    fn revive(&mut self, launches: Vec<(usize, Launch)>) {
        if self.variant.addresses.is_some() {
            for (index, _) in &launches {
                self.pods[*index].address = self.address();
            }
        }
        for (index, launch) in launches {
            self.run_pod(index, launch);
        }
    }

    fn write_hosts(&self) {
        let names = self.pods.iter().zip(&self.variant.hosts).flat_map(|(pod, name)| {
            let names = [Some(name.as_str()), self.variant.all].into_iter().flatten();
            names.map(|name| format!("{} STREAM {name}\n", pod.address))
        });
        let text: String = names.collect();
        fs::write(self.image.join("hosts"), text).expect("the names");
    }

    fn script(&self, command: &[String], replacements: &[(&str, &str)]) -> String {
        let text = script(command, replacements);
        text.replace("16379", &self.bus_port.to_string()).replace("6379", &self.port.to_string())
    }

    fn shell(&self, text: &str) -> Command {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").expect("a search path");
        command.args(["-euc", text]).envs([("NAMESPACE", "here"), ("REDISCLI_AUTH", "secret")]);
        command.env("PATH", format!("{}:{path}", self.image.path().display()));
        command
    }

    /// Runs the container that creates the cluster to its end.
    fn create(&self) -> String {
        let text = self.script(&self.variant.create, &[("sleep 1;", "sleep 0.1;")]);
        run(&mut self.shell(&text))
    }

    fn try_client(&self, index: usize) -> Option<Client> {
        self.pods[index].server.as_ref()?;
        let mut client = Client::tcp_at(SocketAddr::from((self.pods[index].address, self.port))).ok()?;
        client.try_call(&["AUTH", "secret"]).ok()?;
        Some(client)
    }

    fn client(&self, index: usize) -> Client {
        self.try_client(index).expect("a server")
    }

    fn id(&self, index: usize) -> String {
        self.client(index).run("CLUSTER MYID").text()
    }

    /// A node's view of each: the address, whether it is a replica, its primary, the epoch, the slots.
    fn view(&self, index: usize) -> BTreeMap<String, Vec<String>> {
        let text = self.client(index).run("CLUSTER NODES").text();
        let lines = text.lines().map(|line| {
            let mut words: Vec<String> = line.split(' ').map(|word| word.replace("myself,", "")).collect();
            let id = words.remove(0);
            // The times of the last messages.
            words.drain(3..5);
            (id, words)
        });
        lines.collect()
    }

    /// Waits until all nodes know the same `known` nodes at their present addresses, and three of those have a replica
    /// with its data each.
    fn wait_until_whole(&self, known: usize) -> BTreeMap<String, Vec<String>> {
        eventually("the cluster is whole", || {
            let view = self.view(0);
            let is_whole = (0..NODES).all(|index| {
                let mut client = self.client(index);
                let at = format!("{}:{}@{}", self.pods[index].address, self.port, self.bus_port);
                self.view(index) == view
                    && view.get(&self.id(index)).is_some_and(|own| own[0].starts_with(&at))
                    && client.run("CLUSTER INFO").text().contains("cluster_state:ok")
                    && !client.run("INFO replication").text().contains("master_link_status:down")
            });
            let primaries: BTreeSet<&String> =
                view.values().filter(|node| node[1] == "slave").map(|node| &node[2]).collect();
            (is_whole && view.len() == known && primaries.len() == 3).then_some(view)
        })
    }

    fn check_probes(&self) {
        let Some(probe) = &self.variant.probe else { return };
        for pod in &self.pods {
            run(self.shell(&self.script(probe, &[])).env("SELF", pod.address.to_string()));
        }
    }

    /// Calls a command on the node that serves its key.
    fn call(&self, line: &str) -> String {
        let replies = (0..NODES).map(|index| self.client(index).run(line).text());
        replies.into_iter().find(|reply| !reply.starts_with("MOVED")).expect("a node that serves it")
    }
}

/// Runs the script twice; then loses a primary, all nodes at once, and a volume.
fn survives_losses(variant: &Variant) {
    let mut deployment = Deployment::start(variant);
    let text = deployment.create();
    assert!(text.contains("All 16384 slots covered"), "{text}");
    let before = deployment.wait_until_whole(NODES);
    deployment.create();
    assert_eq!(deployment.wait_until_whole(NODES), before);
    deployment.check_probes();
    let mut client = deployment.client(0);
    assert_eq!(client.info_number("maxmemory"), 384 << 20);
    assert_eq!(client.info_number("aof_enabled"), 1);
    assert_eq!(deployment.call("SET b value"), "OK");

    // The first node is the primary of the key's slot.
    assert_eq!(client.run("WAIT 1 0").integer(), 1);
    let heir = before.iter().find(|(_, node)| node[2] == deployment.id(0)).expect("a replica").0;
    let heir = (0..NODES).find(|index| deployment.id(*index) == *heir).expect("a node");
    let launch = deployment.kill(0);
    eventually("the replica is promoted", || {
        deployment.client(heir).run("ROLE").elements()[0].text().eq("master").then_some(())
    });
    deployment.revive(vec![(0, launch)]);
    deployment.wait_until_whole(NODES);
    assert_eq!(deployment.client(0).run("ROLE").elements()[0].text(), "slave");
    assert_eq!(deployment.call("GET b"), "value");

    let launches = (0..NODES).map(|index| (index, deployment.kill(index))).collect();
    deployment.revive(launches);
    deployment.wait_until_whole(NODES);
    assert_eq!(deployment.call("GET b"), "value");

    let lost = deployment.id(0);
    let launch = deployment.kill(0);
    for file in ["nodes.conf", "dump.rdb"] {
        let _ = fs::remove_file(launch.directory().join(file));
    }
    fs::remove_dir_all(launch.directory().join("appendonlydir")).expect("the log");
    deployment.revive(vec![(0, launch)]);
    deployment.create();
    for index in 0..NODES {
        deployment.client(index).run(&format!("CLUSTER FORGET {lost}"));
    }
    deployment.wait_until_whole(NODES);
    assert_eq!(deployment.call("GET b"), "value");
}

#[test]
fn the_cluster_that_compose_starts_survives_the_loss_of_a_primary_of_all_nodes_and_of_a_volume() {
    let Some(reader) = Reader::new() else { return };
    survives_losses(&compose(&reader));
}

#[test]
fn the_cluster_that_kubernetes_starts_survives_the_loss_of_a_primary_of_all_addresses_and_of_a_volume() {
    let Some(reader) = Reader::new() else { return };
    survives_losses(&kubernetes(&reader));
}
