//! `FUNCTION`: loads, lists and removes libraries of functions.

use super::usage;
use crate::command::Args;
use crate::command::error::{Error, NOT_AN_INTEGER, Result};
use crate::config::LogLevel;
use crate::resp::Reply;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::scripting::{Begin, number_of_keys};
use crate::server::scripts::libraries::{LOAD_LIMIT, Library, Policy, Terms};
use crate::server::scripts::run::{Host, Kind};

impl Server {
    /// `FCALL function numkeys [key …] [arg …]`, `FCALL_RO`: the result of the function.
    pub(super) fn fcall(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.show_call(caller, args);
        let Some(function) = self.libraries.function(args.get(1)).cloned() else {
            return Err("ERR Function not found".into());
        };
        let keys = number_of_keys(args).map_err(|error| {
            if error == NOT_AN_INTEGER { "ERR Bad number of keys provided".into() } else { error }
        })?;
        if let Some(error) = self.refuse_script(caller, Some(function.flags)) {
            return Err(error);
        }
        let Some(registrar) = self.libraries.take() else { return Err("ERR Function not found".into()) };
        let callback = registrar.function(&function.callback);
        let begin = Begin {
            kind: Kind::Function,
            host: Host::Functions(registrar),
            function: callback,
            name: function.name.as_slice().into(),
            flags: Some(function.flags),
            keys,
        };
        self.run_script(caller, begin, args)
    }

    /// `FUNCTION LOAD [REPLACE] source`: the name of the library. O(N) in the length of the source; the code that the
    /// library runs while it is loaded is stopped after [`LOAD_LIMIT`].
    pub(super) fn function_load(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let last = args.len() - 1;
        if let Some(option) = (2..last).find(|index| !args.is(*index, "replace")) {
            // Redis prints it as a C string, which ends at a zero byte.
            let option = args.get(option).split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(Error::concat(&[b"ERR Unknown option given: ", option]));
        }
        let log = |level, line: &[u8]| self.process.log.script(level, line);
        let terms = terms_of(caller, &log);
        let name = self.libraries.load(args.get(last), last > 2, &terms)?;
        self.core.keyspace.count_changes(1);
        caller.reply(&mut self.net).bulk(&name);
        Ok(())
    }

    /// `FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]`: `OK`. Limited like [`Server::function_load`].
    pub(super) fn function_restore(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let policy = match args.len() {
            3 => Policy::Append,
            4 if args.is(3, "append") => Policy::Append,
            4 if args.is(3, "replace") => Policy::Replace,
            4 if args.is(3, "flush") => Policy::Flush,
            4 => {
                return Err(
                    "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.".into(),
                );
            }
            _ => return Err(usage(args)),
        };
        let verifies = self.core.keyspace.verifies_checksums;
        let log = |level, line: &[u8]| self.process.log.script(level, line);
        let terms = terms_of(caller, &log);
        self.libraries.restore(args.get(2), verifies, policy, &terms)?;
        self.libraries_changed(caller)
    }

    /// `FUNCTION DELETE name`: `OK`.
    pub(super) fn function_delete(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if !self.libraries.remove(args.get(2)) {
            return Err("ERR Library not found".into());
        }
        self.libraries_changed(caller)
    }

    /// `FUNCTION FLUSH [ASYNC | SYNC]`: `OK`.
    pub(super) fn function_flush(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        match args.len() {
            2 => {}
            3 if args.is(2, "sync") || args.is(2, "async") => {}
            3 => return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".into()),
            _ => return Err(usage(args)),
        }
        self.libraries.clear();
        self.libraries_changed(caller)
    }

    fn libraries_changed(&mut self, caller: &mut Caller<'_>) -> Result {
        self.core.keyspace.count_changes(1);
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `FUNCTION DUMP`: a payload for `FUNCTION RESTORE`. O(N) in the length of the sources.
    pub(super) fn function_dump(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let payload = self.libraries.dump(self.core.config.rdbcompression);
        caller.reply(&mut self.net).bulk(&payload);
        Ok(())
    }

    /// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`: the libraries. O(N) in the size of the reply.
    pub(super) fn function_list(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
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
        let mut reply = caller.reply(&mut self.net);
        reply.array(self.libraries.matching(pattern).count());
        for library in self.libraries.matching(pattern) {
            list(library, with_code, &mut reply);
        }
        Ok(())
    }

    /// `FUNCTION STATS`: the running function, if any, and the numbers of libraries and functions.
    pub(super) fn function_stats(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if let Some(kind @ Kind::Script) = self.busy_kind() {
            return Err(kind.busy());
        }
        let (libraries, functions) = (
            self.libraries.len(),
            self.libraries.iter().map(|library| library.functions.len()).sum::<usize>(),
        );
        let mut reply = caller.reply(&mut self.net);
        reply.map(2);
        reply.bulk(b"running_script");
        self.reply_running(caller);
        let mut reply = caller.reply(&mut self.net);
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

    /// Writes the slow function: its name, the words of its command, and its running time.
    fn reply_running(&mut self, caller: &mut Caller<'_>) {
        let Some((name, words, duration_ms)) = self.busy_call() else {
            return caller.reply(&mut self.net).null();
        };
        let mut reply = caller.reply(&mut self.net);
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

/// The limits of a library that is loaded for `caller`. A library from an AOF has no time limit.
fn terms_of<'a>(caller: &Caller<'_>, log: &'a dyn Fn(LogLevel, &[u8])) -> Terms<'a> {
    Terms { limit: (!caller.origin.must_obey()).then_some(LOAD_LIMIT), log }
}
