//! The decoders of scripts: no input makes `cjson.decode`, `cmsgpack.unpack`, `struct.unpack`, a pattern or a format
//! panic, or allocate what a length only claims.
//!
//! Input: a byte that picks the function, one that says how many of the rest are its first argument, and the arguments.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::lua::{Libraries, Machine, Options, Progress, Value};

const MEMORY: usize = 16 << 20;
const STEPS: usize = 2_000_000;

/// Each function gets two strings, and fails or returns.
const PROGRAMS: &[&[u8]] = &[
    // A number that is too large decodes as infinite, and cannot be encoded again.
    b"local a = ... local ok, v = pcall(cjson.decode, a) if ok then local encoded, e = pcall(cjson.encode, v) \
      if encoded then assert(cjson.encode(cjson.decode(e)) ~= nil) else assert(e:find('NaN or Inf'), e) end end",
    b"local a = ... pcall(cmsgpack.unpack, a) pcall(cmsgpack.unpack_one, a, 1) pcall(cmsgpack.unpack_limit, a, 3, 1)",
    b"local a = ... local ok, v = pcall(cmsgpack.unpack_one, a) if ok then cmsgpack.unpack(cmsgpack.pack(v)) end",
    b"local a, b = ... pcall(struct.unpack, a, b) pcall(struct.unpack, a, b, 3)",
    b"local a, b = ... pcall(struct.pack, a, b, 1, -1, 0.5, b) pcall(struct.size, a)",
    b"local a, b = ... pcall(string.find, b, a) pcall(string.match, b, a, 2)",
    b"local a, b = ... pcall(string.gsub, b, a, '%0%1') pcall(string.gsub, a, '%w', b)",
    b"local a, b = ... pcall(string.format, a, b, 1, 2.5, -3, b, b)",
    b"local a, b = ... pcall(tonumber, a) pcall(tonumber, a, #b + 2) pcall(loadstring, a, b)",
    b"local a, b = ... pcall(string.rep, a, #b) pcall(table.concat, { a, b, a }, b) local _ = a < b, a .. b == b .. a",
];

fuzz_target!(|input: &[u8]| {
    let [pick, cut, rest @ ..] = input else { return };
    let program = PROGRAMS[usize::from(*pick) % PROGRAMS.len()];
    let (first, second) = rest.split_at(usize::from(*cut).min(rest.len()));
    let mut machine =
        Machine::new(Options { seed: 7, memory_limit_bytes: MEMORY, libraries: Libraries::Redis });
    let function = machine.load(program, b"=program").expect("compiles");
    // A function of one argument gets all of it.
    let first = if usize::from(*pick) % PROGRAMS.len() < 3 { rest } else { first };
    let arguments = [first, second].map(|bytes| Value::String(machine.heap.string(bytes)));
    machine.begin(function, &arguments);
    let mut steps = 0;
    loop {
        match machine.run(1000) {
            Progress::Paused if steps < STEPS => steps += 1000,
            // Patterns may take any time.
            Progress::Paused => return machine.abandon(),
            Progress::Finished { .. } => return,
            Progress::Failed(failure) => {
                let mut text = Vec::new();
                machine.heap.to_bytes(failure.value, &mut text);
                let text = String::from_utf8_lossy(&text);
                assert!(
                    text.contains("memory") || text.contains("excessive") || text.contains("too "),
                    "{text}"
                );
                return;
            }
            Progress::Host { .. } | Progress::Stopped(_) => panic!("no function of the host is known"),
        }
    }
});
