//! Every system call of the server, and nothing of Redis.
//!
//! Platform differences end here. Above this layer there is one poller, one socket, one ring and one clock; Linux,
//! macOS and FreeBSD are selected at compile time, so that no call on the path of a request goes through a trait object
//! or a branch on the platform.
//!
//! In the order in which a request meets them: [`poller`] reports which socket has bytes, [`net`] receives them into a
//! [`ring`], and [`clock`] reads the time. The rest serves the process as a whole: [`signal`], [`crash`] and
//! [`out_of_memory`] for its end, [`process`] for its limits and figures, [`host`] for its interfaces to the system,
//! [`mod@file`] for its log and its configuration, [`raw_log`] for messages from signal handlers, [`title`] for its
//! title in `ps`, [`handoff`] between its threads, [`terminal`] and [`full_screen`] for the tools. Persistence uses
//! [`mod@fork`] and [`disk`].
//!
//! Everything here is safe to call. Each `unsafe` block inside is one call, with its reason.

pub mod calendar;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod file;
pub mod fork;
pub mod full_screen;
pub mod handoff;
pub mod host;
pub mod memory;
pub mod net;
pub mod out_of_memory;
pub mod poller;
pub mod process;
pub mod raw_log;
pub mod ring;
pub mod signal;
pub mod terminal;
pub mod title;
#[cfg(all(test, target_os = "linux"))]
pub mod twin;

#[cfg(all(target_os = "linux", not(libkqueue)))]
pub mod epoll;
#[cfg(any(target_os = "macos", target_os = "freebsd", libkqueue))]
pub mod kqueue;
