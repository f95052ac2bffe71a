//! How many bytes per second do the codecs of DUMP payloads and RDB files process? On one core: `cargo bench --bench codec`.
//!
//! `json`: many short matches, as in typical documents. `log`: longer ones. `noise`: none, so the compressor gives up when
//! the output would be too long. The rate counts uncompressed bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redstart::codec::{crc64, lzf, sha1};

const LEN: usize = 64 << 10;

fn random() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(LEN);
    bytes
}

fn json() -> Vec<u8> {
    let mut random = random();
    let record = |n: u64, m: u64| {
        format!("{{\"id\":{n},\"name\":\"user-{m}\",\"score\":{},\"active\":true}},", n % 997)
    };
    cut((0..LEN / 40).flat_map(|_| record(random(), random() % 1000).into_bytes()).collect())
}

fn log() -> Vec<u8> {
    let mut random = random();
    let line = |n: u64| {
        format!("2024-05-01T12:34:56.789Z INFO server::connection accepted a client from 10.0.0.{n}\n")
    };
    cut((0..LEN / 60).flat_map(|_| line(random() % 256).into_bytes()).collect())
}

fn noise() -> Vec<u8> {
    let mut random = random();
    (0..LEN).map(|_| random() as u8).collect()
}

fn codecs(c: &mut Criterion) {
    let mut group = c.benchmark_group("lzf");
    group.throughput(Throughput::Bytes(LEN as u64));
    for (name, input) in [("json", json()), ("log", log()), ("noise", noise())] {
        let mut out = Vec::with_capacity(LEN);
        group.bench_function(format!("compress/{name}"), |b| {
            b.iter(|| {
                out.clear();
                lzf::compress(black_box(&input), &mut out, LEN - 4)
            });
        });
        if lzf::compress(&input, &mut out, LEN - 4) {
            out.clear();
            lzf::compress(&input, &mut out, LEN - 4);
            group.bench_function(format!("decompress/{name}"), |b| {
                b.iter(|| lzf::decompress(black_box(&out), LEN));
            });
        }
    }
    group.finish();
    let mut group = c.benchmark_group("sum");
    group.throughput(Throughput::Bytes(LEN as u64));
    let noise = noise();
    group.bench_function("crc64", |b| b.iter(|| crc64::checksum(black_box(&noise))));
    group.bench_function("sha1", |b| b.iter(|| sha1::sha1(black_box(&noise))));
    group.finish();
}

criterion_group!(benches, codecs);
criterion_main!(benches);
