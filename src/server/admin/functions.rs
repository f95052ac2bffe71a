//! `FUNCTION`: loads, lists and removes libraries of functions.

use std::time::Duration;

use super::usage;
use crate::command::error::{Error, NOT_AN_INTEGER, Result};
use crate::command::{Args, Command, Origin, ServerCommand};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::scripting::{Begin, number_of_keys};
use crate::server::scripts::libraries::{LOAD_LIMIT, Library, Policy, Terms};
use crate::server::scripts::run::{Host, Kind};
use crate::sys::poller::Token;

impl Server {
    /// `FCALL function numkeys [key …] [arg …]`, `FCALL_RO`: what the function returns.
    pub(super) fn fcall(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Result {
        self.show_call(token, command, args);
        self.fcall_for(Some(token), self.net.selected_db(token), command, args)
    }

    /// `FCALL` for a client, or during loading if `client` is `None`.
    pub(in crate::server) fn fcall_for(
        &mut self,
        client: Option<Token>,
        db: usize,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result {
        let origin = client.map_or(Origin::Log, |_| Origin::Client).of_script();
        let Some(function) = self.libraries.function(args.get(1)).cloned() else {
            return Err("ERR Function not found".into());
        };
        let keys = number_of_keys(args).map_err(|error| {
            if error == NOT_AN_INTEGER { "ERR Bad number of keys provided".into() } else { error }
        })?;
        if let Some(error) = self.refuse_script(command, Some(function.flags), origin) {
            return Err(error);
        }
        let Some(registrar) = self.libraries.take() else { return Err("ERR Function not found".into()) };
        let callback = registrar.function(&function.callback);
        let begin = Begin {
            origin,
            kind: Kind::Function,
            host: Host::Functions(registrar),
            function: callback,
            name: function.name.as_slice().into(),
            flags: Some(function.flags),
            keys,
            db,
        };
        self.run_script(client, command, begin, args)
    }

    /// `FUNCTION LOAD [REPLACE] source`: the name of the library. `FUNCTION DELETE name`, `FUNCTION FLUSH [ASYNC | SYNC]`,
    /// `FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]`: `OK`. O(N) in the length of the sources; what a library
    /// does when it is loaded ends after [`LOAD_LIMIT`].
    pub(super) fn change_functions(&mut self, token: Token, which: ServerCommand, args: Args<'_>) -> Result {
        let name = self.apply_to_libraries(which, args, Some(LOAD_LIMIT))?;
        self.core.keyspace.count_changes(1);
        let db = self.net.session(token).db;
        self.core.propagate_call(db, args);
        let mut reply = self.net.reply_to(token);
        match name {
            Some(name) => reply.bulk(&name),
            None => reply.ok(),
        }
        Ok(())
    }

    /// Executes a command that changes the libraries, for a client or a log. Returns the name of the library that it has
    /// loaded.
    ///
    /// # Errors
    /// Nothing has changed, for the reason that the reply says.
    pub(in crate::server) fn apply_to_libraries(
        &mut self,
        which: ServerCommand,
        args: Args<'_>,
        limit: Option<Duration>,
    ) -> Result<Option<Vec<u8>>> {
        use ServerCommand as C;
        let log = &self.process.log;
        let terms = Terms { limit, log: &|level, line| log.script(level, line) };
        match which {
            C::FunctionLoad => {
                let last = args.len() - 1;
                if let Some(option) = (2..last).find(|index| !args.is(*index, "replace")) {
                    // As a text of C, it ends at a zero byte.
                    let option = args.get(option).split(|byte| *byte == 0).next().unwrap_or_default();
                    return Err(Error::concat(&[b"ERR Unknown option given: ", option]));
                }
                return self.libraries.load(args.get(last), last > 2, &terms).map(Some);
            }
            C::FunctionRestore => {
                let policy = match args.len() {
                    3 => Policy::Append,
                    4 if args.is(3, "append") => Policy::Append,
                    4 if args.is(3, "replace") => Policy::Replace,
                    4 if args.is(3, "flush") => Policy::Flush,
                    4 => {
                        return Err("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.".into());
                    }
                    _ => return Err(usage(args)),
                };
                let verifies = self.core.keyspace.verifies_checksums;
                self.libraries.restore(args.get(2), verifies, policy, &terms)?;
            }
            C::FunctionDelete if !self.libraries.remove(args.get(2)) => {
                return Err("ERR Library not found".into());
            }
            C::FunctionFlush => {
                match args.len() {
                    2 => {}
                    3 if args.is(2, "sync") || args.is(2, "async") => {}
                    3 => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
                    _ => return Err(usage(args)),
                }
                self.libraries.clear();
            }
            _ => {}
        }
        Ok(None)
    }

    /// `FUNCTION DUMP`: a payload for `FUNCTION RESTORE`. O(N) in the length of the sources.
    pub(super) fn function_dump(&mut self, token: Token) -> Result {
        let payload = self.libraries.dump(self.core.config.rdbcompression);
        self.net.reply_to(token).bulk(&payload);
        Ok(())
    }

    /// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`: what libraries there are. O(N) in what is listed.
    pub(super) fn function_list(&mut self, token: Token, args: Args<'_>) -> Result {
        let (mut pattern, mut with_code) = (None, false);
        let mut index = 2;
        while index < args.len() {
            if !with_code && args.is(index, "withcode") {
                with_code = true;
            } else if pattern.is_none() && args.is(index, "libraryname") {
                index += 1;
                if index == args.len() {
                    return Err("ERR library name argument was not given".into());
                }
                pattern = Some(args.get(index));
            } else {
                return Err(Error::concat(&[b"ERR Unknown argument ", args.get(index)]));
            }
            index += 1;
        }
        let pattern = pattern.unwrap_or(b"*");
        let mut reply = self.net.reply_to(token);
        reply.array(self.libraries.matching(pattern).count());
        for library in self.libraries.matching(pattern) {
            list(library, with_code, &mut reply);
        }
        Ok(())
    }

    /// `FUNCTION STATS`: the function that is running, if there is one, and how many there are.
    pub(super) fn function_stats(&mut self, token: Token) -> Result {
        if let Some(kind @ Kind::Script) = self.busy_kind() {
            return Err(kind.busy());
        }
        let (libraries, functions) = (
            self.libraries.len(),
            self.libraries.iter().map(|library| library.functions.len()).sum::<usize>(),
        );
        let mut reply = self.net.reply_to(token);
        reply.map(2);
        reply.bulk(b"running_script");
        self.reply_running(token);
        let mut reply = self.net.reply_to(token);
        reply.bulk(b"engines");
        reply.map(1);
        reply.bulk(b"LUA");
        reply.map(2);
        reply.bulk(b"libraries_count");
        reply.integer(libraries as i64);
        reply.bulk(b"functions_count");
        reply.integer(functions as i64);
        Ok(())
    }

    /// The function that takes long: its name, the words of its command, and for how long it has been running.
    fn reply_running(&mut self, token: Token) {
        let Some((name, words, duration_ms)) = self.busy_call() else {
            return self.net.reply_to(token).null();
        };
        let mut reply = self.net.reply_to(token);
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&name);
        reply.bulk(b"command");
        reply.array(words.len());
        for word in &words {
            reply.bulk(word);
        }
        reply.bulk(b"duration_ms");
        reply.integer(duration_ms as i64);
    }
}

fn list(library: &Library, with_code: bool, reply: &mut Reply<'_>) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(description) => reply.bulk(description),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.names().count());
        for flag in function.flags.names() {
            reply.simple(flag);
        }
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}
