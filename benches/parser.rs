//! How long does a request take to parse, and a reply to write? Nanoseconds per element, on one core:
//! `cargo bench --bench parser`.
//!
//! `pipeline`: 16 requests in one window, as one `recv` delivers them with `redis-benchmark -P 16`; the time is per
//! request. `split`: the same requests in pieces, which shows the cost of incomplete requests. `reply`: one reply.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use redstart::resp::{Limits, Parsed, Partial, Protocol, Reply, Span, parse};
use redstart::text::glob;
use redstart::text::number::{parse_f64, parse_i64, push_f64, push_i64};

const PIPELINE: usize = 16;

fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Reply::new(&mut bytes, Protocol::Resp2);
    writer.array(arguments.len());
    for argument in arguments {
        writer.bulk(argument);
    }
    bytes
}

/// Parses all requests of a window like the server: the spans of a batch are in one list.
fn parse_all(window: &[u8], partial: &mut Partial, spans: &mut Vec<Span>) -> usize {
    let limits = Limits::default();
    spans.clear();
    let (mut at, mut requests) = (0, 0);
    while let Ok(Parsed::Whole { end }) = parse(window, at, partial, &limits, spans) {
        at = end;
        requests += 1;
    }
    requests
}

fn pipelines(c: &mut Criterion) {
    let value = vec![b'x'; 1024];
    let fields: Vec<&[u8]> =
        std::iter::once(&b"MSET"[..]).chain([&b"key:000000000001"[..], b"xxx"].repeat(10)).collect();
    let shapes: [(&str, Vec<u8>); 7] = [
        ("ping", request(&[b"PING"]).repeat(PIPELINE)),
        ("get", request(&[b"GET", b"key:000000000001"]).repeat(PIPELINE)),
        ("set", request(&[b"SET", b"key:000000000001", b"xxx"]).repeat(PIPELINE)),
        ("set_1k", request(&[b"SET", b"key:000000000001", &value]).repeat(PIPELINE)),
        ("mset_10", request(&fields).repeat(PIPELINE)),
        ("set_of_many_lengths", many_lengths()),
        ("inline_ping", b"PING\r\n".repeat(PIPELINE)),
    ];
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for (name, window) in &shapes {
        let (mut partial, mut spans) = (Partial::default(), Vec::new());
        if *name == "inline_ping" {
            group.bench_function(*name, |b| {
                b.iter(|| parse_inline(black_box(window), &mut partial, &mut spans));
            });
            continue;
        }
        assert_eq!(parse_all(window, &mut partial, &mut spans), PIPELINE);
        group.bench_function(*name, |b| b.iter(|| parse_all(black_box(window), &mut partial, &mut spans)));
    }
    group.finish();
}

/// Sixteen SETs whose keys and values have lengths of one to four digits, in an order that a branch predictor cannot
/// learn from one window to the next (it does learn a single window).
fn many_lengths() -> Vec<u8> {
    let mut seed = 12345u64;
    let mut length = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        vec![b'v'; (seed >> 33) as usize % most as usize]
    };
    (0..PIPELINE).flat_map(|i| request(&[b"SET", &length(40), &length([8, 80, 800, 2000][i % 4])])).collect()
}

fn parse_inline(window: &[u8], partial: &mut Partial, spans: &mut Vec<Span>) -> usize {
    let mut at = 0;
    while let Ok(Parsed::Inline { end, words }) = parse(window, at, partial, &Limits::default(), spans) {
        black_box(words);
        at = end;
    }
    at
}

fn splits(c: &mut Criterion) {
    let bytes = request(&[b"SET", b"key:000000000001", b"xxx"]).repeat(PIPELINE);
    let mut group = c.benchmark_group("split");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for piece in [1, 7, 100] {
        let (mut partial, mut spans) = (Partial::default(), Vec::new());
        group.bench_function(format!("set_in_pieces_of_{piece}"), |b| {
            b.iter(|| {
                let (mut start, mut received) = (0, 0);
                while received < bytes.len() {
                    received = (received + piece).min(bytes.len());
                    let window = black_box(&bytes[..received]);
                    while let Ok(Parsed::Whole { end }) =
                        parse(window, start, &mut partial, &Limits::default(), &mut spans)
                    {
                        start = end;
                        spans.clear();
                    }
                }
                start
            });
        });
    }
    group.finish();
}

fn replies(c: &mut Criterion) {
    type Write = fn(&mut Reply<'_>);
    let shapes: [(&str, Write); 7] = [
        ("ok", |r| r.ok()),
        ("integer_7", |r| r.integer(black_box(7))),
        ("integer_1234", |r| r.integer(black_box(1234))),
        ("integer_1234567890", |r| r.integer(black_box(1_234_567_890))),
        ("bulk_3", |r| r.bulk(black_box(b"xxx"))),
        ("bulk_64", |r| r.bulk(black_box(&[b'x'; 64]))),
        ("double", |r| r.double(black_box(3.25))),
    ];
    let mut group = c.benchmark_group("reply");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for (name, write) in shapes {
        let mut buf = Vec::with_capacity(1 << 16);
        group.bench_function(name, |b| {
            b.iter(|| {
                buf.clear();
                let mut reply = Reply::new(&mut buf, Protocol::Resp2);
                for _ in 0..PIPELINE {
                    write(&mut reply);
                }
            });
        });
    }
    group.finish();
}

fn texts(c: &mut Criterion) {
    let mut group = c.benchmark_group("text");
    group.bench_function("parse_i64_5_digits", |b| b.iter(|| parse_i64(black_box(b"12345"))));
    group.bench_function("parse_i64_19_digits", |b| b.iter(|| parse_i64(black_box(b"1234567890123456789"))));
    group.bench_function("parse_f64", |b| b.iter(|| parse_f64(black_box(b"-20.718"))));
    group.bench_function("push_i64_5_digits", |b| {
        b.iter_batched_ref(
            || Vec::with_capacity(32),
            |out| push_i64(out, black_box(12345)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("push_f64", |b| {
        b.iter_batched_ref(
            || Vec::with_capacity(32),
            |out| push_f64(out, black_box(-20.718)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("glob_user_star", |b| {
        b.iter(|| glob::matches(black_box(b"user:*:name"), black_box(b"user:1234567:name"), false));
    });
    group.finish();
}

criterion_group!(benches, pipelines, splits, replies, texts);
criterion_main!(benches);
