//! `--replica`: the commands that a master sends to its replicas, as lines of CSV.
//!
//! The tool requests a snapshot without data, since a master sends commands only to a replica that has a snapshot. It
//! acknowledges nothing later: the master treats it as a replica that cannot acknowledge, and does not time it out.

use std::time::Duration;

use super::sync::{self, End, MARKER};
use super::{Outcome, Session};
use crate::tools::cli::format::{Format, Style};
use crate::tools::client::Connection;
use crate::tools::console::{self, tell};

/// Prints commands until the master closes the connection.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let mut connection = Connection::open(session.target)?;
    sync::configure(&mut connection, "capa", "eof")?;
    sync::configure(&mut connection, "rdb-filter-only", "")?;
    let end = sync::begin(&mut connection)?;
    match &end {
        End::Length(length) => {
            tell(format_args!("Full resync with master, discarding {length} bytes of bulk transfer..."));
        }
        End::Marker(_) => {
            tell("Full resync with master, discarding bytes of bulk transfer until EOF marker...");
        }
    }
    let broken = "Error reading RDB payload while Full resyncing";
    let received = sync::receive(&mut connection, &end, broken, |_, _| Ok(()))?;
    match end {
        End::Length(_) => tell("Full resync done. Logging commands from master."),
        End::Marker(_) => {
            let bytes = received + MARKER as u64;
            tell(format_args!("Full resync done after {bytes} bytes. Logging commands from master."));
            tell("sending REPLCONF ACK 0");
            acknowledge_until_data(&mut connection)?;
        }
    }
    let style = Style::new(Format::Csv);
    loop {
        let command = connection.receive()?;
        console::print(&style.reply(&command))?;
    }
}

/// Acknowledges the snapshot, since the master cannot see where the marker was found, and sends nothing before that.
/// Repeats the acknowledgement until data arrives: a master that has not finished sending ignores it.
fn acknowledge_until_data(connection: &mut Connection) -> Outcome {
    loop {
        connection.send(&["REPLCONF", "ACK", "0"])?;
        let has_data = !connection.received().is_empty();
        if has_data || connection.fill(Some(Duration::from_secs(1)))?.is_ok() {
            return Ok(());
        }
    }
}
