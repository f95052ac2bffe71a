//! Manifests: the parser refuses bytes only with a reason, a manifest that it accepts is the same after it was written,
//! and the manifest of a rewrite can be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::persist::aof::Manifest;

fuzz_target!(|bytes: &[u8]| {
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(!error.log_lines().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    let rewritten = manifest.with_new_incremental(b"log").with_new_base(b"log", true, true);
    for manifest in [&manifest, &rewritten, &rewritten.without_history()] {
        let bytes = manifest.encode();
        // Names grow when they are quoted, and a line has a limit.
        if bytes.is_empty() || bytes.split(|byte| *byte == b'\n').any(|line| line.len() >= 1024) {
            continue;
        }
        let again = Manifest::parse(&bytes).expect("what was written can be read");
        assert_eq!(again.encode(), bytes);
        assert!(again.parts().eq(manifest.parts()));
        assert_eq!(again.history, manifest.history);
    }
    assert_eq!(rewritten.incremental.len(), 1);
});
