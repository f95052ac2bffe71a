//! The content of `metrics-port`: the metrics, a status page for people, and a health check.
//!
//! | path | response |
//! |---|---|
//! | `/metrics` | all figures in the text format of Prometheus ([`exposition`], [`facts`], [`families`]) |
//! | `/` | a page that shows the state of the server and its last minutes ([`page`], [`history`]) |
//! | `/health` | 200 while a `PING` would be replied to with `PONG`, else 503 and why |
//!
//! A response is computed in the loop, between the requests of clients, in a fraction of a millisecond: its figures are
//! from the same moment, and need no lock. No response contains keys, values or arguments of commands.

mod chart;
mod exposition;
mod facts;
mod families;
pub mod history;
mod page;

use std::io;

use history::Sample;

use super::Server;
use super::core::used_memory;
use super::scripts::run::Kind;
use super::web::Fault;
use super::web::connection::Asked;
use crate::command::Error;
use crate::http::{Method, Response, Status};
use crate::sys::net::{Address, Listener, Socket};
use crate::sys::poller::{Event, Source};
use crate::sys::process;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Connections accepted from one listener in an iteration.
const ACCEPTED: usize = 4;

impl Server {
    /// Begins serving metrics to the connections of `listeners`.
    pub(super) fn open_web(&mut self, listeners: Vec<Listener>) -> io::Result<()> {
        if !listeners.is_empty() {
            self.web.open(&mut self.net.poller, listeners)?;
            self.history.get_or_insert_default();
        }
        Ok(())
    }

    /// Stops serving metrics.
    pub(super) fn close_web(&mut self) {
        self.web.close(&mut self.net.poller);
        self.history = None;
    }

    /// Runs cron's tasks: takes a sample of the figures each second, and closes connections whose deadline has passed.
    pub(super) fn look_after_web(&mut self, now_us: u64) {
        if !self.web.is_open() {
            return;
        }
        for number in self.web.end_overdue(&mut self.net.poller, now_us) {
            self.refuse_web(number, Status::RequestTimeout);
        }
        if self.history.as_ref().is_some_and(|history| history.is_due(now_us)) {
            let sample = self.sample_figures();
            self.history.get_or_insert_default().add(now_us, sample);
        }
    }

    fn sample_figures(&self) -> Sample {
        let (stats, keys, cpu) = (&self.core.stats, &self.core.keyspace.counters, process::cpu_time());
        Sample {
            commands: stats.commands,
            hits: keys.hits,
            misses: keys.misses,
            input_bytes: stats.net_input_bytes,
            output_bytes: stats.net_output_bytes,
            cpu_us: cpu.user_us + cpu.system_us,
            memory: used_memory(),
            clients: self.net.clients.len() as u64,
        }
    }

    /// Handles an event of a connection: it has input, or can accept more of its response.
    #[cold]
    pub(super) fn on_web_event(&mut self, number: u32, event: Event) {
        let now_us = self.core.clock.monotonic_us();
        match self.web.on_event(&mut self.net.poller, number, event, now_us) {
            None => {}
            Some(Ok(asked)) => self.respond_web(number, &asked),
            Some(Err(Fault::Malformed(status))) => self.refuse_web(number, status),
            Some(Err(Fault::Handshake(why))) => {
                self.process.log.warning(format_args!("Error accepting a connection of metrics-port: {why}"));
            }
        }
    }

    /// Accepts the connections that wait at listener `index`, up to a bound.
    pub(super) fn accept_web(&mut self, index: usize) {
        for _ in 0..ACCEPTED {
            match self.web.accept(index) {
                Ok(None) => return,
                Ok(Some((socket, peer))) => self.take_in_web(socket, peer),
                Err(error) => {
                    return self.cannot_accept(
                        Source::WebListener(index as u32),
                        "Can't accept a connection on metrics-port",
                        &error,
                    );
                }
            }
        }
    }

    /// Whether protected mode is in force.
    fn serves_this_machine_only(&self) -> bool {
        self.core.config.protected_mode && self.core.users.needs_no_password()
    }

    /// Adds a connection, unless protected mode or the number of connections forbids it: then it is sent an error.
    fn take_in_web(&mut self, socket: Socket, peer: Address) {
        let now_us = self.core.clock.monotonic_us();
        let refused = self.serves_this_machine_only() && !peer.is_loopback();
        let is_encrypted = self.core.config.metrics_tls;
        if !self.web.make_room(&mut self.net.poller) {
            let mut words = b"Too many connections.\n".to_vec();
            Response { status: Status::Unavailable, content_type: TEXT, head_only: false, keep_alive: false }
                .complete(&mut words);
            // One attempt, and no handshake: neither is worth waiting for.
            if !is_encrypted {
                let _ = socket.send(&words);
            }
            return;
        }
        let Some(channel) = self.accepted_channel(socket, peer, is_encrypted) else { return };
        match self.web.add(&mut self.net.poller, channel, now_us) {
            Ok(number) if refused => self.refuse_web(number, Status::Forbidden),
            Ok(_) => {}
            Err(error) => {
                self.process
                    .log
                    .warning(format_args!("Can't register a connection of metrics-port: {error}"));
            }
        }
    }

    /// Responds with an error, and ends the connection.
    fn refuse_web(&mut self, number: u32, status: Status) {
        let mut body = status.text().as_bytes().to_vec();
        if status == Status::Forbidden {
            body.extend_from_slice(
                b"\nThe server is in protected mode and has no password: it serves this machine only, \
                  as localhost or by an address. See protected-mode and requirepass.",
            );
        }
        body.push(b'\n');
        let response = Response { status, content_type: TEXT, head_only: false, keep_alive: false };
        self.send_web(number, response, body);
    }

    fn send_web(&mut self, number: u32, response: Response, mut body: Vec<u8>) {
        let now_us = self.core.clock.monotonic_us();
        response.complete(&mut body);
        self.web.respond(&mut self.net.poller, number, body, response.keep_alive, now_us);
    }

    fn respond_web(&mut self, number: u32, asked: &Asked) {
        // Otherwise, a web page in a browser on this machine could read the figures, using a host name that resolves to
        // it.
        if asked.by_foreign_name && self.serves_this_machine_only() {
            return self.refuse_web(number, Status::Forbidden);
        }
        let mut body = self.web.take_buffer();
        let (status, content_type) = match (asked.method, &asked.path[..]) {
            (Method::Other, _) => {
                body.extend_from_slice(b"Only GET and HEAD.\n");
                (Status::MethodNotAllowed, TEXT)
            }
            (_, b"/metrics") => {
                self.write_metrics(&mut body);
                (Status::Ok, exposition::CONTENT_TYPE)
            }
            (_, b"/") => {
                self.write_status_page(&mut body);
                (Status::Ok, HTML)
            }
            (_, b"/health") => (self.write_health(&mut body), TEXT),
            _ => {
                body.extend_from_slice(b"Not found. Available paths: /, /metrics, /health.\n");
                (Status::NotFound, TEXT)
            }
        };
        let head_only = asked.method == Method::Head;
        self.send_web(
            number,
            Response { status, content_type, head_only, keep_alive: asked.keep_alive },
            body,
        );
    }

    /// Writes the reply to a `PING` from a client that may send it.
    fn write_health(&self, body: &mut Vec<u8>) -> Status {
        let why = if let Some(denial) = self.denial() {
            self.misconfigured(denial)
        } else if self.loading.is_active() && !self.loading.is_async() {
            Error::new("LOADING Redis is loading the dataset in memory")
        } else if let Some(kind) = self.busy_kind() {
            Kind::busy(kind)
        } else {
            body.extend_from_slice(b"ok\n");
            return Status::Ok;
        };
        body.extend_from_slice(why.text());
        body.push(b'\n');
        Status::Unavailable
    }
}
