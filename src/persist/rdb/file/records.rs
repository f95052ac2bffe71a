//! The contents of a file, record by record.
//!
//! A record begins with a type byte or an opcode. The expiry and the access statistics that precede a key belong to the
//! key's record. The value is read by a call of its own, [`Records::value`], since only the caller knows what to make
//! of it.

use std::io::Read;

use super::super::{Growing, Input, LATEST, LoadError, Target, load_value, load_whole, types};
use super::{
    Doing, Fault, RdbError, SIGNATURE, SIGNATURE_OF_VALKEY, Source, VERSION_OF_VALKEY, opcode, version_in,
};
use crate::types::{Entry, Shapes};

/// The first version that ends with a checksum.
pub(super) const WITH_CHECKSUM: u16 = 5;

/// The digits of the version.
const DIGITS: usize = 4;

/// The fields before a value. The key itself is [`Records::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHead {
    /// The type byte of the value.
    pub type_byte: u8,
    /// The key's expiry in Unix milliseconds.
    pub expire_at: Option<i64>,
    /// Seconds since the key was last used.
    pub idle_seconds: Option<u64>,
    /// The key's LFU counter.
    pub frequency: Option<u8>,
}

/// The result for the checksum at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is correct.
    Right,
    /// The writer computed none.
    Off,
    /// It was not verified, as requested.
    Ignored,
    /// The file's version has none.
    None,
}

/// A part of a file.
#[derive(Debug)]
pub enum Record {
    /// A name and a value with metadata of the file.
    Aux(Vec<u8>, Vec<u8>),
    /// The keys that follow are in this database.
    Select(u64),
    /// The approximate number of keys in the selected database, and of those that expire.
    Resize(u64, u64),
    /// The source of a library of functions.
    Function(Vec<u8>),
    /// Data of the module with this ID, which was skipped.
    ModuleAux(u64),
    /// Figures about a slot of a cluster, which were skipped.
    SlotInfo,
    /// A key. Read its value next: call [`Records::value`], [`Records::whole_value`] or
    /// [`Records::skip_module_value`].
    Key(KeyHead),
    /// The end of the file.
    End(Checksum),
}

/// Reads a file record by record.
pub struct Records<R> {
    source: Source<R>,
    version: u16,
    doing: Doing,
    key: Vec<u8>,
    type_byte: Option<u8>,
    verify: bool,
}

impl<R: Read> Records<R> {
    /// Reads the signature and the version. Verifies the checksum at the end if `checksum`.
    pub fn open(mut source: Source<R>, checksum: bool) -> Result<Self, RdbError> {
        if !checksum {
            source.ignore_checksum();
        }
        let mut records = Records {
            source,
            version: 0,
            doing: Doing::Start,
            key: Vec::new(),
            type_byte: None,
            verify: checksum,
        };
        let mut head = [0; SIGNATURE.len() + DIGITS];
        let (mut len, mut failed) = (0, None);
        while len < head.len() && failed.is_none() {
            match records.source.byte() {
                Ok(byte) => (head[len], len) = (byte, len + 1),
                Err(error) => failed = Some(error),
            }
        }
        let begins_as = |signature: &[u8]| signature.starts_with(&head[..len.min(signature.len())]);
        if !begins_as(SIGNATURE) && !begins_as(SIGNATURE_OF_VALKEY) {
            return Err(records.error(Fault::Signature));
        }
        if let Some(error) = failed {
            return Err(RdbError { offset: 0, ..records.value_error(error) });
        }
        let is_valkey = head.starts_with(SIGNATURE_OF_VALKEY);
        let signature = if is_valkey { SIGNATURE_OF_VALKEY.len() } else { SIGNATURE.len() };
        records.version = version_in(&head[signature..]);
        match (is_valkey, records.version) {
            (false, 1..=LATEST) | (true, VERSION_OF_VALKEY) => Ok(records),
            (false, other) => Err(records.error(Fault::Version(other.into()))),
            (true, other) => Err(records.error(Fault::VersionOfValkey(other.into()))),
        }
    }

    /// The version of the format.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The number of bytes read so far.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The file.
    pub fn input(&self) -> &R {
        self.source.input()
    }

    /// See [`Records::input`].
    pub fn input_mut(&mut self) -> &mut R {
        self.source.input_mut()
    }

    /// The key whose record was read last.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The number of keys to reserve room for, out of an announced `count`.
    pub fn reservable_keys(&self, count: u64) -> usize {
        self.source.reservable(count, KEY_BYTES)
    }

    /// Returns the bytes that were read ahead, and the file.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.source.into_rest()
    }

    /// Makes an error at the current place.
    pub fn error(&self, fault: Fault) -> RdbError {
        RdbError {
            offset: self.offset(),
            fault,
            doing: self.doing,
            key: (self.doing == Doing::Value).then(|| self.key.clone()),
            type_byte: self.type_byte,
        }
    }

    #[cold]
    fn value_error(&mut self, error: LoadError) -> RdbError {
        let fault = match (self.source.take_error(), error) {
            (Some(error), _) => Fault::Io(error),
            (None, LoadError::Ended) => Fault::Ended,
            (None, LoadError::UnknownType(byte)) => Fault::Type(byte),
            (None, error) => Fault::Value(error),
        };
        self.error(fault)
    }

    /// Runs a reading step, and adds the place to its error.
    #[inline]
    fn read<T>(
        &mut self,
        doing: Doing,
        step: impl FnOnce(&mut Source<R>) -> Result<T, LoadError>,
    ) -> Result<T, RdbError> {
        self.doing = doing;
        step(&mut self.source).map_err(|error| self.value_error(error))
    }

    fn string(&mut self, doing: Doing) -> Result<Vec<u8>, RdbError> {
        self.read(doing, |source| Ok(source.string()?.into_bytes().into_owned()))
    }

    fn length(&mut self, doing: Doing) -> Result<u64, RdbError> {
        self.read(doing, Source::length)
    }

    /// Reads the next record.
    #[inline]
    pub fn next_record(&mut self) -> Result<Record, RdbError> {
        let mut head = KeyHead { type_byte: 0, expire_at: None, idle_seconds: None, frequency: None };
        self.type_byte = None;
        loop {
            let byte = self.read(Doing::Type, Source::byte)?;
            match byte {
                opcode::EXPIRETIME_MS => {
                    let time = self.read(Doing::Expire, Source::array)?;
                    head.expire_at = Some(i64::from_le_bytes(time));
                }
                opcode::EXPIRETIME => {
                    let seconds = self.read(Doing::Expire, Source::array)?;
                    head.expire_at = Some(i64::from(i32::from_le_bytes(seconds)) * 1000);
                }
                opcode::IDLE => head.idle_seconds = Some(self.length(Doing::Type)?),
                opcode::FREQ => head.frequency = Some(self.read(Doing::Type, Source::byte)?),
                opcode::SLOT_INFO..=opcode::EOF => return self.special(byte),
                type_byte => {
                    if !types::is_known(type_byte) {
                        return Err(self.error(Fault::Type(type_byte)));
                    }
                    self.type_byte = Some(type_byte);
                    head.type_byte = type_byte;
                    self.read_key()?;
                    return Ok(Record::Key(head));
                }
            }
        }
    }

    #[inline]
    fn read_key(&mut self) -> Result<(), RdbError> {
        self.doing = Doing::Key;
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let read = self.source.string().map(|name| key.extend_from_slice(&name.into_bytes()));
        self.key = key;
        read.map_err(|error| self.value_error(error))
    }

    /// Reads a record that is not a key.
    #[inline(never)]
    fn special(&mut self, byte: u8) -> Result<Record, RdbError> {
        Ok(match byte {
            opcode::AUX => Record::Aux(self.string(Doing::Aux)?, self.string(Doing::Aux)?),
            opcode::SELECTDB => Record::Select(self.length(Doing::Length)?),
            opcode::RESIZEDB => Record::Resize(self.length(Doing::Length)?, self.length(Doing::Length)?),
            opcode::FUNCTION2 => Record::Function(self.string(Doing::Functions)?),
            opcode::FUNCTION_PRE_GA => return Err(self.error(Fault::OldFunction)),
            opcode::MODULE_AUX => {
                let id = self.length(Doing::ModuleAux)?;
                let when = self.length(Doing::ModuleAux)?;
                self.length(Doing::ModuleAux)?;
                if when != module::UINT {
                    return Err(self.error(Fault::ModuleAux));
                }
                self.read(Doing::ModuleAux, skip_module_data)?;
                Record::ModuleAux(id)
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    self.length(Doing::Length)?;
                }
                Record::SlotInfo
            }
            _ => Record::End(self.end()?),
        })
    }

    fn end(&mut self) -> Result<Checksum, RdbError> {
        if self.version < WITH_CHECKSUM {
            return Ok(Checksum::None);
        }
        let own = self.source.checksum();
        let expected = u64::from_le_bytes(self.read(Doing::Checksum, Source::array)?);
        match expected {
            _ if !self.verify => Ok(Checksum::Ignored),
            0 => Ok(Checksum::Off),
            _ if expected == own => Ok(Checksum::Right),
            _ => Err(self.error(Fault::Checksum(expected, own))),
        }
    }

    /// Reads the value of the key that `head` describes, with all its elements. Returns it as an entry under that key and
    /// with its expiry. After an error that [`is_empty`](RdbError::is_empty), the next record can still be read.
    pub fn value(&mut self, head: &KeyHead, shapes: &Shapes) -> Result<Entry, RdbError> {
        self.read_value(head, shapes, load_value)
    }

    /// Reads a value as [`Records::value`] does, if it is not stored element by element. After `None`, call
    /// [`Records::begin_value`].
    #[inline]
    pub fn whole_value(&mut self, head: &KeyHead, shapes: &Shapes) -> Result<Option<Entry>, RdbError> {
        self.read_value(head, shapes, load_whole)
    }

    /// Begins to read a value that is stored element by element. Call [`Records::step_value`] next.
    pub fn begin_value(&mut self, head: &KeyHead, shapes: &Shapes) -> Result<Growing, RdbError> {
        self.read_value(head, shapes, Growing::begin)
    }

    #[inline]
    fn read_value<T>(
        &mut self,
        head: &KeyHead,
        shapes: &Shapes,
        read: impl FnOnce(u8, &mut Source<R>, Target<'_>) -> Result<T, LoadError>,
    ) -> Result<T, RdbError> {
        self.doing = Doing::Value;
        if matches!(head.type_byte, types::MODULE | types::MODULE_PRE_GA) {
            return Err(self.error(Fault::Module));
        }
        let target = Target { key: &self.key, expire_at: head.expire_at, shapes };
        let loaded = read(head.type_byte, &mut self.source, target);
        self.source.forget_long_string();
        loaded.map_err(|error| self.value_error(error))
    }

    /// Reads elements of the value that was begun, until one ends at or after the offset `until`. Returns
    /// whether all elements have been read; if so, call [`Records::finish_value`] next.
    pub fn step_value(
        &mut self,
        head: &KeyHead,
        growing: &mut Growing,
        until: u64,
        shapes: &Shapes,
    ) -> Result<bool, RdbError> {
        let target = Target { key: &self.key, expire_at: head.expire_at, shapes };
        let stepped = growing.step(&mut self.source, target, |source| source.offset() < until);
        self.source.forget_long_string();
        stepped.map_err(|error| self.value_error(error))
    }

    /// Returns the value whose elements have all been read, as [`Records::value`] does.
    pub fn finish_value(
        &mut self,
        head: &KeyHead,
        growing: Growing,
        shapes: &Shapes,
    ) -> Result<Entry, RdbError> {
        let target = Target { key: &self.key, expire_at: head.expire_at, shapes };
        growing.finish(target).map_err(|error| self.value_error(error))
    }

    /// Skips the value of a module.
    pub fn skip_module_value(&mut self) -> Result<(), RdbError> {
        if self.type_byte != Some(types::MODULE) {
            self.doing = Doing::Value;
            return Err(self.error(Fault::Module));
        }
        self.read(Doing::Value, |source| {
            source.length()?;
            skip_module_data(source)
        })
    }
}

impl RdbError {
    /// Whether the error is that the value is a collection without elements, which older versions of Redis could write.
    pub fn is_empty(&self) -> bool {
        matches!(self.fault, Fault::Value(LoadError::EMPTY))
    }
}

/// The minimum size of a key with its value in bytes, approximately.
const KEY_BYTES: u64 = 8;

/// The parts of a module's data.
pub(super) mod module {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

fn skip_module_data(source: &mut Source<impl Read>) -> Result<(), LoadError> {
    loop {
        match source.length()? {
            module::EOF => return Ok(()),
            module::SINT | module::UINT => drop(source.length()?),
            module::FLOAT => drop(source.array::<4>()?),
            module::DOUBLE => drop(source.array::<8>()?),
            module::STRING => drop(source.string()?),
            _ => return Err(LoadError::Malformed("unknown module data")),
        }
    }
}
