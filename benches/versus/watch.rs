//! A client that reads INFO while a load runs, in a separate thread.
//!
//! It reads fifty times a second, which costs a server less than a thousandth of its core.

use super::Result;
use super::client::Client;
use super::fork::info;
use super::servers::Server;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The time between two reads.
const GLANCE: Duration = Duration::from_millis(20);

/// Calls `work`, and meanwhile passes the text of INFO to `look`, once more after the end. Returns the work's result.
pub fn while_doing<T>(
    server: &Server,
    look: &mut (impl FnMut(&str) + Send),
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let over = AtomicBool::new(false);
    let mut client = server.connect()?;
    let (result, watched) = thread::scope(|scope| {
        // An error's text can be sent between threads, the error itself cannot.
        let eyes = scope.spawn(|| watch(&mut client, look, &over).map_err(|error| error.to_string()));
        let result = work();
        over.store(true, Ordering::Relaxed);
        (result, eyes.join())
    });
    watched.map_err(|_| "the thread that reads INFO has died")??;
    result
}

fn watch(client: &mut Client, look: &mut impl FnMut(&str), over: &AtomicBool) -> Result<()> {
    loop {
        let last = over.load(Ordering::Relaxed);
        look(&info(client)?);
        if last {
            return Ok(());
        }
        thread::sleep(GLANCE);
    }
}
