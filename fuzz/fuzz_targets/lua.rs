//! The script engine: it refuses any source or executes it, in slices or at once with the same outcome, within its
//! memory limit, and the machine then serves the next script.
//!
//! Input: the source.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::lua::{Libraries, Machine, Options, Progress, Value};

const MEMORY: usize = 8 << 20;
const STEPS: usize = 60_000;

fn machine() -> Machine {
    Machine::new(Options { seed: 42, memory_limit_bytes: MEMORY, libraries: Libraries::Full })
}

/// How a program ended, as far as that cannot depend on addresses, and what it printed; `None` if it had not ended
/// after all steps.
fn outcome(machine: &mut Machine, source: &[u8], slice: usize) -> Option<(String, Vec<u8>)> {
    let function = match machine.load(source, b"@fuzz") {
        Ok(function) => function,
        Err(message) => return Some((String::from_utf8_lossy(&message).into_owned(), Vec::new())),
    };
    machine.begin(function, &[]);
    for _ in 0..STEPS / slice {
        let progress = machine.run(slice);
        // One instruction may create a string or a stack before the limit is checked.
        assert!(machine.used_bytes() <= 2 * MEMORY, "{} bytes in use", machine.used_bytes());
        let text = match progress {
            Progress::Paused => continue,
            Progress::Finished { results } => format!("{results} results"),
            Progress::Failed(failure) => match failure.value {
                Value::String(string) => String::from_utf8_lossy(machine.heap.bytes(string)).into_owned(),
                other => other.type_name().to_string(),
            },
            Progress::Host { .. } | Progress::Stopped(_) => panic!("no function of the host is known"),
        };
        return Some((text, std::mem::take(&mut machine.output)));
    }
    machine.abandon();
    machine.output.clear();
    None
}

/// Whether an outcome may differ between runs: it shows how much memory was in use, or that memory ran out.
fn depends_on_memory(source: &[u8], text: &str) -> bool {
    let reads = |name: &[u8]| source.windows(name.len()).any(|window| window == name);
    text.contains("memory")
        || reads(b"collectgarbage")
        || reads(b"gcinfo")
        || reads(b"__mode")
        || reads(b"random")
}

fuzz_target!(|source: &[u8]| {
    let mut first = machine();
    let at_once = outcome(&mut first, source, STEPS);
    let mut second = machine();
    let in_slices = outcome(&mut second, source, 37);
    if let (Some(a), Some(b)) = (&at_once, &in_slices)
        && !depends_on_memory(source, &a.0)
        && !depends_on_memory(source, &b.0)
    {
        assert_eq!(a, b);
    }
    // Its changes to globals stay, but the machine works.
    for machine in [&mut first, &mut second] {
        assert!(machine.is_idle());
        let after = outcome(machine, b"local s = 0 for i = 1, 10 do s = s + i end return s", STEPS);
        assert_eq!(after.map(|after| after.0), Some("1 results".to_string()));
    }
});
