//! `make install`, `make uninstall` and `deploy/pack`, into temporary directories; the installed binary runs.

use crate::support::server::{Directory, subject_binary};
use crate::support::{Client, eventually};
use crate::{file, run};
use redstart::tools::TOOLS;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs make in `directory` with these arguments, without environment variables that affect it.
fn make(directory: &Path, words: &[&str]) -> String {
    let mut command = Command::new("make");
    for name in ["MAKEFLAGS", "MAKELEVEL", "DESTDIR", "PREFIX", "LINKS", "BINARY"] {
        command.env_remove(name);
    }
    run(command.arg("--no-print-directory").args(words).current_dir(directory))
}

/// The files below `root`, by their paths.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let below = path.strip_prefix(root).expect("below the root");
                found.insert(below.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found
}

/// The binary reports its name, and so do its links.
fn assert_runs(bin: &Path, links: &[&str]) {
    let version = run(Command::new(bin.join("redstart")).arg("--version"));
    assert!(version.starts_with("Redis server v="), "{version}");
    for link in links {
        let help = run(Command::new(bin.join(link)).arg("--help"));
        assert!(help.contains("Usage:") || help.contains("Options:"), "{link}: {help}");
    }
}

#[test]
fn what_is_installed_runs_and_can_be_removed_again() {
    let directory = Directory::new();
    let root = directory.path();
    let binary = format!("BINARY={}", subject_binary().display());
    let into = format!("DESTDIR={}", root.display());
    make(&file("."), &["install", &binary, &into, "PREFIX=/usr"]);
    let found = files(root);
    for path in [
        "usr/bin/redstart",
        "usr/share/man/man1/redstart.1",
        "usr/share/man/man5/redstart.conf.5",
        "usr/share/bash-completion/completions/redstart",
        "usr/share/zsh/site-functions/_redstart",
        "usr/share/fish/vendor_completions.d/redstart.fish",
        "usr/share/bash-completion/completions/redstart-cli",
        "usr/share/zsh/site-functions/_redstart-cli",
        "usr/share/fish/vendor_completions.d/redstart-cli.fish",
        "etc/logrotate.d/redstart",
        "usr/lib/systemd/system/redstart.service",
        "etc/redstart/redstart.conf",
    ] {
        assert!(found.contains(path), "{path} is not in {found:?}");
    }
    let links: Vec<String> = TOOLS.iter().map(|tool| format!("redstart-{}", tool.name)).collect();
    assert_runs(&root.join("usr/bin"), &links.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!found.iter().any(|path| path.contains("bin/redis")), "{found:?}");
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/redstart.service")).expect("the unit");
    assert!(unit.contains("\nExecStart=/usr/bin/redstart /etc/redstart/redstart.conf "), "{unit}");

    make(&file("."), &["install", &binary, &into, "PREFIX=/usr", "LINKS=1"]);
    assert_runs(&root.join("usr/bin"), &["redis-cli", "redis-check-rdb", "redis-check-aof", "redis-server"]);

    // A changed configuration stays, both when installing again and when uninstalling.
    fs::write(root.join("etc/redstart/redstart.conf"), "port 7000\n").expect("change the configuration");
    make(&file("."), &["install", &binary, &into, "PREFIX=/usr"]);
    make(&file("."), &["uninstall", &into, "PREFIX=/usr"]);
    assert_eq!(files(root), BTreeSet::from(["etc/redstart/redstart.conf".to_owned()]));
    let kept = fs::read_to_string(root.join("etc/redstart/redstart.conf")).expect("the configuration");
    assert_eq!(kept, "port 7000\n");
    fs::copy(file("redstart.conf"), root.join("etc/redstart/redstart.conf")).expect("the sample");
    make(&file("."), &["uninstall", &into, "PREFIX=/usr"]);
    assert!(files(root).is_empty(), "{:?}", files(root));
}

/// Every link to a file in a document below `root` has an existing target.
fn assert_links_lead_somewhere(root: &Path) {
    let mut links = 0;
    for name in files(root) {
        let document = root.join(&name);
        if document.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&document).expect("a document");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            // Code that looks like a link contains a space, a comma or a quote.
            if path.is_empty() || path.contains("://") || path.contains([' ', ',', '"', '\n']) {
                continue;
            }
            links += 1;
            assert!(document.with_file_name(path).exists(), "{name}: there is no {target}");
        }
    }
    assert!(links > 50, "{links} links");
    for only_with_source in [
        "deploy/Dockerfile",
        "deploy/docker-compose.yml",
        "deploy/docker-compose.sentinel.yml",
        "deploy/docker-compose.cluster.yml",
        "deploy/pack",
    ] {
        assert!(!root.join(only_with_source).exists(), "{only_with_source}");
    }
}

#[test]
fn a_tarball_is_the_same_each_time_and_what_is_in_it_installs_and_serves() {
    let directory = Directory::new();
    let (first, second) = (directory.join("first"), directory.join("second"));
    let from = subject_binary().parent().expect("its directory").to_path_buf();
    let arch = std::env::consts::ARCH;
    for out in [&first, &second] {
        run(Command::new(file("deploy/pack"))
            .arg(&from)
            .arg(arch)
            .arg(out)
            .env("SOURCE_DATE_EPOCH", "1700000000"));
    }
    let name = format!("redstart-{}-linux-{arch}", env!("CARGO_PKG_VERSION"));
    for packed in [format!("{name}.tar.gz"), format!("{name}.symbols.gz")] {
        let read = |out: &Path| fs::read(out.join(&packed)).expect("the packed files");
        assert!(read(&first) == read(&second), "{packed} differs");
    }
    run(Command::new("tar")
        .arg("-xzf")
        .arg(first.join(format!("{name}.tar.gz")))
        .arg("-C")
        .arg(directory.path()));
    let unpacked = directory.join(&name);
    assert!(unpacked.join("README.md").exists() && unpacked.join("LICENSE").exists());
    assert_links_lead_somewhere(&unpacked);
    let root = directory.join("root");
    make(&unpacked, &["install", &format!("DESTDIR={}", root.display())]);

    // With the installed configuration, no line of it changed.
    let socket = directory.join("socket");
    let mut server = Command::new(root.join("usr/local/bin/redstart"))
        .arg(root.join("etc/redstart/redstart.conf"))
        .args(["--port", "0", "--unixsocket", socket.to_str().expect("UTF-8")])
        .arg("--dir")
        .arg(directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("start the server");
    let mut client = eventually("it serves", || Client::unix(&socket).ok());
    client.ok("SET k v");
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("send");
    assert!(server.wait().expect("its end").success());
}
