//! The behaviour of pollers that the event loop relies on: the same tests pass with epoll and with kqueue.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redstart::sys::poller::{BATCH, Event, Interest, NativePoller, Poller, Source, Token};

/// Ends tests that hang.
const DEADLINE: Duration = Duration::from_secs(300);

fn poller() -> NativePoller {
    NativePoller::new().unwrap()
}

fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

fn client(slot: u32) -> Source {
    Source::Client(Token::new(slot, 1))
}

fn slot(event: &Event) -> u32 {
    match event.source {
        Source::Client(token) => token.slot,
        other => panic!("{other:?} was not registered"),
    }
}

/// All events of one call of `wait`.
fn events(poller: &mut NativePoller, timeout_ms: Option<u32>) -> Vec<Event> {
    let count = poller.wait(timeout_ms).unwrap();
    (0..count).map(|index| poller.event(index)).collect()
}

/// The ready sources, with both directions of a source combined.
fn ready(poller: &mut NativePoller) -> HashMap<Source, Event> {
    let mut ready: HashMap<Source, Event> = HashMap::new();
    for event in events(poller, Some(0)) {
        let all = ready.entry(event.source).or_insert(event);
        all.readable |= event.readable;
        all.writable |= event.writable;
        all.closed |= event.closed;
    }
    ready
}

/// Waits repeatedly until `wanted` holds for the ready sources.
fn until(poller: &mut NativePoller, wanted: impl Fn(&HashMap<Source, Event>) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = ready(poller);
        if wanted(&now) {
            return;
        }
        assert!(Instant::now() < deadline, "still {now:?}");
    }
}

fn fill(stream: &mut UnixStream) {
    while stream.write(&[0; 4096]).is_ok() {}
}

#[test]
fn nothing_is_ready_before_something_happens() {
    let mut poller = poller();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    let (near, _far) = pair();
    poller.add(near.as_fd(), client(1), Interest::READ).unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
}

#[test]
fn a_wait_ends_when_its_time_is_up_and_not_before() {
    let mut poller = poller();
    let start = Instant::now();
    assert_eq!(poller.wait(Some(30)).unwrap(), 0);
    // Kernels count in ticks, so a wait may be a millisecond short.
    assert!(start.elapsed() >= Duration::from_millis(29));
    let start = Instant::now();
    assert_eq!(poller.wait(Some(1001)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn the_longest_timeout_is_accepted() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(1), Interest::READ).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(events(&mut poller, Some(u32::MAX)).len(), 1);
}

#[test]
fn bytes_make_a_socket_readable_until_they_are_read() {
    let mut poller = poller();
    let (mut near, mut far) = pair();
    poller.add(near.as_fd(), client(7), Interest::READ).unwrap();
    far.write_all(b"abc").unwrap();
    let expected = Event { source: client(7), readable: true, writable: false, closed: false };
    assert_eq!(events(&mut poller, None), [expected]);
    near.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(events(&mut poller, None), [expected], "one byte is left");
    near.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
}

#[test]
fn a_socket_is_writable_until_it_is_full_and_again_when_there_is_room() {
    let mut poller = poller();
    let (mut near, mut far) = pair();
    poller.add(near.as_fd(), client(7), Interest::WRITE).unwrap();
    let expected = Event { source: client(7), readable: false, writable: true, closed: false };
    assert_eq!(events(&mut poller, None), [expected]);
    fill(&mut near);
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    far.set_nonblocking(true).unwrap();
    while far.read(&mut [0; 4096]).is_ok() {}
    assert_eq!(events(&mut poller, None), [expected]);
}

#[test]
fn both_directions_are_reported() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(3), Interest::BOTH).unwrap();
    far.write_all(b"x").unwrap();
    until(&mut poller, |ready| ready.get(&client(3)).is_some_and(|event| event.readable && event.writable));
}

#[test]
fn modify_changes_the_interest() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(1), Interest::READ).unwrap();
    far.write_all(b"x").unwrap();
    let (readable, writable) = (
        Event { source: client(1), readable: true, writable: false, closed: false },
        Event { source: client(1), readable: false, writable: true, closed: false },
    );
    poller.modify(near.as_fd(), client(1), Interest::WRITE).unwrap();
    assert_eq!(events(&mut poller, None), [writable]);
    poller.modify(near.as_fd(), client(1), Interest::READ).unwrap();
    assert_eq!(events(&mut poller, None), [readable]);
    // Repeated, as for a client that reads slowly at first and then catches up.
    for _ in 0..3 {
        poller.modify(near.as_fd(), client(1), Interest::BOTH).unwrap();
        until(&mut poller, |ready| {
            ready.get(&client(1)).is_some_and(|event| event.readable && event.writable)
        });
    }
    for _ in 0..3 {
        poller.modify(near.as_fd(), client(1), Interest::READ).unwrap();
        assert_eq!(events(&mut poller, None), [readable]);
    }
    poller.modify(near.as_fd(), client(1), Interest::NONE).unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    poller.modify(near.as_fd(), client(1), Interest::WRITE).unwrap();
    assert_eq!(events(&mut poller, None), [writable]);
}

#[test]
fn a_removed_descriptor_is_silent_and_can_be_added_again() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(1), Interest::BOTH).unwrap();
    far.write_all(b"x").unwrap();
    poller.remove(near.as_fd()).unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    poller.add(near.as_fd(), client(2), Interest::READ).unwrap();
    assert_eq!(events(&mut poller, None)[0].source, client(2));
}

#[test]
fn a_closed_descriptor_is_forgotten() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(1), Interest::BOTH).unwrap();
    drop(near);
    let _ = far.write(b"x");
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    // The next descriptor may get the same number.
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(2), Interest::READ).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(events(&mut poller, None)[0].source, client(2));
}

#[test]
fn the_end_of_the_peer_s_output_is_readable_and_not_closed() {
    let mut poller = poller();
    let (mut near, far) = pair();
    poller.add(near.as_fd(), client(1), Interest::READ).unwrap();
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let expected = Event { source: client(1), readable: true, writable: false, closed: false };
    assert_eq!(events(&mut poller, None), [expected]);
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_peer_that_is_gone_is_readable_even_for_a_writer_and_closed() {
    let mut poller = poller();
    let (mut near, far) = pair();
    fill(&mut near);
    poller.add(near.as_fd(), client(1), Interest::BOTH).unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    drop(far);
    until(&mut poller, |ready| ready.get(&client(1)).is_some_and(|event| event.closed && event.readable));
}

#[test]
fn an_event_of_a_slot_that_was_reused_carries_the_old_generation() {
    let mut poller = poller();
    let (first, mut first_far) = pair();
    poller.add(first.as_fd(), Source::Client(Token::new(9, 1)), Interest::READ).unwrap();
    first_far.write_all(b"x").unwrap();
    assert_eq!(poller.wait(None).unwrap(), 1);
    // While the batch is handled, the client is closed and its slot is reused.
    poller.remove(first.as_fd()).unwrap();
    drop(first);
    let (second, mut second_far) = pair();
    poller.add(second.as_fd(), Source::Client(Token::new(9, 2)), Interest::READ).unwrap();
    assert_eq!(poller.event(0).source, Source::Client(Token::new(9, 1)));
    second_far.write_all(b"x").unwrap();
    assert_eq!(events(&mut poller, None)[0].source, Source::Client(Token::new(9, 2)));
}

#[test]
fn a_wake_up_ends_a_wait_and_is_not_an_event() {
    let mut poller = poller();
    let waker = poller.waker();
    let published = Arc::new(AtomicBool::new(false));
    let writer = {
        let published = Arc::clone(&published);
        std::thread::spawn(move || {
            published.store(true, Ordering::Release);
            waker.wake();
        })
    };
    assert_eq!(poller.wait(None).unwrap(), 0);
    assert!(published.load(Ordering::Acquire));
    writer.join().unwrap();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
}

#[test]
fn a_wake_up_before_the_wait_is_not_lost_and_many_end_one_wait_only() {
    let mut poller = poller();
    let waker = poller.waker();
    // More than a socket or pipe holds: the excess must not block and has no effect.
    for _ in 0..200_000 {
        waker.clone().wake();
    }
    assert_eq!(poller.wait(None).unwrap(), 0);
    let start = Instant::now();
    assert_eq!(poller.wait(Some(20)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(19), "woken twice");
    waker.wake();
    assert_eq!(poller.wait(None).unwrap(), 0);
}

#[test]
fn every_one_of_many_wake_ups_that_follow_each_other_is_delivered() {
    let mut poller = poller();
    let waker = poller.waker();
    let (ask, asked) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        while asked.recv().is_ok() {
            waker.wake();
        }
    });
    for _ in 0..10_000 {
        ask.send(()).unwrap();
        assert_eq!(poller.wait(None).unwrap(), 0);
    }
    drop(ask);
    thread.join().unwrap();
}

#[test]
fn a_wake_up_among_events_hides_none_of_them() {
    let mut poller = poller();
    let waker = poller.waker();
    let mut pairs = Vec::new();
    for slot in 0..20 {
        // A wake-up in the middle: the kernel's queue has events before and after it.
        if slot == 10 {
            waker.wake();
        }
        let (near, mut far) = pair();
        poller.add(near.as_fd(), client(slot), Interest::READ).unwrap();
        far.write_all(b"x").unwrap();
        pairs.push((near, far));
    }
    let mut slots: Vec<u32> = events(&mut poller, None).iter().map(slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_waker_outlives_its_poller() {
    let waker = poller().waker();
    waker.wake();
}

#[test]
fn more_ready_descriptors_than_a_batch_are_all_reported_in_turn() {
    let wanted = BATCH as u32 + 200;
    // Two descriptors per connection, and some for the rest of the process.
    let reached = redstart::sys::process::raise_open_files(u64::from(wanted) * 2 + 200).unwrap();
    assert!(reached >= u64::from(wanted) * 2 + 100, "this test needs {} open files", wanted * 2 + 100);
    let mut poller = poller();
    let mut pairs = Vec::new();
    for slot in 0..wanted {
        let (near, mut far) = pair();
        poller.add(near.as_fd(), client(slot), Interest::READ).unwrap();
        far.write_all(&slot.to_ne_bytes()).unwrap();
        pairs.push((near, far));
    }
    let mut seen = vec![false; wanted as usize];
    let deadline = Instant::now() + DEADLINE;
    while seen.contains(&false) {
        let batch = events(&mut poller, None);
        assert!(batch.len() <= BATCH);
        for event in batch {
            let slot = slot(&event) as usize;
            // The test reads nothing, so all stay ready: the kernel has to rotate them.
            assert!(event.readable && event.source == client(slot as u32));
            seen[slot] = true;
        }
        assert!(Instant::now() < deadline, "some are never reported");
    }
    for (slot, (near, _)) in pairs.iter_mut().enumerate() {
        let mut bytes = [0; 4];
        near.read_exact(&mut bytes).unwrap();
        assert_eq!(u32::from_ne_bytes(bytes) as usize, slot);
    }
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
}

#[test]
fn an_error_of_the_kernel_is_reported() {
    let mut poller = poller();
    let file = std::fs::File::open("/dev/null").unwrap();
    let (near, _far) = pair();
    if cfg!(target_os = "linux") {
        assert!(
            poller.add(file.as_fd(), client(1), Interest::READ).is_err(),
            "a regular file cannot be registered"
        );
    }
    // Removing an unregistered descriptor does no harm.
    let _ = poller.remove(near.as_fd());
    poller.add(near.as_fd(), client(2), Interest::WRITE).unwrap();
    assert_eq!(events(&mut poller, None).len(), 1);
}

#[test]
#[should_panic(expected = "out of bounds")]
fn reading_an_event_that_the_last_wait_did_not_have_is_a_bug() {
    let mut poller = poller();
    assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    let _ = poller.event(0);
}

#[test]
fn a_wait_in_nanoseconds_ends_by_its_limit_and_by_an_event() {
    let mut poller = poller();
    let (near, mut far) = pair();
    poller.add(near.as_fd(), client(3), Interest::READ).unwrap();
    let started = Instant::now();
    assert_eq!(poller.wait_ns(2_500_000).unwrap(), 0);
    assert!(started.elapsed() >= Duration::from_micros(2_500));
    far.write_all(b"x").unwrap();
    assert_eq!(poller.wait_ns(20_000_000_000).unwrap(), 1);
    assert_eq!(poller.event(0).source, client(3));
}
