//! Runs a file of Lua: `cargo run --example lua FILE`.
use redstart::lua::{Libraries, Machine, Options, Progress};
fn main() {
    let path = std::env::args().nth(1).expect("a file");
    let source = std::fs::read(&path).expect("its contents");
    let mut machine =
        Machine::new(Options { seed: 1, memory_limit_bytes: 1 << 30, libraries: Libraries::Full });
    let function = match machine.load(&source, format!("@{path}").as_bytes()) {
        Ok(function) => function,
        Err(message) => {
            eprintln!("lua5.1: {}", String::from_utf8_lossy(&message));
            std::process::exit(1);
        }
    };
    machine.begin(function, &[]);
    loop {
        let progress = machine.run(10_000);
        use std::io::Write;
        std::io::stdout().write_all(&std::mem::take(&mut machine.output)).unwrap();
        match progress {
            Progress::Paused => continue,
            Progress::Finished { .. } => break,
            Progress::Failed(failure) => {
                let mut text = Vec::new();
                machine.heap.to_bytes(failure.value, &mut text);
                eprintln!("lua5.1: {}", String::from_utf8_lossy(&text));
                std::process::exit(1);
            }
            Progress::Host { .. } => unreachable!(),
        }
    }
}
