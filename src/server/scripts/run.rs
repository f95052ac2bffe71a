//! A script that is being executed.

use std::cell::Cell;
use std::rc::Rc;

use super::cache::Engine;
use super::redis::{self, Names};
use super::registrar::Registrar;
use super::shebang::Flags;
use super::values::Reading;
use super::words::Words;
use crate::command::{Command, Error, Origin, Session};
use crate::db::Moment;
use crate::lua::{Call, Failure, Machine, OutOfMemory, Value};
use crate::resp::Protocol;
use crate::sys::poller::Token;
use crate::text::words::shown;

/// The capacity that is kept for replies.
const KEEP: usize = 64 * 1024;

/// The kind of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A script sent with `EVAL` or `SCRIPT LOAD`.
    Script,
    /// A function of a library.
    Function,
}

impl Kind {
    /// Returns the error for commands that cannot be executed while it is slow.
    pub fn busy(self) -> Error {
        Error::new(match self {
            Kind::Script => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
            Kind::Function => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
        })
    }

    /// Returns the command that ends it.
    pub fn killer(self) -> &'static str {
        match self {
            Kind::Script => "SCRIPT KILL",
            Kind::Function => "FUNCTION KILL",
        }
    }
}

/// Buffers that calls of commands use, one after the other.
#[derive(Debug, Default)]
pub struct Room {
    /// The arguments.
    pub words: Words,
    /// The reply.
    pub reply: Vec<u8>,
}

impl Room {
    /// Clears the buffers, and frees capacity beyond what most calls need.
    pub fn clear(&mut self) {
        self.words.clear();
        self.reply.clear();
        if self.reply.capacity() > KEEP {
            self.reply.shrink_to(KEEP);
        }
    }
}

/// The environment of a script, taken from where it is kept.
#[derive(Debug)]
pub enum Host {
    /// Of [`super::cache::Cache`].
    Scripts(Box<Engine>),
    /// Of [`super::libraries::Libraries`].
    Functions(Box<Registrar>),
}

impl Host {
    /// The machine.
    #[inline]
    pub fn machine(&mut self) -> &mut Machine {
        self.parts().0
    }

    /// Updates the machine's share of the memory that does not count towards `maxmemory`.
    pub fn count(&mut self) {
        match self {
            Host::Scripts(engine) => engine.count(),
            Host::Functions(registrar) => registrar.count(),
        }
    }

    /// The machine, and the names of its fields.
    #[inline]
    pub fn parts(&mut self) -> (&mut Machine, &Names) {
        match self {
            Host::Scripts(engine) => (&mut engine.machine, &engine.names),
            Host::Functions(registrar) => (&mut registrar.machine, &registrar.names),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Run {
    /// Its environment.
    pub host: Host,
    /// Its kind.
    pub kind: Kind,
    /// Its digest, or the name of the function.
    pub name: Rc<[u8]>,
    /// The client for which it is executed; `None` while a log is loaded.
    pub client: Option<Token>,
    /// The origin of its calls.
    pub origin: Origin,
    /// The command that started it.
    pub command: &'static Command,
    /// The session with which it calls commands.
    pub session: Session,
    /// Whether it may not call commands that write.
    pub is_read_only: bool,
    /// Whether it has called a command that writes.
    pub has_written: bool,
    /// Whether it may not begin to call commands that use memory: there was none when it began.
    pub lacks_memory: bool,
    /// Whether it may access keys of different slots.
    pub may_cross_slots: bool,
    /// The slot of its keys, in a cluster.
    pub slot: Cell<Option<u16>>,
    /// Whether it must end.
    pub is_killed: bool,
    /// Set after `SCRIPT KILL` or `FUNCTION KILL`, while the script's memory is being freed: the error reply, and
    /// whether that counts in the error statistics.
    pub kill_error: Option<(Vec<u8>, bool)>,
    /// The ticks at which it began, and its slice.
    pub began: u64,
    pub slice: u64,
    /// The time at which keys expire while it runs.
    pub moment: Moment,
    /// The reply of a call while it is being read, and whether an error reply is raised.
    pub reading: Option<(Reading, bool)>,
    /// The highest memory use measured in the machine.
    pub most_bytes: usize,
    /// Buffers.
    pub room: Box<Room>,
}

/// How a script has ended.
#[derive(Debug)]
pub enum End {
    /// It has returned this value.
    Returned(Value),
    Failed(Failure),
    /// It was ended by `SCRIPT KILL` or `FUNCTION KILL`: the error reply, and whether that counts in the
    /// error statistics.
    Killed((Vec<u8>, bool)),
}

/// Returns why a command may not end a running script, if so.
pub fn refuse_to_kill(run: Option<&Run>, by: Kind) -> Option<Error> {
    let Some(run) = run else { return Some(Error::new("NOTBUSY No scripts in execution right now.")) };
    if run.has_written {
        return Some(Error::new(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
             script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        ));
    }
    (run.kind != by).then(|| run.kind.busy())
}

impl Run {
    /// Whether commands reply in RESP3.
    pub fn is_typed(&self) -> bool {
        self.session.protocol == Protocol::Resp3
    }

    /// The error reply to a failure, and whether it counts in the statistics.
    pub fn describe(&mut self, failure: &Failure) -> (Vec<u8>, bool) {
        let (machine, names) = self.host.parts();
        let (mut text, counts) = describe_value(machine, names, failure.value);
        if let Some((chunk, line)) = &failure.place {
            text.extend_from_slice(b" script: ");
            text.extend_from_slice(&self.name);
            text.extend_from_slice(b", on ");
            text.extend_from_slice(shown(chunk));
            text.extend_from_slice(format!(":{line}.").as_bytes());
        }
        (text, counts)
    }

    /// The error table of an error, for [`Machine::raise`] or to be returned.
    pub fn error(&mut self, text: &[u8], counted: bool) -> Value {
        let (machine, names) = self.host.parts();
        redis::error_table(&mut machine.heap, names, text, counted)
    }

    /// Ends the script. The machine still has to run until it has freed the script's memory.
    pub fn kill(&mut self) {
        if self.kill_error.is_none() {
            self.kill_error = Some(self.describe_kill());
            self.reading = None;
            self.host.machine().abandon();
        }
    }

    /// The error reply of a killed script, and whether it counts in the error statistics.
    fn describe_kill(&mut self) -> (Vec<u8>, bool) {
        let machine = self.host.machine();
        let place = machine.place(1).or_else(|| machine.place(2));
        // Redis names this command for functions, too.
        let value = self.error(b"ERR Script killed by user with SCRIPT KILL...", false);
        self.describe(&Failure { value, place })
    }

    /// Reads more of the reply of a call. The call ends when the reply is complete.
    pub fn read_reply(&mut self) {
        let Some((mut reading, raises)) = self.reading.take() else { return };
        let Run { host, room, .. } = self;
        let (machine, names) = host.parts();
        match reading.go_on(&room.reply, &mut machine.heap, names) {
            Ok(None) => {
                self.reading = Some((reading, raises));
                return;
            }
            // `DEBUG ERROR` succeeds and replies with an error.
            Ok(Some(value)) if raises && room.reply.first() == Some(&b'-') => machine.raise(value),
            Ok(Some(value)) => {
                machine.push(value);
                machine.provide(1);
            }
            Err(OutOfMemory) => {
                room.clear();
                return self.fail_call(b"ERR not enough memory", false, raises);
            }
        }
        self.room.reply.clear();
    }

    /// Ends a call that has failed: raises the error or returns it.
    pub fn fail_call(&mut self, text: &[u8], counted: bool, raises: bool) {
        let error = self.error(text, counted);
        let machine = self.host.machine();
        if raises {
            machine.raise(error);
        } else {
            machine.push(error);
            machine.provide(1);
        }
    }

    /// Ends a call of a host function: it returns a value or nothing, or fails.
    pub fn provide(&mut self, outcome: Result<Option<Value>, &'static str>) {
        match outcome {
            Ok(value) => {
                let results = usize::from(value.is_some());
                if let Some(value) = value {
                    self.host.machine().push(value);
                }
                self.host.machine().provide(results);
            }
            Err(text) => {
                let error = self.error(text.as_bytes(), false);
                self.host.machine().raise(error);
            }
        }
    }

    /// `redis.setresp(version)`
    pub fn set_protocol(&mut self, call: Call) -> Result<(), &'static str> {
        if call.count() != 1 {
            return Err("ERR redis.setresp() requires one argument.");
        }
        self.session.protocol = match self.integer(call) {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err("ERR RESP version must be 2 or 3."),
        };
        Ok(())
    }

    /// Parses the argument of `redis.set_repl(flags)`: where the script's later calls are propagated to.
    pub fn propagation(&mut self, call: Call) -> Result<u8, &'static str> {
        if call.count() != 1 {
            return Err("ERR redis.set_repl() requires one argument.");
        }
        match self.integer(call) {
            flags @ 0..=3 => Ok(flags as u8),
            _ => Err("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."),
        }
    }

    /// The first argument as an integer; 0 if it is not a number.
    fn integer(&mut self, call: Call) -> i64 {
        let machine = self.host.machine();
        machine.heap.to_number(machine.argument(call, 1)).unwrap_or(0.0) as i64
    }

    /// Whether the script may not write, according to its flags and its command.
    pub fn is_read_only(flags: Option<Flags>, command: &Command) -> bool {
        command.has(crate::command::flags::READONLY) || flags.is_some_and(|flags| flags.has(Flags::NO_WRITES))
    }
}

/// Returns the text of an error raised with `value`, and whether it counts in the error statistics.
fn describe_value(machine: &mut Machine, names: &Names, value: Value) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    match value {
        Value::Table(table) => {
            let heap = &machine.heap;
            let counted = matches!(heap.get_string(table, names.ignore), Value::Boolean(true));
            if !heap.to_bytes(heap.get_string(table, names.err), &mut text) {
                text.extend_from_slice(b"ERR unknown error");
            }
            text.truncate(shown(&text).len());
            return (text, !counted);
        }
        Value::Nil => text.extend_from_slice(b"ERR nil"),
        Value::Boolean(value) => text.extend_from_slice(format!("ERR {value}").as_bytes()),
        value => {
            text.extend_from_slice(b"ERR ");
            if !machine.heap.to_bytes(value, &mut text) {
                text.extend_from_slice(value.type_name().as_bytes());
            }
        }
    }
    text.truncate(shown(&text).len());
    (text, true)
}
