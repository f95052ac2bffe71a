//! Reading a value in steps gives the same value, or the same error, as reading it at once, whatever the
//! steps.

use std::cell::Cell;

use super::super::tests::{
    contents, hash_of, list_of, set_of, small_shapes, sorted_set_of, stream_of, text, ziplist,
};
use super::super::{Encoder, SliceInput, save_value, stream, type_of, types};
use super::{Growing, LoadError, Target, load_value, load_whole};
use crate::dict::Seed;
use crate::types::stream::{Id, Stream};
use crate::types::{Encoding, Entry, Kind, Shapes};
use proptest::prelude::*;

/// What was read: the contents or the error, and the number of bytes that are left.
type Read = (Result<(Kind, Encoding, Option<i64>, Vec<String>), LoadError>, usize);

const EXPIRE_AT: Option<i64> = Some(77);

fn read(
    object: &[u8],
    how: impl FnOnce(u8, &mut SliceInput<'_>, Target<'_>) -> Result<Entry, LoadError>,
    shapes: &Shapes,
) -> Read {
    let (type_byte, value) = object.split_first().expect("a type byte");
    let mut input = SliceInput::new(value);
    let target = Target { key: b"key", expire_at: EXPIRE_AT, shapes };
    let result = how(*type_byte, &mut input, target).map(|entry| {
        assert_eq!(entry.key(), b"key");
        let (encoding, all) = contents(&entry);
        (entry.kind(), encoding, entry.expire_at(), all)
    });
    (result, input.rest().len())
}

fn read_at_once(object: &[u8], shapes: &Shapes) -> Read {
    read(object, |type_byte, input, target| load_value(type_byte, input, target), shapes)
}

/// Reads `ahead` elements one by one, then `size` at a time. Also returns the number of steps.
fn read_in_steps(object: &[u8], ahead: usize, size: usize, shapes: &Shapes) -> (Read, usize) {
    let mut steps = 0;
    let read = read(
        object,
        |type_byte, input, target| {
            if let Some(entry) = load_whole(type_byte, input, target)? {
                return Ok(entry);
            }
            let mut growing = Growing::begin(type_byte, input, target)?;
            loop {
                let allowed = Cell::new(if steps < ahead { 1 } else { size });
                let before = input.rest().len();
                let is_whole = growing.step(input, target, |_| {
                    let left = allowed.get();
                    allowed.set(left.saturating_sub(1));
                    left > 0
                })?;
                if is_whole {
                    return growing.finish(target);
                }
                assert!(input.rest().len() < before, "a step has read nothing");
                steps += 1;
            }
        },
        shapes,
    );
    (read, steps)
}

fn assert_same_in_steps(object: &[u8], shapes: &Shapes) {
    let whole = read_at_once(object, shapes);
    let (one_by_one, steps) = read_in_steps(object, usize::MAX, 1, shapes);
    assert_eq!(one_by_one, whole, "{}", object.escape_ascii());
    for ahead in 0..=steps {
        assert_eq!(read_in_steps(object, ahead, usize::MAX, shapes).0, whole, "{ahead} elements, then all");
    }
    for size in 2..=steps {
        assert_eq!(read_in_steps(object, 0, size, shapes).0, whole, "{size} elements at a time");
    }
}

fn encoded(write: impl FnOnce(&mut Encoder<'_, Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, true));
    out
}

fn object(entry: &Entry) -> Vec<u8> {
    encoded(|out| {
        out.raw(&[type_of(entry)]);
        save_value(entry, out);
    })
}

/// A list in the forms before 7.0: element by element, in one ziplist, and in several.
fn older_lists(texts: &[Vec<u8>]) -> [Vec<u8>; 3] {
    let elements = encoded(|out| {
        out.raw(&[types::LIST]);
        out.counted(texts.len(), texts, |out, text| out.string(text));
    });
    let short: Vec<&[u8]> = vec![b"\x01a", b"\xf6", b"\x03abc"];
    let one = encoded(|out| {
        out.raw(&[types::LIST_ZIPLIST]);
        out.string(&ziplist(&short));
    });
    let several = encoded(|out| {
        out.raw(&[types::LIST_QUICKLIST]);
        out.counted(texts.len(), texts, |out, text| out.string(&ziplist(&short[..=text.len() % 3])));
    });
    [elements, one, several]
}

/// A sorted set with its scores as digits.
fn older_sorted_set(texts: &[Vec<u8>]) -> Vec<u8> {
    encoded(|out| {
        out.raw(&[types::ZSET]);
        out.counted(texts.len(), texts.iter().enumerate(), |out, (n, text)| {
            out.string(text);
            let score = (n * 7 % 5).to_string();
            out.raw(&[score.len() as u8]);
            out.raw(score.as_bytes());
        });
    })
}

fn id(id: Id, out: &mut Encoder<'_, Vec<u8>>) {
    out.length(id.ms);
    out.length(id.seq);
}

/// A stream in the forms of 7.0 and 5.0.
fn older_streams(entry: &Entry) -> [Vec<u8>; 2] {
    let counted = encoded(|out| {
        out.raw(&[types::STREAM_2]);
        stream::save_as(entry, stream::Form::Counted, out);
    });
    let stream = entry.container::<Stream>().expect("a stream");
    let basic = encoded(|out| {
        out.raw(&[types::STREAM]);
        out.counted(stream.node_count(), stream.nodes(), |out, (first, listpack)| {
            out.string(&first.to_bytes());
            out.listpack(listpack);
        });
        out.length(stream.len());
        id(stream.figures().last_id, out);
        out.counted(stream.groups().len(), stream.groups(), |out, group| {
            out.string(group.name());
            id(group.last_id, out);
            out.counted(group.pending().len(), group.pending(), |out, (id, delivery)| {
                out.raw(&id.to_bytes());
                out.raw(&delivery.time.to_le_bytes());
                out.length(delivery.count);
            });
            out.counted(group.consumers().len(), group.consumers(), |out, consumer| {
                out.string(consumer.name());
                out.raw(&consumer.seen_time.to_le_bytes());
                out.counted(consumer.pending().len(), consumer.pending(), |out, id| {
                    out.raw(&id.to_bytes());
                });
            });
        });
    });
    [counted, basic]
}

/// A value in every form that lists its elements.
fn objects(texts: &[Vec<u8>], shapes: &Shapes) -> Vec<Vec<u8>> {
    let stream = stream_of(texts, shapes);
    let mut all: Vec<Vec<u8>> = [
        list_of(texts, shapes),
        set_of(texts, shapes),
        sorted_set_of(texts, shapes),
        hash_of(texts, false, shapes),
        hash_of(texts, true, shapes),
    ]
    .iter()
    .map(object)
    .collect();
    all.push(object(&stream));
    all.extend(older_streams(&stream));
    all.extend(older_lists(texts));
    all.push(older_sorted_set(texts));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_value_that_is_read_in_steps_is_the_one_that_is_read_at_once(
        texts in prop::collection::vec(text(), 1..14), low: bool
    ) {
        let (small, large) = (small_shapes(), Shapes::new(Seed::plain()));
        for object in objects(&texts, &small) {
            assert_same_in_steps(&object, if low { &small } else { &large });
        }
    }

    #[test]
    fn damage_is_found_in_steps_as_at_once(
        texts in prop::collection::vec(text(), 1..8), at: prop::sample::Index, to: u8, cut: prop::sample::Index
    ) {
        let shapes = small_shapes();
        for object in objects(&texts, &shapes) {
            assert_same_in_steps(&object[..=cut.index(object.len())], &shapes);
            let mut damaged = object;
            let at = at.index(damaged.len() - 1) + 1;
            damaged[at] = to;
            assert_same_in_steps(&damaged, &shapes);
        }
    }
}

#[test]
fn every_form_that_lists_its_elements_is_read_in_steps() {
    let shapes = small_shapes();
    let texts: Vec<Vec<u8>> = (0..12).map(|n| format!("text {n}").into_bytes()).collect();
    let mut seen = Vec::new();
    for object in objects(&texts, &shapes) {
        let ((result, rest), steps) = read_in_steps(&object, usize::MAX, 1, &shapes);
        let (_, _, expire_at, all) = result.expect("a good value");
        assert_eq!((rest, expire_at), (0, EXPIRE_AT));
        assert!(!all.is_empty());
        // A ziplist is one step; a node of a list has three elements here.
        assert!(object[0] == types::LIST_ZIPLIST || steps >= 3, "type {}: {steps} steps", object[0]);
        seen.push(object[0]);
    }
    seen.sort_unstable();
    let target = Target { key: b"key", expire_at: None, shapes: &shapes };
    let listing =
        (0..=u8::MAX).filter(|byte| Growing::begin(*byte, &mut SliceInput::new(&[1; 40]), target).is_ok());
    assert_eq!(seen, listing.collect::<Vec<_>>(), "all forms are tested");
}
