//! The ring of a process that may not open another descriptor, and so cannot map memory twice. The only test in its
//! file, because the limit applies to the whole process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use redstart::sys::ring::Ring;

#[test]
fn a_ring_is_compacting_where_the_system_refuses_to_mirror_and_works_the_same() {
    let mut before = Ring::new(4096);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let mut refused = Ring::new(4096);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();

    assert!(!refused.is_mirrored());
    assert_eq!(refused.capacity(), before.capacity());
    for ring in [&mut before, &mut refused] {
        for round in 0..100u8 {
            let room = ring.writable();
            assert!(room.len() >= 3000);
            room[..1000].fill(round);
            ring.commit(1000);
            let (old, new) = ring.readable().split_at(ring.len() - 1000);
            assert!(old.iter().all(|&byte| byte == round.wrapping_sub(1)));
            assert!(new.iter().all(|&byte| byte == round));
            let rest = 1 + usize::from(round % 2);
            ring.consume(ring.len() - rest);
        }
    }
}
