//! The bitmap loops on a value of 100 MB, beside a plain sum over its bytes: how close are they to memory speed?
//!
//! Run: `cargo bench --bench bits`. Throughput counts source bytes: two values for AND, OR and XOR, one for the others.
//! `and_into_new` is the cost of `BITOP` if the destination has no memory to write to yet, including the kernel's work on
//! fresh pages.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redstart::types::Block;
use redstart::types::bits::{self, BitOperation};

const LEN: usize = 100_000_000;

/// Bytes without a pattern that a processor could predict.
fn value(mut state: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    while bytes.len() < LEN {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_ne_bytes());
    }
    bytes
}

fn large(c: &mut Criterion) {
    let (one, two) = (value(1), value(2));
    let zeroes = vec![1u8; LEN].into_iter().map(|byte| byte - black_box(1)).collect::<Vec<u8>>();
    let mut target = one.clone();
    let mut group = c.benchmark_group("100MB");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes(LEN as u64));
    group.bench_function("sum", |b| {
        b.iter(|| black_box(&one[..]).iter().map(|&byte| u64::from(byte)).sum::<u64>());
    });
    group.bench_function("count", |b| b.iter(|| bits::count(black_box(&one))));
    group.bench_function("find", |b| {
        b.iter(|| bits::find_in(black_box(&zeroes), 0..LEN as u64 * 8, true));
    });
    group.bench_function("not_in_place", |b| {
        b.iter(|| bits::combine::<&[u8]>(BitOperation::Not, black_box(&mut target), true, &[]));
    });
    group.throughput(Throughput::Bytes(2 * LEN as u64));
    for operation in [BitOperation::And, BitOperation::Or, BitOperation::Xor] {
        group.bench_function(format!("{operation:?}").to_lowercase(), |b| {
            b.iter(|| bits::combine(operation, black_box(&mut target), false, black_box(&[&one[..], &two])));
        });
    }
    group.bench_function("or_in_place", |b| {
        b.iter(|| bits::combine(BitOperation::Or, black_box(&mut target), true, black_box(&[&two[..]])));
    });
    group.bench_function("and_into_new", |b| {
        b.iter(|| {
            let mut fresh = Block::zeroed(LEN);
            bits::combine(BitOperation::And, fresh.make_mut(), false, black_box(&[&one[..], &two]));
            fresh
        });
    });
    group.finish();
}

criterion_group!(benches, large);
criterion_main!(benches);
