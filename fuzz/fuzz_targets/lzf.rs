//! LZF: no bytes make the decompressor panic or return another length than requested, and compressed data decompresses to
//! the original.
//!
//! Input: two bytes of claimed length, then bytes that are both decompressed and compressed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::codec::lzf;

fuzz_target!(|input: &[u8]| {
    let Some((claimed, bytes)) = input.split_first_chunk() else { return };
    let claimed = usize::from(u16::from_le_bytes(*claimed));
    for len in [claimed, usize::MAX] {
        if let Some(out) = lzf::decompress(bytes, len) {
            assert_eq!(out.len(), len);
        }
    }
    let mut out = b"before".to_vec();
    for most in [bytes.len().saturating_sub(4), claimed] {
        out.truncate(6);
        if lzf::compress(bytes, &mut out, most) {
            assert!(out.len() - 6 <= most);
            assert_eq!(lzf::decompress(&out[6..], bytes.len()).as_deref(), Some(bytes));
        }
        assert!(out.starts_with(b"before"));
    }
});
