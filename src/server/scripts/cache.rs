//! The scripts that clients have sent, compiled, by the SHA-1 digest of their source.
//!
//! `SCRIPT LOAD` promises to keep a script until `SCRIPT FLUSH`; `EVAL` does not, so at most [`MOST`] of its scripts
//! are kept: those used last. A script that `EVAL` sends again is found by a keyed hash of its source, which costs a
//! tenth of the digest, and by comparing the source.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::redis::Names;
use super::shebang::{self, Flags};
use super::{api, api::For};
use crate::alloc::Apart;
use crate::codec::hex;
use crate::codec::sha1::{self, Digest};
use crate::command::Error;
use crate::lua::{Kept, Machine, Value};

/// The most scripts kept that were only sent with `EVAL`.
const MOST: usize = 500;

/// The name of a script in messages.
const CHUNK: &[u8] = b"@user_script";

/// A script.
#[derive(Debug)]
pub struct Script {
    /// Its digest as forty digits.
    pub name: Rc<[u8]>,
    /// The flags in its first line; `None` if there is no such line.
    pub flags: Option<Flags>,
    function: Kept,
    digest: Digest,
    source: Box<[u8]>,
    hash: u64,
}

/// The last use of a script that is never evicted.
const STAYS: u64 = u64::MAX;

/// Hashes bytes that are evenly distributed already: takes eight of them.
#[derive(Debug, Default)]
struct First(u64);

type Spread = BuildHasherDefault<First>;

impl Hasher for First {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The machine of scripts and its names.
#[derive(Debug)]
pub struct Engine {
    /// Where they run.
    pub machine: Machine,
    /// The names of fields.
    pub names: Names,
    apart: Apart,
}

impl Engine {
    fn new() -> Engine {
        let mut machine = api::new_machine();
        api::open(&mut machine, For::Scripts);
        let names = Names::new(&mut machine);
        let mut engine = Engine { machine, names, apart: Apart::default() };
        engine.count();
        engine
    }

    /// Updates the machine's share of the memory that does not count towards `maxmemory`.
    pub fn count(&mut self) {
        self.apart.set(self.machine.allocated_bytes());
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Cache {
    /// Present from the first script on, except while a script runs in it.
    engine: Option<Box<Engine>>,
    scripts: Vec<Option<Script>>,
    /// When each script was last used, on `clock`, or [`STAYS`].
    used: Vec<u64>,
    free: Vec<u32>,
    by_digest: HashMap<Digest, u32, Spread>,
    by_hash: HashMap<u64, u32, Spread>,
    /// The number of scripts that may be evicted.
    evictable: usize,
    clock: u64,
    /// Whether eviction is suspended.
    keeps_all: bool,
    source_bytes: usize,
    /// The machine's memory when it was last here.
    machine_bytes: usize,
    /// The number of scripts that have been evicted.
    pub evicted: u64,
}

impl Cache {
    /// The number of scripts.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Bytes of memory of the sources and the scripts' entries.
    pub fn overhead_bytes(&self) -> usize {
        self.source_bytes + self.len() * (size_of::<Script>() + size_of::<Digest>() + 24)
    }

    /// Bytes of memory of the machine.
    pub fn machine_bytes(&self) -> usize {
        self.engine.as_ref().map_or(self.machine_bytes, |engine| engine.machine.used_bytes())
    }

    /// The script that `SCRIPT LOAD` or `EVAL` sends, whose keyed hash is `hash`: compiled now if it is new.
    /// `stays`: until all are removed.
    ///
    /// # Errors
    /// The source is wrong.
    pub fn load(&mut self, source: &[u8], hash: u64, stays: bool) -> Result<u32, Error> {
        if let Some(place) = self.by_hash.get(&hash).copied()
            && self.get(place).is_some_and(|script| *script.source == *source)
        {
            self.touch(place, stays);
            return Ok(place);
        }
        let digest = sha1::sha1(source);
        if let Some(place) = self.by_digest.get(&digest).copied() {
            self.touch(place, stays);
            return Ok(place);
        }
        let head = shebang::of_script(source)?;
        let engine = self.engine.get_or_insert_with(|| Box::new(Engine::new()));
        prepare(&mut engine.machine);
        let function = engine
            .machine
            .load(&source[head.body..], CHUNK)
            .map_err(|message| Error::concat(&[b"ERR Error compiling script (new function): ", &message]))?;
        let function = engine.machine.keep(function);
        engine.count();
        let name = hex(&digest).into_bytes().into();
        let script = Script { name, flags: head.flags, function, digest, source: source.into(), hash };
        Ok(self.insert(script, stays))
    }

    fn insert(&mut self, script: Script, stays: bool) -> u32 {
        if !stays && self.evictable >= MOST && !self.keeps_all {
            self.evict();
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.scripts.push(None);
            self.used.push(STAYS);
            self.scripts.len() as u32 - 1
        });
        self.clock += 1;
        self.used[place as usize] = if stays { STAYS } else { self.clock };
        self.evictable += usize::from(!stays);
        self.source_bytes += script.source.len();
        self.by_digest.insert(script.digest, place);
        self.by_hash.insert(script.hash, place);
        self.scripts[place as usize] = Some(script);
        place
    }

    /// Suspends eviction, since an `EVALSHA` in a log may refer to any earlier `EVAL`; or resumes it, and evicts the excess.
    /// O(N log N) in the number of scripts.
    pub fn keep_all(&mut self, keeps_all: bool) {
        self.keeps_all = keeps_all;
        let excess = self.evictable.saturating_sub(MOST);
        if keeps_all || excess == 0 {
            return;
        }
        let mut places: Vec<usize> =
            (0..self.used.len()).filter(|place| self.used[*place] != STAYS).collect();
        places.sort_unstable_by_key(|place| self.used[*place]);
        places.into_iter().take(excess).for_each(|place| self.remove_evictable(place));
    }

    /// Evicts the least recently used script.
    fn evict(&mut self) {
        if let Some(place) = (0..self.used.len()).min_by_key(|place| self.used[*place]) {
            self.remove_evictable(place);
        }
    }

    fn remove_evictable(&mut self, place: usize) {
        self.used[place] = STAYS;
        let place = place as u32;
        let Some(script) = self.scripts[place as usize].take() else { return };
        self.by_digest.remove(&script.digest);
        if self.by_hash.get(&script.hash) == Some(&place) {
            self.by_hash.remove(&script.hash);
        }
        self.source_bytes -= script.source.len();
        if let Some(engine) = &mut self.engine {
            engine.machine.release(script.function);
        }
        self.free.push(place);
        self.evictable -= 1;
        self.evicted += 1;
    }

    /// A script is used, or is to stay from now on.
    fn touch(&mut self, place: u32, stays: bool) {
        let used = &mut self.used[place as usize];
        if *used != STAYS {
            self.clock += 1;
            *used = if stays { STAYS } else { self.clock };
            self.evictable -= usize::from(stays);
        }
    }

    /// Finds the script with a digest of forty digits, in any case, and marks it as used.
    pub fn find(&mut self, digits: &[u8]) -> Option<u32> {
        let place = *self.by_digest.get(&parse_digest(digits)?)?;
        self.touch(place, false);
        Some(place)
    }

    /// Whether there is a script with this digest.
    pub fn has(&self, digits: &[u8]) -> bool {
        parse_digest(digits).is_some_and(|digest| self.by_digest.contains_key(&digest))
    }

    /// What a call says of its script, which is found by its digest or its source, without using it: `None` if it is not
    /// known and says nothing.
    pub fn flags_of(&self, word: &[u8], is_digest: bool, hash: u64) -> Option<Flags> {
        if is_digest {
            let place = *self.by_digest.get(&parse_digest(word)?)?;
            return self.get(place)?.flags;
        }
        if let Some(script) = self.by_hash.get(&hash).and_then(|place| self.get(*place))
            && *script.source == *word
        {
            return script.flags;
        }
        shebang::of_script(word).ok()?.flags
    }

    /// Returns the script at a place.
    pub fn get(&self, place: u32) -> Option<&Script> {
        self.scripts.get(place as usize)?.as_ref()
    }

    /// The machine, ready to run the script at `place`, and its function. It is given back by [`Cache::give_back`].
    pub fn take(&mut self, place: u32) -> Option<(Box<Engine>, Value)> {
        let mut engine = self.engine.take()?;
        let Some(Some(script)) = self.scripts.get(place as usize) else {
            self.engine = Some(engine);
            return None;
        };
        self.machine_bytes = engine.machine.used_bytes();
        prepare(&mut engine.machine);
        let function = engine.machine.kept(&script.function);
        engine.machine.set_environment(function, engine.machine.globals());
        Some((engine, function))
    }

    /// Returns the machine to the cache.
    pub fn give_back(&mut self, engine: Box<Engine>) {
        self.engine = Some(engine);
    }

    /// Removes all scripts and everything they may have left behind.
    pub fn clear(&mut self) {
        *self = Cache { evicted: self.evicted, keeps_all: self.keeps_all, ..Cache::default() };
    }
}

/// Undoes changes by a script that could affect later ones.
fn prepare(machine: &mut Machine) {
    machine.set_thread_globals(machine.globals());
    machine.set_collecting(true);
}

fn parse_digest(digits: &[u8]) -> Option<Digest> {
    let digits: &[u8; 40] = digits.try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let mut digest = [0; 20];
    for (byte, pair) in digest.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(digest)
}
