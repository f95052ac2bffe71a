//! Servers whose file operations fail on purpose or are recorded, by the library in `tests/faults/shim.rs`.
//!
//! A server started through [`Shim::on`] keeps its data in a subdirectory of its launch; the library handles only that
//! directory. It uses Linux's `LD_PRELOAD`, so the binary has to be dynamically linked.

use super::Launch;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Error numbers for rules.
pub const EIO: i32 = 5;
pub const EAGAIN: i32 = 11;
pub const ENOMEM: i32 = 12;
pub const EACCES: i32 = 13;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;

/// Compiles the library, once for each version of its source.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.rs");
        let mut hash = DefaultHasher::new();
        fs::read(source).expect("the library's source").hash(&mut hash);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join(format!("shim-{:016x}.so", hash.finish()));
        if !library.exists() {
            let unfinished = library.with_extension(std::process::id().to_string());
            let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let done = Command::new(compiler)
                .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"])
                .args([unfinished.as_os_str(), source.as_ref()])
                .output()
                .expect("rustc runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            fs::rename(unfinished, &library).expect("rename the library");
        }
        library
    })
}

/// A call, as `tests/faults/shim.rs` recorded it.
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: u8,
    pub inode: u64,
    pub number: u64,
    pub path: String,
    pub data: Vec<u8>,
}

impl Record {
    /// Takes the first record off the bytes of a trace, if it is complete.
    fn take(trace: &mut &[u8]) -> Option<Record> {
        let (head, rest) = trace.split_first_chunk::<25>()?;
        let number = |at: usize, len: usize| {
            let mut wide = [0; 8];
            wide[..len].copy_from_slice(&head[at..at + len]);
            u64::from_le_bytes(wide)
        };
        let (path, rest) = rest.split_at_checked(number(17, 4) as usize)?;
        let (data, rest) = rest.split_at_checked(number(21, 4) as usize)?;
        *trace = rest;
        Some(Record {
            kind: head[0],
            inode: number(1, 8),
            number: number(9, 8),
            path: String::from_utf8_lossy(path).into_owned(),
            data: data.to_vec(),
        })
    }
}

/// The library in one server.
#[derive(Clone)]
pub struct Shim {
    data: PathBuf,
    control: PathBuf,
    trace: PathBuf,
}

impl Shim {
    /// Loads the library into a server that is not started yet.
    pub fn on(launch: Launch) -> (Launch, Shim) {
        let directory = launch.directory().join("data");
        Shim::on_directory(launch, &directory)
    }

    /// The same with the data in this directory, which is created if it does not exist.
    pub fn on_directory(launch: Launch, data: &Path) -> (Launch, Shim) {
        let own = launch.directory().to_path_buf();
        fs::create_dir_all(data).expect("a directory for the data");
        let shim = Shim { data: data.to_path_buf(), control: own.join("faults"), trace: own.join("trace") };
        let word = |path: &Path| path.to_str().expect("a path of UTF-8").to_string();
        let launch = launch
            .flags(&format!("--dir {}", word(data)))
            .environment("LD_PRELOAD", &word(library()))
            .environment("FAULTS_DIR", &word(data))
            .environment("FAULTS_CONTROL", &word(&shim.control));
        (launch, shim)
    }

    /// Records the server's calls from its next start.
    pub fn record(&self, launch: Launch) -> Launch {
        launch.environment("FAULTS_TRACE", self.trace.to_str().expect("a path of UTF-8"))
    }

    /// The directory of the server's files.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Replaces all rules by these, one per line, and resets their counters.
    pub fn rules(&self, rules: &str) {
        let unfinished = self.control.with_extension("new");
        fs::write(&unfinished, rules).expect("write the rules");
        fs::rename(unfinished, &self.control).expect("replace the rules");
    }

    /// Stops all faults.
    pub fn clear(&self) {
        self.rules("");
    }

    /// The rules that have fired, one line each time.
    pub fn hits(&self) -> Vec<String> {
        match fs::read_to_string(self.control.with_extension("hits")) {
            Ok(text) => text.lines().map(String::from).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("the list of hits: {error}"),
        }
    }

    /// The complete records so far.
    pub fn trace(&self) -> Vec<Record> {
        let bytes = fs::read(&self.trace).expect("the trace");
        let mut rest = &bytes[..];
        std::iter::from_fn(|| Record::take(&mut rest)).collect()
    }

    /// Removes an incomplete record at the end of the trace, which a SIGKILL may leave because the kernel then cuts a
    /// write short. Call it before another process appends to the trace.
    pub fn drop_cut_record(&self) {
        let bytes = fs::read(&self.trace).expect("the trace");
        let mut rest = &bytes[..];
        while Record::take(&mut rest).is_some() {}
        let file = fs::OpenOptions::new().write(true).open(&self.trace).expect("the trace");
        file.set_len((bytes.len() - rest.len()) as u64).expect("the trace can be cut");
    }
}
