//! What Redis wrote is read, what is written is what Redis writes, and nothing that is broken is believed.

use super::payload::{PayloadError, dump, restore};
use super::*;
use crate::codec::crc64;
use proptest::prelude::*;

const TARGET: Target<'static> = Target { key: b"key", expire_at: None };

fn sealed(object: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [object, &version.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    payload
}

fn saved(entry: &Entry) -> Vec<u8> {
    let payload = dump(entry, true).expect("a string has a form");
    payload[..payload.len() - 10].to_vec()
}

#[test]
fn strings_are_written_in_the_form_that_redis_chooses() {
    let cases: [(&[u8], &[u8]); 15] = [
        (b"", b"\x00\x00"),
        (b"abc", b"\x00\x03abc"),
        (b"1", b"\x00\xc0\x01"),
        (b"-128", b"\x00\xc0\x80"),
        (b"128", b"\x00\xc1\x80\x00"),
        (b"-129", b"\x00\xc1\x7f\xff"),
        (b"32768", b"\x00\xc2\x00\x80\x00\x00"),
        (b"2147483647", b"\x00\xc2\xff\xff\xff\x7f"),
        (b"2147483648", b"\x00\x0a2147483648"),
        (b"9223372036854775807", b"\x00\x139223372036854775807"),
        (b"01", b"\x00\x0201"),
        (b"-0", b"\x00\x02-0"),
        (b"aaaaaaaaaaaaaaaaaaaa", b"\x00\x14aaaaaaaaaaaaaaaaaaaa"),
        (b"aaaaaaaaaaaaaaaaaaaaa", b"\x00\xc3\x06\x15\x01aa\xe0\x0a\x00"),
        (b"abcdefghijklmnopqrstu", b"\x00\x15abcdefghijklmnopqrstu"),
    ];
    for (value, expected) in cases {
        let whole = Entry::string(b"key", value, None);
        let mut grown = Entry::plain(b"key", b"", None);
        grown.append(value);
        for entry in [whole, grown] {
            assert_eq!(saved(&entry).escape_ascii().to_string(), expected.escape_ascii().to_string());
            let again = restore(&sealed(expected, 11), TARGET).expect("a good payload");
            assert_eq!(again.value().to_vec(), value);
        }
    }
}

#[test]
fn lengths_take_one_two_five_or_nine_bytes() {
    let cases: [(u64, &[u8]); 7] = [
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16_383, b"\x7f\xff"),
        (16_384, b"\x80\x00\x00\x40\x00"),
        (0xffff_ffff, b"\x80\xff\xff\xff\xff"),
        (0x1_0000_0000, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
        (u64::MAX, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (len, bytes) in cases {
        let mut out = Vec::new();
        Encoder::new(&mut out, true).length(len);
        assert_eq!(out, bytes);
        assert_eq!(SliceInput::new(bytes).length(), Ok(len));
    }
}

#[test]
fn a_payload_that_redis_made_is_taken() {
    let payload = b"\x00\x03abc\x0a\x00";
    let payload = [&payload[..], &crc64::checksum(payload).to_le_bytes()].concat();
    let entry = restore(&payload, Target { key: b"k", expire_at: Some(5) }).expect("a good payload");
    assert_eq!(
        (entry.key(), entry.value().to_vec(), entry.expire_at()),
        (&b"k"[..], b"abc".to_vec(), Some(5))
    );
    // DUMP of a key set to 10, by Redis 7.0.15.
    let made = b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb";
    assert_eq!(restore(made, TARGET).expect("a good payload").value().to_vec(), b"10");
}

#[test]
fn a_later_version_and_a_wrong_checksum_are_refused() {
    assert!(restore(&sealed(b"\x00\x03abc", 11), TARGET).is_ok());
    let refused = |payload: &[u8]| restore(payload, TARGET).err();
    assert_eq!(refused(&sealed(b"\x00\x03abc", 12)), Some(PayloadError::VersionOrChecksum));
    for len in 0..10 {
        assert_eq!(refused(&[0; 10][..len]), Some(PayloadError::VersionOrChecksum));
    }
    let good = sealed(b"\x00\x03abc", 11);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(&bad), Some(PayloadError::VersionOrChecksum));
    }
}

#[test]
fn claims_that_the_bytes_do_not_keep_are_refused() {
    for object in [
        &b""[..],
        b"\x00",
        b"\x00\x04abc",
        b"\x00\x40",
        b"\x00\x80\xff\xff\xff\xff",
        b"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x00\x82\x00",
        b"\x00\xc1\x00",
        b"\x00\xc4\x00",
        b"\x00\xc3\x03\x80\xff\xff\xff\xff\x00a\x20",
        b"\x00\xc3\xc0\x06\x15",
        b"\x06\x03abc",
        b"\xff",
    ] {
        let outcome = restore(&sealed(object, 11), TARGET);
        assert!(matches!(outcome, Err(PayloadError::Value(_))), "{}", object.escape_ascii());
    }
}

proptest! {
    #[test]
    fn a_string_comes_back_with_its_encoding(
        piece in prop::collection::vec(any::<u8>(), 0..60), count in 1usize..60, compress: bool
    ) {
        let entry = Entry::string(b"key", &piece.repeat(count), Some(7));
        let payload = dump(&entry, compress).expect("a string has a form");
        let again = restore(&payload, Target { key: b"key", expire_at: Some(7) }).expect("a good payload");
        prop_assert_eq!(again.value(), entry.value());
        prop_assert_eq!(again.encoding(), entry.encoding());
        prop_assert_eq!(again.expire_at(), Some(7));
    }
}
