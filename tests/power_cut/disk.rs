//! A model of a disk: the safe contents of a server's files, and the states in which a power cut may leave the rest.
//!
//! Its input is the records of the server's calls, in order. A file is its synced contents and the changes since; so is
//! a directory, whose changes are names. From these the model writes a directory that the machine might have after a
//! power cut: see [`Left`].

use crate::support::Random;
use crate::support::shim::Record;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// The unit in bytes that a disk writes as a whole.
const PAGE: usize = 4096;

/// The part of the unsynced changes that a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// None of them.
    Nothing,
    /// All of them.
    All,
    /// In each file the first few, the last of them in part; in each directory the first few. This is the behaviour of
    /// file systems that keep the order within a file and a directory (ext4, XFS, Btrfs, APFS, ZFS).
    Beginning,
    /// Any pages of any write, zeros for missing pages, and any names: all states that POSIX allows.
    Scattered,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A name that is created, removed or changed. Files and directories are numbers.
#[derive(Clone)]
enum Naming {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

/// A file or directory and its changes: the first ones are safe, the rest is pending.
struct Node<Safe, Step> {
    safe: Safe,
    pending: Vec<Step>,
    /// The number of changes that are part of `safe`.
    settled: usize,
}

impl<Safe: Default, Step> Node<Safe, Step> {
    fn new() -> Self {
        Node { safe: Safe::default(), pending: Vec::new(), settled: 0 }
    }

    /// The number of changes.
    fn changes(&self) -> usize {
        self.settled + self.pending.len()
    }

    /// Makes the first `changes` of all changes safe.
    fn settle(&mut self, changes: usize, apply: impl Fn(&mut Safe, &Step)) {
        for change in self.pending.drain(..changes.saturating_sub(self.settled)) {
            apply(&mut self.safe, &change);
            self.settled += 1;
        }
    }
}

type File = Node<Vec<u8>, Change>;
type Folder = Node<BTreeMap<String, usize>, Naming>;

/// The node of a number.
#[derive(Clone, Copy)]
enum Kind {
    File,
    Folder,
}

/// The files of one server.
#[derive(Default)]
pub struct Disk {
    /// Files and directories by number; 0 is the server's directory itself.
    kinds: Vec<Kind>,
    files: HashMap<usize, File>,
    folders: BTreeMap<usize, Folder>,
    inodes: HashMap<u64, usize>,
    folder_names: HashMap<String, usize>,
    /// Syncs in progress: the number of the file or directory, and how many of its changes the sync covers.
    syncs: HashMap<u64, (usize, usize)>,
}

impl Disk {
    /// An empty directory.
    pub fn new() -> Disk {
        let mut disk = Disk::default();
        let root = disk.new_folder("");
        assert_eq!(root, 0);
        disk
    }

    fn new_folder(&mut self, path: &str) -> usize {
        self.kinds.push(Kind::Folder);
        let number = self.kinds.len() - 1;
        self.folders.insert(number, Folder::new());
        self.folder_names.insert(path.to_string(), number);
        number
    }

    /// The directory of a path, and the name in it.
    fn locate<'a>(&self, path: &'a str) -> (usize, &'a str) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let number = self.folder_names.get(folder);
        (*number.unwrap_or_else(|| panic!("no directory of {path}")), name)
    }

    fn name(&mut self, folder: usize, naming: Naming) {
        self.folders.get_mut(&folder).expect("a directory").pending.push(naming);
    }

    fn file(&mut self, record: &Record) -> &mut File {
        let number = self.inodes.get(&record.inode);
        let number = number.unwrap_or_else(|| panic!("{} was not created", record.path));
        self.files.get_mut(number).expect("a file")
    }

    /// Applies the next call.
    pub fn apply(&mut self, record: &Record) {
        let path = &record.path;
        match record.kind {
            b'C' => {
                self.kinds.push(Kind::File);
                let number = self.kinds.len() - 1;
                self.files.insert(number, File::new());
                self.inodes.insert(record.inode, number);
                let (folder, name) = self.locate(path);
                self.name(folder, Naming::Link(name.to_string(), number));
            }
            b'M' => {
                let (folder, name) = self.locate(path);
                let number = self.new_folder(path);
                self.name(folder, Naming::Link(name.to_string(), number));
            }
            b'W' => {
                self.file(record).pending.push(Change::Write(record.number as usize, record.data.clone()));
            }
            b'T' => self.file(record).pending.push(Change::Truncate(record.number as usize)),
            b'S' => {
                let target = match self.folder_names.get(path) {
                    Some(folder) => (*folder, self.folders[folder].changes()),
                    None => (self.inodes[&record.inode], self.file(record).changes()),
                };
                self.syncs.insert(record.number, target);
            }
            b'E' => self.end_sync(record.number),
            b'R' => self.rename(path, std::str::from_utf8(&record.data).expect("a path")),
            b'U' => {
                let (folder, name) = self.locate(path);
                self.name(folder, Naming::Unlink(name.to_string()));
            }
            b'N' => {}
            other => panic!("a record of kind {}", other as char),
        }
    }

    fn end_sync(&mut self, sync: u64) {
        let (number, changes) = self.syncs.remove(&sync).expect("the sync has begun");
        match self.kinds[number] {
            Kind::File => self.files.get_mut(&number).expect("a file").settle(changes, change_file),
            Kind::Folder => {
                self.folders.get_mut(&number).expect("a directory").settle(changes, change_folder);
            }
        }
    }

    /// Within a directory a rename is one change; between two directories it is one change in each.
    fn rename(&mut self, old: &str, new: &str) {
        let ((from, old), (to, new)) = (self.locate(old), self.locate(new));
        if from == to {
            self.name(from, Naming::Rename(old.to_string(), new.to_string()));
            return;
        }
        let mut entries = self.folders[&from].safe.clone();
        self.folders[&from].pending.iter().for_each(|naming| change_folder(&mut entries, naming));
        let number = entries[old];
        self.name(to, Naming::Link(new.to_string(), number));
        self.name(from, Naming::Unlink(old.to_string()));
    }

    /// Writes a directory that may exist after the power cut.
    pub fn lay_down(&self, directory: &Path, left: Left, random: &mut Random) {
        self.lay_down_folder(0, directory, left, random);
    }

    fn lay_down_folder(&self, number: usize, directory: &Path, left: Left, random: &mut Random) {
        fs::create_dir_all(directory).expect("make a directory");
        let folder = &self.folders[&number];
        let mut entries = folder.safe.clone();
        let first = random.below(folder.pending.len() + 1);
        for (index, naming) in folder.pending.iter().enumerate() {
            let stays = match left {
                Left::Nothing => false,
                Left::All => true,
                Left::Beginning => index < first,
                Left::Scattered => random.chance(2),
            };
            if stays {
                change_folder(&mut entries, naming);
            }
        }
        for (name, number) in entries {
            let path = directory.join(name);
            match self.kinds[number] {
                Kind::Folder => self.lay_down_folder(number, &path, left, random),
                Kind::File => {
                    fs::write(path, content(&self.files[&number], left, random)).expect("write a file");
                }
            }
        }
    }
}

/// The contents of a file after the power cut.
fn content(file: &File, left: Left, random: &mut Random) -> Vec<u8> {
    let mut bytes = file.safe.clone();
    let first = random.below(file.pending.len() + 1);
    for (index, change) in file.pending.iter().enumerate() {
        match (left, change) {
            (Left::All, change) => change_file(&mut bytes, change),
            (Left::Beginning, change) if index < first => change_file(&mut bytes, change),
            (Left::Beginning, Change::Write(at, data)) if index == first => {
                let torn = data[..random.below(data.len() + 1)].to_vec();
                change_file(&mut bytes, &Change::Write(*at, torn));
            }
            (Left::Nothing | Left::Beginning, _) => {}
            (Left::Scattered, Change::Truncate(_)) => {
                if random.chance(2) {
                    change_file(&mut bytes, change);
                }
            }
            (Left::Scattered, Change::Write(at, data)) => scatter(&mut bytes, *at, data, random),
        }
    }
    bytes
}

/// Writes some of the pages.
fn scatter(bytes: &mut Vec<u8>, at: usize, data: &[u8], random: &mut Random) {
    let mut done = 0;
    while done < data.len() {
        let len = (PAGE - (at + done) % PAGE).min(data.len() - done);
        if random.chance(2) {
            change_file(bytes, &Change::Write(at + done, data[done..done + len].to_vec()));
        }
        done += len;
    }
}

fn change_file(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(len) => bytes.resize(*len, 0),
        Change::Write(at, data) => {
            let end = at + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(data);
        }
    }
}

fn change_folder(entries: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Link(name, number) => {
            entries.insert(name.clone(), *number);
        }
        Naming::Unlink(name) => {
            entries.remove(name);
        }
        Naming::Rename(old, new) => {
            if let Some(number) = entries.remove(old) {
                entries.insert(new.clone(), number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::server::Directory;

    fn record(kind: u8, inode: u64, number: u64, path: &str, data: &[u8]) -> Record {
        Record { kind, inode, number, path: path.into(), data: data.into() }
    }

    fn after(records: &[Record], left: Left) -> BTreeMap<String, Vec<u8>> {
        let mut disk = Disk::new();
        for record in records {
            disk.apply(record);
        }
        let directory = Directory::new();
        disk.lay_down(directory.path(), left, &mut Random::new(1));
        super::super::contents(directory.path())
    }

    #[test]
    fn what_was_synced_stays_and_a_rename_waits_for_its_directory() {
        let mut records = vec![
            record(b'C', 7, 0, "temp", b""),
            record(b'W', 7, 0, "temp", b"abc"),
            record(b'S', 7, 1, "temp", b""),
            record(b'W', 7, 3, "temp", b"def"),
            record(b'E', 7, 1, "temp", b""),
            record(b'R', 0, 0, "temp", b"file"),
        ];
        assert!(after(&records, Left::Nothing).is_empty());
        let all = after(&records, Left::All);
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [("file".into(), b"abcdef".to_vec())]);
        records.extend([record(b'S', 2, 2, "", b""), record(b'E', 2, 2, "", b"")]);
        let synced = after(&records, Left::Nothing);
        assert_eq!(synced.into_iter().collect::<Vec<_>>(), [("file".into(), b"abc".to_vec())]);
    }
}
