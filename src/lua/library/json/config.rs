//! The configuration of a `cjson` module, in a table that the module's functions share.

use crate::lua::heap::Heap;
use crate::lua::value::{TableId, Value};

/// How to encode an infinity or NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// As an error.
    Off,
    /// As `inf`, `-inf` or `nan`, which is not JSON.
    On,
    Null,
}

/// The values of all settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether a sparse table becomes an object instead of an error.
    pub encode_sparse_convert: bool,
    /// A table is sparse if its largest index exceeds this many times its number of elements; 0 disables the check.
    pub encode_sparse_ratio: i32,
    /// A table whose largest index is at most this is never sparse.
    pub encode_sparse_safe: i32,
    pub encode_max_depth: i32,
    pub encode_invalid_numbers: Invalid,
    /// Significant digits.
    pub encode_number_precision: i32,
    pub decode_invalid_numbers: bool,
    pub decode_max_depth: i32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            encode_sparse_convert: false,
            encode_sparse_ratio: 2,
            encode_sparse_safe: 10,
            encode_max_depth: 1000,
            encode_invalid_numbers: Invalid::Off,
            encode_number_precision: 14,
            decode_invalid_numbers: true,
            decode_max_depth: 1000,
        }
    }
}

/// Settings, as indexes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    SparseConvert = 1,
    SparseRatio,
    SparseSafe,
    EncodeDepth,
    EncodeInvalid,
    Precision,
    /// Has no effect.
    KeepBuffer,
    DecodeInvalid,
    DecodeDepth,
}

impl Setting {
    const COUNT: usize = Setting::DecodeDepth as usize;

    /// Returns the setting's value in a table made by `Config::store`.
    pub fn get(self, table: TableId, heap: &Heap) -> i32 {
        match heap.get_index(table, self as usize) {
            Value::Number(number) => number as i32,
            _ => 0,
        }
    }

    pub fn set(self, table: TableId, value: i32, heap: &mut Heap) {
        let result = heap.set_index(table, self as usize, Value::Number(f64::from(value)));
        debug_assert_eq!(result, Ok(()), "the table has room for every setting");
    }
}

impl Config {
    /// Creates a table with these settings.
    pub fn store(&self, heap: &mut Heap) -> TableId {
        let table = heap.new_table(Setting::COUNT, 0);
        self.write(table, heap);
        table
    }

    /// Writes these settings to a table made by `store`.
    pub fn write(&self, table: TableId, heap: &mut Heap) {
        for (setting, value) in [
            (Setting::SparseConvert, i32::from(self.encode_sparse_convert)),
            (Setting::SparseRatio, self.encode_sparse_ratio),
            (Setting::SparseSafe, self.encode_sparse_safe),
            (Setting::EncodeDepth, self.encode_max_depth),
            (Setting::EncodeInvalid, self.encode_invalid_numbers as i32),
            (Setting::Precision, self.encode_number_precision),
            (Setting::KeepBuffer, 1),
            (Setting::DecodeInvalid, i32::from(self.decode_invalid_numbers)),
            (Setting::DecodeDepth, self.decode_max_depth),
        ] {
            setting.set(table, value, heap);
        }
    }

    /// Reads the settings from a table made by `store`.
    pub fn load(table: TableId, heap: &Heap) -> Config {
        let values = heap.table(table).array();
        let get = |setting: Setting| match values.get(setting as usize - 1) {
            Some(Value::Number(number)) => *number as i32,
            _ => 0,
        };
        Config {
            encode_sparse_convert: get(Setting::SparseConvert) != 0,
            encode_sparse_ratio: get(Setting::SparseRatio),
            encode_sparse_safe: get(Setting::SparseSafe),
            encode_max_depth: get(Setting::EncodeDepth),
            encode_invalid_numbers: match get(Setting::EncodeInvalid) {
                0 => Invalid::Off,
                1 => Invalid::On,
                _ => Invalid::Null,
            },
            encode_number_precision: get(Setting::Precision),
            decode_invalid_numbers: get(Setting::DecodeInvalid) != 0,
            decode_max_depth: get(Setting::DecodeDepth),
        }
    }
}
