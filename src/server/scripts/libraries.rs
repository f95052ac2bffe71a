//! Libraries: sources that register functions when they are run, once, at the time when they are loaded.
//!
//! Libraries are isolated from one another except for their names: the name of a library is unique, and so is that of a
//! function among all libraries. A new library is compiled and run separately, and only then added, so a faulty library
//! changes nothing.
//!
//! ```text
//!  source ─▶ first line ─▶ compile ─▶ run: redis.register_function(…) … ─▶ names are free ─▶ Set
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::registrar::Registrar;
use super::shebang::{self, Flags};
use crate::command::Error;
use crate::config::LogLevel;
use crate::lua::Kept;
use crate::persist::rdb::payload::{self, FunctionsError};
use crate::text::glob;

/// The time limit for loading a library at a client's request.
pub const LOAD_LIMIT: Duration = Duration::from_millis(500);

/// The conditions under which a library is run.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Its time limit, if any.
    pub limit: Option<Duration>,
    /// Receives the lines of `redis.log`.
    pub log: &'a dyn Fn(LogLevel, &[u8]),
}

/// A function that a library has registered.
#[derive(Debug)]
pub struct Function {
    /// Its name, matched in any case.
    pub name: Vec<u8>,
    /// The library's description of it.
    pub description: Option<Vec<u8>>,
    /// Its declared properties.
    pub flags: Flags,
    /// The function itself.
    pub callback: Kept,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// Its whole source.
    pub source: Vec<u8>,
    /// The functions it has registered, in order.
    pub functions: Vec<Rc<Function>>,
}

/// Libraries without two of the same name, or with functions of the same name.
#[derive(Debug, Default)]
struct Set {
    /// In the order in which they were loaded.
    libraries: Vec<Library>,
    /// The functions by their names in lower case.
    functions: HashMap<Vec<u8>, Rc<Function>>,
}

impl Set {
    fn position(&self, name: &[u8]) -> Option<usize> {
        self.libraries.iter().position(|library| library.name == name)
    }

    /// Whether it has a function of this name in a library other than those in `except`.
    fn has_function(&self, name: &[u8], except: &[Library]) -> bool {
        let Some(found) = self.functions.get(&name.to_ascii_lowercase()) else { return false };
        let is_it = |function: &Rc<Function>| Rc::ptr_eq(function, found);
        !except.iter().any(|library| library.functions.iter().any(is_it))
    }

    fn remove(&mut self, index: usize) -> Library {
        let library = self.libraries.remove(index);
        for function in &library.functions {
            let key = function.name.to_ascii_lowercase();
            if self.functions.get(&key).is_some_and(|found| Rc::ptr_eq(found, function)) {
                self.functions.remove(&key);
            }
        }
        library
    }

    /// Adds a library none of whose names is taken. Of its functions whose names differ only in case the first counts.
    fn add(&mut self, library: Library) {
        for function in &library.functions {
            let key = function.name.to_ascii_lowercase();
            self.functions.entry(key).or_insert_with(|| Rc::clone(function));
        }
        self.libraries.push(library);
    }
}

/// How `FUNCTION RESTORE` treats existing libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They are removed.
    Flush,
    /// They stay; nothing is restored if a name is already in use.
    Append,
    /// Those with the same names as restored ones are replaced.
    Replace,
}

/// All libraries, and the machine that runs them.
#[derive(Debug, Default)]
pub struct Libraries {
    set: Set,
    /// Present from the first library on.
    registrar: Option<Box<Registrar>>,
}

impl Libraries {
    /// The number of libraries.
    pub fn len(&self) -> usize {
        self.set.libraries.len()
    }

    /// The number of functions that can be called.
    pub fn functions_len(&self) -> usize {
        self.set.functions.len()
    }

    /// Iterates over the libraries, in the order in which they were loaded.
    pub fn iter(&self) -> impl Iterator<Item = &Library> {
        self.set.libraries.iter()
    }

    /// The libraries whose names match `pattern` in any case.
    pub fn matching<'a>(&'a self, pattern: &'a [u8]) -> impl Iterator<Item = &'a Library> {
        self.iter().filter(move |library| glob::matches(pattern, &library.name, true))
    }

    /// The sources of all libraries.
    pub fn sources(&self) -> Vec<&[u8]> {
        self.iter().map(|library| &library.source[..]).collect()
    }

    /// Returns all libraries in the format of `FUNCTION RESTORE`.
    pub fn dump(&self, compress: bool) -> Vec<u8> {
        payload::dump_functions(self.iter().map(|library| &library.source[..]), compress)
    }

    /// The machine that the functions are executed by, ready for one of them, if there is one.
    pub fn take(&mut self) -> Option<Box<Registrar>> {
        let mut registrar = self.registrar.take()?;
        registrar.prepare();
        Some(registrar)
    }

    /// Returns the machine to the libraries.
    pub fn give_back(&mut self, registrar: Box<Registrar>) {
        self.registrar = Some(registrar);
    }

    /// Returns the function of this name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<&Rc<Function>> {
        let mut lower = [0; 64];
        match lower.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                self.set.functions.get(&*lower)
            }
            None => self.set.functions.get(&name.to_ascii_lowercase()),
        }
    }

    /// Loads a library. Returns its name.
    ///
    /// # Errors
    /// The source is wrong, does not register a function or takes too long, or a name is taken: by another library, which
    /// `replace` lets it take the place of, or by a function of another library.
    pub fn load(&mut self, source: &[u8], replace: bool, terms: &Terms<'_>) -> Result<Vec<u8>, Error> {
        let head = shebang::of_library(source)?;
        let former = self.set.position(&head.name);
        if former.is_some() && !replace {
            return Err(Error::concat(&[b"ERR Library '", &head.name, b"' already exists"]));
        }
        let library = self.make(source, head, terms)?;
        let former = former.map(|index| &self.set.libraries[index..=index]).unwrap_or_default();
        if let Some(error) = taken(&self.set, &library, former) {
            self.release(library);
            return Err(error);
        }
        let name = library.name.clone();
        self.remove(&name);
        self.set.add(library);
        Ok(name)
    }

    /// Removes a library. Returns whether there was one of this name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(index) = self.set.position(name) else { return false };
        let library = self.set.remove(index);
        self.release(library);
        true
    }

    /// Removes all libraries, and everything their functions may have kept.
    pub fn clear(&mut self) {
        *self = Libraries::default();
    }

    /// Loads the libraries of a `FUNCTION DUMP` payload: all of them or none. Checks its checksum if `verifies`.
    ///
    /// # Errors
    /// As [`Libraries::load`]; or the payload is damaged.
    pub fn restore(
        &mut self,
        payload: &[u8],
        verifies: bool,
        policy: Policy,
        terms: &Terms<'_>,
    ) -> Result<(), Error> {
        let sources = payload::functions(payload, verifies).map_err(|error| match error {
            FunctionsError::VersionOrChecksum => "ERR DUMP payload version or checksum are wrong",
            FunctionsError::OldFormat => "ERR Pre-GA function format not supported",
            FunctionsError::Other => "ERR given type is not a function",
            FunctionsError::Source => "ERR Failed loading library payload",
        })?;
        let mut restored = Set::default();
        let mut outcome = sources.iter().try_for_each(|source| {
            let head = shebang::of_library(source)?;
            if restored.position(&head.name).is_some() {
                return Err(Error::concat(&[b"ERR Library '", &head.name, b"' already exists"]));
            }
            let library = self.make(source, head, terms)?;
            if let Some(error) = taken(&restored, &library, &[]) {
                self.release(library);
                return Err(error);
            }
            restored.add(library);
            Ok(())
        });
        if outcome.is_ok() && policy != Policy::Flush {
            outcome = self.verify_join(&restored, policy);
        }
        if outcome.is_err() {
            for library in restored.libraries {
                self.release(library);
            }
            return outcome;
        }
        if policy == Policy::Flush {
            let former = std::mem::take(&mut self.set.libraries);
            self.set.functions.clear();
            for library in former {
                self.release(library);
            }
        }
        for library in restored.libraries {
            self.remove(&library.name);
            self.set.add(library);
        }
        Ok(())
    }

    /// Whether all of `restored` can be added to those that there are.
    fn verify_join(&self, restored: &Set, policy: Policy) -> Result<(), Error> {
        let is_restored = |library: &&Library| restored.position(&library.name).is_some();
        if policy == Policy::Append
            && let Some(library) = self.iter().find(is_restored)
        {
            return Err(Error::concat(&[b"ERR Library ", &library.name, b" already exists"]));
        }
        let stays = |name: &[u8]| {
            self.iter().filter(|library| !is_restored(library)).any(|library| {
                library.functions.iter().any(|function| function.name.eq_ignore_ascii_case(name))
            })
        };
        let mut functions = restored.libraries.iter().flat_map(|library| &library.functions);
        match functions.find(|function| stays(&function.name)) {
            Some(function) => Err(function_exists(function)),
            None => Ok(()),
        }
    }

    /// Compiles and runs a library.
    fn make(&mut self, source: &[u8], head: shebang::Library, terms: &Terms<'_>) -> Result<Library, Error> {
        let registrar = self.registrar.get_or_insert_with(Box::default);
        let functions = registrar.run(&source[head.body..], terms)?;
        if functions.is_empty() {
            return Err("ERR No functions registered".into());
        }
        let functions = functions.into_iter().map(Rc::new).collect();
        Ok(Library { name: head.name, source: source.to_vec(), functions })
    }

    /// Releases the functions of a library that is not in the set.
    fn release(&mut self, library: Library) {
        let Some(registrar) = &mut self.registrar else { return };
        for function in library.functions {
            if let Some(function) = Rc::into_inner(function) {
                registrar.release(function.callback);
            }
        }
    }

    /// Bytes of memory of the sources and the functions' entries.
    pub fn overhead_bytes(&self) -> usize {
        let of_function = |function: &Rc<Function>| {
            let description = function.description.as_ref().map_or(0, Vec::capacity);
            2 * size_of::<Function>() + 2 * function.name.capacity() + description
        };
        let of_library = |library: &Library| {
            let functions: usize = library.functions.iter().map(of_function).sum();
            size_of::<Library>() + library.name.capacity() + library.source.capacity() + functions
        };
        self.iter().map(of_library).sum()
    }

    /// Bytes of memory of the machine.
    pub fn machine_bytes(&self) -> usize {
        self.registrar.as_ref().map_or(0, |registrar| registrar.machine.used_bytes())
    }
}

/// Returns why a library cannot be added to a set from which those in `leaving` will be removed, if so.
fn taken(set: &Set, library: &Library, leaving: &[Library]) -> Option<Error> {
    let taken = library.functions.iter().find(|function| set.has_function(&function.name, leaving))?;
    Some(function_exists(taken))
}

fn function_exists(function: &Function) -> Error {
    Error::concat(&[b"ERR Function ", &function.name, b" already exists"])
}
