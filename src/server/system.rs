//! Checks whether the system provides what the configuration needs: for `redstart --check-system`, and for a few lines
//! in the log at the start.
//!
//! [`CHECKS`] is the table. A check reads kernel files below the root of a [`Machine`] (a test makes its own), or tries
//! in this process what the server would do. A file that cannot be read results in [`Finding::Unknown`], never in a
//! warning.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::log::Log;
use super::startup::{RESERVED_FILES, restriction};
use crate::config::{Config, format_size};
use crate::sys::{clock, disk, process};

/// Kernel files, in Linux's places.
const OVERCOMMIT: &str = "proc/sys/vm/overcommit_memory";
const SOMAXCONN: &str = "proc/sys/net/core/somaxconn";
const ZONE_RECLAIM: &str = "proc/sys/vm/zone_reclaim_mode";
const HUGE_PAGES: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";

/// How long to read the clock to measure its cost.
const CLOCK_US: u64 = 50_000;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No problem.
    Good,
    /// The system provides no information, or it does not matter for this configuration.
    Unknown,
    /// A problem.
    Bad {
        /// The problem, in a sentence that names its consequence.
        what: String,
        /// The remedy.
        mend: String,
    },
}

impl Finding {
    fn bad(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::Bad { what: what.into(), mend: mend.into() }
    }
}

/// A check of the table.
#[derive(Debug)]
pub struct Check {
    /// Its name, Redis's where Redis has it.
    pub name: &'static str,
    /// Whether it is cheap and reliable enough for a log line at each start.
    at_start: bool,
    run: fn(&Machine, &Config) -> Finding,
}

/// All checks, in the order in which they are reported.
pub const CHECKS: &[Check] = &[
    Check { name: "slow-clocksource", at_start: false, run: slow_clock },
    Check { name: "xen-clocksource", at_start: false, run: xen_clock },
    Check { name: "overcommit", at_start: true, run: overcommit },
    Check { name: "THP", at_start: false, run: huge_pages },
    Check { name: "zone-reclaim", at_start: false, run: zone_reclaim },
    Check { name: "memory", at_start: true, run: memory },
    Check { name: "maxmemory", at_start: true, run: small_limit },
    Check { name: "open-files", at_start: false, run: open_files },
    Check { name: "tcp-backlog", at_start: true, run: backlog },
    Check { name: "directory", at_start: false, run: directory },
    Check { name: "disk-space", at_start: false, run: disk_space },
];

impl Check {
    /// The result for `config` on `machine`.
    pub fn run(&self, machine: &Machine, config: &Config) -> Finding {
        (self.run)(machine, config)
    }
}

/// Logs the problems, as Redis does at its start.
pub(super) fn warn(config: &Config, log: &Log) {
    let machine = Machine::this();
    for check in CHECKS.iter().filter(|check| check.at_start) {
        if let Finding::Bad { what, mend } = check.run(&machine, config) {
            log.warning(format_args!("WARNING: {what} {mend}"));
        }
    }
}

/// The machine, described by its kernel's files.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine that this process runs on.
    pub fn this() -> Machine {
        Machine { root: PathBuf::from("/") }
    }

    /// The text of a file, without the white space around it.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_to_string(self.root.join(path)).ok()?.trim().to_owned())
    }

    fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The lowest memory limit of the control groups that this process is in, in bytes.
    fn memory_limit(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup")?;
        let limits = groups.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            match rest.split_once(':')? {
                ("", path) => self.least_limit("sys/fs/cgroup", path, "memory.max"),
                (controllers, path) if controllers.split(',').any(|name| name == "memory") => {
                    self.least_limit("sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
                }
                _ => None,
            }
        });
        // The first version of the interface writes "no limit" as the largest number of whole pages.
        limits.min().filter(|limit| *limit < 1 << 60)
    }

    /// The lowest number in the files `name` of the group `path` below `mount`, and of all its parent groups. In a
    /// container the path may be one of the host's, which is missing here: the mount is then the container's own group.
    fn least_limit(&self, mount: &str, path: &str, name: &str) -> Option<u64> {
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| self.number(Path::new(mount).join(group).join(name))).min()
    }
}

/// A clock source that needs a system call makes each reading of the time about ten times as expensive.
fn slow_clock(machine: &Machine, _: &Config) -> Finding {
    let (Some(current), Some(before)) = (machine.read(CLOCK), process::thread_cpu_time()) else {
        return Finding::Unknown;
    };
    let begin = clock::monotonic_us();
    while clock::monotonic_us() - begin < CLOCK_US {}
    let Some(after) = process::thread_cpu_time() else { return Finding::Unknown };
    let (user, system) = (after.user_us - before.user_us, after.system_us - before.system_us);
    if system * 10 <= user + system {
        return Finding::Good;
    }
    let others = machine.read(CLOCKS).unwrap_or_default();
    Finding::bad(
        format!("Reading the clock '{current}' takes a system call, which makes every iteration slower."),
        format!(
            "Choose another one of '{others}': 'echo tsc > /{CLOCK}'; to keep it, set the kernel parameter \
             'clocksource=tsc'."
        ),
    )
}

fn xen_clock(machine: &Machine, _: &Config) -> Finding {
    match machine.read(CLOCK).as_deref() {
        None => Finding::Unknown,
        Some("xen") => Finding::bad(
            "The system uses the clock 'xen', which may be slow.",
            "If [slow-clocksource] also fails, choose another clock as described there.",
        ),
        Some(_) => Finding::Good,
    }
}

/// A fork requires that the kernel promises the same amount of memory again, although hardly any of it is used.
fn overcommit(machine: &Machine, _: &Config) -> Finding {
    match machine.number(OVERCOMMIT) {
        None => Finding::Unknown,
        Some(1) => Finding::Good,
        Some(mode) => Finding::bad(
            format!(
                "Memory overcommit is not enabled (vm.overcommit_memory is {mode}): a snapshot or a rewrite of the log \
                 may fail when memory is low."
            ),
            "Run 'sysctl vm.overcommit_memory=1', and add the line 'vm.overcommit_memory = 1' to \
             /etc/sysctl.conf to keep it.",
        ),
    }
}

/// Huge pages are useful only for the data, and only with `huge-pages yes`.
fn huge_pages(machine: &Machine, config: &Config) -> Finding {
    let Some(text) = machine.read(HUGE_PAGES) else { return Finding::Unknown };
    let (always, never) = (text.contains("[always]"), text.contains("[never]"));
    if config.huge_pages && never {
        return Finding::bad(
            "Transparent huge pages are switched off, so 'huge-pages yes' has no effect.",
            format!("Run 'echo madvise > /{HUGE_PAGES}' as root, and in a start script to keep it."),
        );
    }
    let opts_out = config.disable_thp && process::restrict_huge_pages(restriction(config)).is_ok();
    if !always || opts_out {
        return Finding::Good;
    }
    Finding::bad(
        "Transparent huge pages are used for all memory, which costs latency and memory while a snapshot is written.",
        format!(
            "Leave 'disable-thp' at 'yes', or run 'echo madvise > /{HUGE_PAGES}' as root, and in a start script to \
             keep it; then restart the server."
        ),
    )
}

fn zone_reclaim(machine: &Machine, _: &Config) -> Finding {
    match machine.number(ZONE_RECLAIM) {
        None => Finding::Unknown,
        Some(0) => Finding::Good,
        Some(mode) => Finding::bad(
            format!(
                "vm.zone_reclaim_mode is {mode}: the kernel frees pages of a processor's own memory, and makes the \
                 server wait for it, while other memory is free."
            ),
            "Run 'sysctl vm.zone_reclaim_mode=0', and add the line 'vm.zone_reclaim_mode = 0' to \
             /etc/sysctl.conf to keep it.",
        ),
    }
}

/// Above the limit of its control group the kernel kills the process; above the machine's memory it swaps or kills.
fn memory(machine: &Machine, config: &Config) -> Finding {
    let (limit, whose) = match (machine.memory_limit(), process::total_memory_bytes()) {
        (Some(limit), total) if total == 0 || limit < total => (limit, "its control group allows"),
        (_, 0) => return Finding::Unknown,
        (_, total) if config.maxmemory > 0 => (total, "the machine has"),
        // As in Redis, a dedicated machine may be filled.
        _ => return Finding::Good,
    };
    // Client buffers, and pages that are copied while a child writes, come on top of the data.
    if config.maxmemory > 0 && config.maxmemory <= limit / 10 * 9 {
        return Finding::Good;
    }
    let mib = |bytes: u64| format_size(bytes >> 20 << 20);
    let (limit, most) = (mib(limit), mib(limit / 4 * 3));
    let what = if config.maxmemory == 0 {
        format!(
            "The process is killed when it uses more than the {limit} that {whose}, and maxmemory is not set."
        )
    } else {
        let maxmemory = mib(config.maxmemory);
        format!("maxmemory {maxmemory} leaves little or none of the {limit} of memory that {whose}.")
    };
    Finding::bad(
        what,
        format!(
            "Set 'maxmemory {most}' or less, with the maxmemory-policy that suits the data, or allow more."
        ),
    )
}

/// Warns of a `maxmemory` below 1 MB, whose unit was probably forgotten. The text is that of Redis.
fn small_limit(_: &Machine, config: &Config) -> Finding {
    if config.maxmemory == 0 || config.maxmemory >= 1 << 20 {
        return Finding::Good;
    }
    Finding::bad(
        format!(
            "You specified a maxmemory value that is less than 1MB (current value is {} bytes).",
            config.maxmemory
        ),
        "Are you sure this is what you really want?",
    )
}

fn open_files(_: &Machine, config: &Config) -> Finding {
    let wanted = u64::from(config.maxclients) + RESERVED_FILES;
    match process::raise_open_files(wanted) {
        Err(_) => Finding::Unknown,
        Ok(reached) if reached >= wanted => Finding::Good,
        Ok(reached) => Finding::bad(
            format!(
                "The limit of open files is {reached}, but maxclients {} needs {wanted}.",
                config.maxclients
            ),
            format!(
                "Allow more ('ulimit -n {wanted}', in a unit of systemd 'LimitNOFILE={wanted}'), or lower maxclients."
            ),
        ),
    }
}

fn backlog(machine: &Machine, config: &Config) -> Finding {
    let wanted = u64::from(config.tcp_backlog);
    match machine.number(SOMAXCONN) {
        None => Finding::Unknown,
        Some(most) if most >= wanted || config.first_port() == 0 => Finding::Good,
        Some(most) => Finding::bad(
            format!(
                "The TCP backlog setting of {wanted} cannot be enforced because /{SOMAXCONN} is set to the lower value \
                 of {most}: connections that come all at once may be refused."
            ),
            format!("Run 'sysctl net.core.somaxconn={wanted}', or lower tcp-backlog."),
        ),
    }
}

/// Whether persistence writes to `dir` automatically.
fn persists(config: &Config) -> bool {
    config.appendonly || !config.save.is_empty()
}

fn directory(_: &Machine, config: &Config) -> Finding {
    let path = config.dir.path();
    match disk::may_create_files(path) {
        Ok(()) => Finding::Good,
        Err(_) if !persists(config) => Finding::Unknown,
        Err(error) => Finding::bad(
            format!(
                "No file can be created in the directory '{}' ({error}): nothing can be saved.",
                path.display()
            ),
            "Set 'dir' to a directory that belongs to the user of the server.",
        ),
    }
}

/// A snapshot or a rewrite writes all data to a new file, and replaces the old file at the end.
fn disk_space(_: &Machine, config: &Config) -> Finding {
    if !persists(config) {
        return Finding::Unknown;
    }
    let path = config.dir.path();
    let Ok(free) = disk::free_bytes(path) else { return Finding::Unknown };
    let there = bytes_of(&path.join(config.dbfilename.as_path()))
        + bytes_of(&path.join(config.appenddirname.as_path()));
    let wanted = there.max(config.maxmemory).max(64 << 20);
    if free >= wanted {
        return Finding::Good;
    }
    Finding::bad(
        format!(
            "The disk of '{}' has {} MB free, but a snapshot or a rewrite of the log may need {} MB.",
            path.display(),
            free >> 20,
            wanted.div_ceil(1 << 20)
        ),
        "Make room there, or set 'dir' to a larger disk.",
    )
}

/// Bytes of a file, or of the files in a directory; 0 if it does not exist.
fn bytes_of(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => {
            entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
        }
        Err(_) => path.metadata().map_or(0, |metadata| metadata.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with given files, in a directory that is removed on drop.
    struct Made(Machine);

    impl Made {
        fn new(name: &str, files: &[(&str, &str)]) -> Made {
            let root = std::env::temp_dir().join(format!("redstart-machine-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Made(Machine { root })
        }

        fn finds(&self, check: &str, config: &Config) -> Finding {
            CHECKS.iter().find(|known| known.name == check).expect(check).run(&self.0, config)
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.root);
        }
    }

    fn is_bad(finding: &Finding, what: &str) -> bool {
        matches!(finding, Finding::Bad { what: found, mend } if found.contains(what) && !mend.is_empty())
    }

    #[test]
    fn what_the_system_does_not_say_is_no_complaint() {
        let machine = Made::new("empty", &[]);
        for check in
            ["slow-clocksource", "xen-clocksource", "overcommit", "THP", "zone-reclaim", "tcp-backlog"]
        {
            assert_eq!(machine.finds(check, &Config::default()), Finding::Unknown, "{check}");
        }
    }

    #[test]
    fn a_kernel_set_as_the_documentation_says_is_good_and_another_is_not() {
        let config = Config { disable_thp: false, ..Config::default() };
        let good = Made::new(
            "good",
            &[(OVERCOMMIT, "1\n"), (ZONE_RECLAIM, "0\n"), (SOMAXCONN, "4096\n"), (CLOCK, "tsc\n")],
        );
        for check in ["overcommit", "zone-reclaim", "tcp-backlog", "xen-clocksource"] {
            assert_eq!(good.finds(check, &config), Finding::Good, "{check}");
        }
        let bad = Made::new(
            "bad",
            &[
                (OVERCOMMIT, "0\n"),
                (ZONE_RECLAIM, "1\n"),
                (SOMAXCONN, "128\n"),
                (CLOCK, "xen\n"),
                (HUGE_PAGES, "[always] madvise never\n"),
            ],
        );
        for (check, what) in [
            ("overcommit", "vm.overcommit_memory is 0"),
            ("zone-reclaim", "vm.zone_reclaim_mode is 1"),
            ("tcp-backlog", "setting of 511 cannot be enforced"),
            ("xen-clocksource", "'xen'"),
            ("THP", "used for all memory"),
        ] {
            let finding = bad.finds(check, &config);
            assert!(is_bad(&finding, what), "{check}: {finding:?}");
        }
        let without_port = Config { port: 0, ..Config::default() };
        assert_eq!(bad.finds("tcp-backlog", &without_port), Finding::Good);
    }

    #[test]
    fn huge_pages_have_to_be_possible_where_they_are_requested() {
        let never = Made::new("never", &[(HUGE_PAGES, "always madvise [never]\n")]);
        let config = Config { huge_pages: true, ..Config::default() };
        assert!(is_bad(&never.finds("THP", &config), "no effect"));
        assert_eq!(never.finds("THP", &Config::default()), Finding::Good);
        let advised = Made::new("advised", &[(HUGE_PAGES, "always [madvise] never\n")]);
        assert_eq!(advised.finds("THP", &config), Finding::Good);
    }

    #[test]
    fn a_limit_of_the_control_group_needs_a_maxmemory_below_it() {
        let config = |maxmemory: u64| Config { maxmemory, ..Config::default() };
        let second = Made::new(
            "second",
            &[
                ("proc/self/cgroup", "0::/system.slice/redstart.service\n"),
                ("sys/fs/cgroup/system.slice/redstart.service/memory.max", "max\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "104857600\n"),
            ],
        );
        let first = Made::new(
            "first",
            &[
                ("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/0123\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n"),
            ],
        );
        for machine in [&second, &first] {
            let finding = machine.finds("memory", &config(0));
            assert!(is_bad(&finding, "more than the 100mb that its control group allows"), "{finding:?}");
            assert!(matches!(finding, Finding::Bad { mend, .. } if mend.contains("maxmemory 75mb")));
            assert!(is_bad(&machine.finds("memory", &config(100 << 20)), "maxmemory 100mb leaves little"));
            assert_eq!(machine.finds("memory", &config(75 << 20)), Finding::Good);
        }
        let none = Made::new(
            "none",
            &[
                ("proc/self/cgroup", "4:memory:/\n0::/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory.max", "max\n"),
            ],
        );
        assert_eq!(none.finds("memory", &config(0)), Finding::Good);
        assert!(is_bad(&none.finds("memory", &config(u64::MAX >> 1)), "that the machine has"));
    }

    #[test]
    fn more_clients_than_open_files_are_named_with_both_numbers() {
        let machine = Made::new("files", &[]);
        assert_eq!(
            machine.finds("open-files", &Config { maxclients: 1, ..Config::default() }),
            Finding::Good
        );
        let config = Config { maxclients: u32::MAX, ..Config::default() };
        assert!(is_bad(&machine.finds("open-files", &config), "but maxclients 4294967295 needs 4294967327"));
    }

    #[test]
    fn the_disk_has_to_hold_what_is_there_a_second_time() {
        let machine = Made::new("disk", &[("a/b", "12345"), ("a/c", "67"), ("d", "890")]);
        assert_eq!(bytes_of(&machine.0.root.join("a")), 7);
        assert_eq!(bytes_of(&machine.0.root.join("d")), 3);
        assert_eq!(bytes_of(&machine.0.root.join("e")), 0);
        let config = Config { maxmemory: u64::MAX, ..Config::default() };
        assert!(is_bad(&machine.finds("disk-space", &config), "may need"));
    }
}
