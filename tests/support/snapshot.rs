//! Snapshots with a single large value, made without a server.

/// A type of value that is stored element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    List,
    Set,
    Hash,
    SortedSet,
}

/// The key of the value.
pub const KEY: &str = "huge";

impl Large {
    pub const ALL: [Large; 4] = [Large::List, Large::Set, Large::Hash, Large::SortedSet];

    /// The command that returns the number of elements.
    pub fn count_command(self) -> String {
        let name = match self {
            Large::List => "LLEN",
            Large::Set => "SCARD",
            Large::Hash => "HLEN",
            Large::SortedSet => "ZCARD",
        };
        format!("{name} {KEY}")
    }

    /// The file of a data set whose only key has `count` elements.
    pub fn snapshot(self, count: u32) -> Vec<u8> {
        let type_byte = match self {
            Large::List => 1,
            Large::Set => 2,
            Large::Hash => 4,
            Large::SortedSet => 5,
        };
        let mut file = b"REDIS0011\xfe\x00".to_vec();
        file.push(type_byte);
        string(KEY.as_bytes(), &mut file);
        file.push(0x80);
        file.extend_from_slice(&count.to_be_bytes());
        // Redis stores the elements of a sorted set from the last to the first.
        for n in (0..count).rev() {
            string(format!("element:{n:010}").as_bytes(), &mut file);
            match self {
                Large::List | Large::Set => {}
                Large::Hash => string(b"value", &mut file),
                Large::SortedSet => file.extend_from_slice(&f64::from(n).to_le_bytes()),
            }
        }
        // The end, and no checksum.
        file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
        file
    }
}

/// Appends a string of less than 64 bytes.
fn string(bytes: &[u8], file: &mut Vec<u8>) {
    file.push(bytes.len() as u8);
    file.extend_from_slice(bytes);
}
