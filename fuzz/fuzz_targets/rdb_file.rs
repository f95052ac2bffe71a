//! RDB files: no file makes the loader or check-rdb panic, or allocate what is only claimed; a data set that was loaded is
//! the same after another save and load; slices of any size load the same; and so does a file that is received in pieces.
//!
//! Input: a byte that decides the sizes of the buffer and of the slices, and a file, whose checksum is not verified.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use redstart::db::{Keyspace, Moment, digest};
use redstart::dict::Seed;
use redstart::persist::rdb::file::{
    About, Incoming, LoadOptions, Loader, RdbError, Records, SaveOptions, Source, Step, Version, load, save,
};
use redstart::tools::check_rdb;

const LOAD: LoadOptions = LoadOptions { checksum: false, drop_expired_before: None, merge: false };

fn empty() -> Keyspace {
    let mut keyspace = Keyspace::new(16, Seed::plain());
    keyspace.moment = Moment::at(1_700_000_000_000);
    keyspace
}

fn in_slices(file: &[u8], sizes: u8) -> Result<Keyspace, RdbError> {
    let mut keyspace = empty();
    let source = Source::with_buffer(file, file.len() as u64, 16 + usize::from(sizes));
    let mut loader = Loader::of_records(Records::open(source, false)?, LOAD);
    while loader.load_some(&mut keyspace, 1 + u64::from(sizes % 32))? == Step::More {}
    Ok(keyspace)
}

fn received(file: &[u8], sizes: u8) -> Result<Keyspace, RdbError> {
    let mut keyspace = empty();
    let mut incoming = Incoming::new(None, LOAD);
    for piece in file.chunks(1 + usize::from(sizes)) {
        incoming.push(piece);
        while incoming.can_load() {
            incoming.load_some(&mut keyspace, 1 + u64::from(sizes % 32))?;
        }
    }
    incoming.close();
    while incoming.load_some(&mut keyspace, 1 + u64::from(sizes % 32))? == Step::More {}
    Ok(keyspace)
}

fn file_of(keyspace: &Keyspace, version: Version) -> Vec<u8> {
    let about = About {
        redis_version: "7.2.4",
        unix_seconds: 1_700_000_000,
        used_memory: 0,
        aof_base: false,
        replication: None,
        functions: &[],
    };
    let options = SaveOptions { version, ..SaveOptions::default() };
    let mut file = Vec::new();
    save(keyspace, &about, &options, &mut file, &mut |_| {}).expect("a vector takes everything");
    file
}

fuzz_target!(|input: &[u8]| {
    let Some((&sizes, file)) = input.split_first() else { return };
    let _ = check_rdb::check(Path::new("dump.rdb"), file, file.len() as u64, &mut std::io::sink());
    let loaded = in_slices(file, sizes);
    let mut keyspace = empty();
    let at_once = load(&mut keyspace, file, file.len() as u64, LOAD);
    assert_eq!(loaded.is_ok(), at_once.is_ok());
    let received = received(file, sizes);
    assert_eq!(received.is_ok(), at_once.is_ok());
    let (Ok(loaded), Ok(received)) = (loaded, received) else { return };
    let wanted = digest::of_keyspace(&keyspace);
    assert_eq!(digest::of_keyspace(&loaded), wanted);
    assert_eq!(digest::of_keyspace(&received), wanted);
    let saved = file_of(&keyspace, Version::Eleven);
    let again = in_slices(&saved, sizes).expect("what was saved loads");
    assert_eq!(digest::of_keyspace(&again), wanted);
    in_slices(&file_of(&keyspace, Version::Ten), sizes).expect("what was saved loads");
});
