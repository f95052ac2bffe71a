//! The properties of a connection that commands use.

use crate::command::acl::Rights;
use crate::command::waiting::Blocked;
use crate::resp::Protocol;

/// How `EVAL` executes scripts (`SCRIPT DEBUG`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugMode {
    /// Without the debugger.
    #[default]
    No,
    /// Debugs in a forked process, whose writes are lost.
    Forked,
    /// Under the debugger, in the server, while all other clients wait.
    InPlace,
}

/// Facts about a session that are on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFlags {
    /// Close once the replies so far have been sent (`QUIT`, protocol errors).
    pub close_after_reply: bool,
    /// Close at once, without sending anything more (`CLIENT KILL`).
    pub close_now: bool,
    /// `CLIENT REPLY OFF`: no replies.
    pub reply_off: bool,
    /// `CLIENT REPLY SKIP`: the reply of the command being executed is dropped.
    pub reply_skip: bool,
    /// This command is `CLIENT REPLY SKIP`: the reply of the next one is dropped.
    pub reply_skip_next: bool,
    /// `CLIENT NO-EVICT ON`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH ON`: reads do not move the access clock.
    pub no_touch: bool,
    /// `MONITOR`: receives every command.
    pub monitor: bool,
    /// `MULTI` was called: requests are queued until `EXEC`, or `EXEC` is executing them.
    pub transaction: bool,
    /// It has subscriptions, so it is limited to few commands in RESP2.
    pub subscribed: bool,
    /// `CLIENT TRACKING ON`, but not `BCAST`: keys that it reads are remembered.
    pub tracking: bool,
    /// It has requested synchronization (`PSYNC`), and is sent the stream of propagated commands.
    pub replica: bool,
    /// It is the connection to this server's primary, whose requests are the stream.
    pub primary: bool,
    /// It may receive invalidation messages, its own or those of a client that redirects to it.
    pub informed: bool,
    /// `CLIENT TRACKING ON OPTIN`: they are only if `caching` is set, and without it only if it is not.
    pub opt_in: bool,
    /// `CLIENT CACHING` was called for the command that follows.
    pub caching: bool,
    /// The reply of the command being executed consists of pushes, which no `CLIENT REPLY` holds back.
    pub pushed: bool,
    /// `ASKING`: the next request may access a slot that is being imported.
    pub asking: bool,
    /// `READONLY`: reads the keys of this replica's primary.
    pub reads_replica: bool,
    /// `SCRIPT DEBUG`: how the next `EVAL` is executed.
    pub debugging: DebugMode,
}

/// Data that few sessions have, allocated separately so that an idle connection stays small.
#[derive(Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_version: Vec<u8>,
}

/// The state of one connection as commands see it.
#[derive(Debug)]
pub struct Session {
    /// `CLIENT ID`: counts up from 1 and is never reused.
    pub id: u64,
    /// The selected database.
    pub db: usize,
    /// RESP2 until `HELLO 3`.
    pub protocol: Protocol,
    /// Its user, and what that user may do.
    pub rights: Rights,
    /// The end of its last write in the stream of propagated calls.
    pub last_write: u64,
    /// Why its latest request waits, if it does. Later requests wait behind it.
    pub blocked: Option<Blocked>,
    /// The switches.
    pub flags: SessionFlags,
    /// The `id` of the last command's table row, for `CLIENT LIST`.
    pub last_command: Option<u16>,
    /// Names that the client gave.
    pub names: Option<Box<Names>>,
}

impl SessionFlags {
    /// Whether replies may have to be dropped after they are written.
    pub fn quiets(&self) -> bool {
        self.reply_off | self.reply_skip | self.reply_skip_next
    }

    /// Whether requests need the careful path of execution.
    #[inline]
    pub fn needs_care(&self) -> bool {
        self.quiets() | self.transaction | self.subscribed | self.tracking | self.asking | self.replica
    }
}

impl Session {
    /// A new connection's state.
    pub fn new(id: u64, rights: Rights) -> Self {
        Session {
            id,
            db: 0,
            protocol: Protocol::Resp2,
            rights,
            last_write: 0,
            blocked: None,
            flags: SessionFlags::default(),
            last_command: None,
            names: None,
        }
    }

    /// Whether the connection will be closed, so its requests are no longer executed.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.flags.close_after_reply | self.flags.close_now
    }

    /// Whether it may call only a few commands besides those for subscriptions.
    #[inline]
    pub fn is_limited_to_subscribing(&self) -> bool {
        self.flags.subscribed && self.protocol == Protocol::Resp2
    }

    /// Whether nothing more is executed for it for now, because it is about to be closed or waits.
    #[inline]
    pub fn stops(&self) -> bool {
        self.is_closing() | self.blocked.is_some()
    }

    /// Bytes of memory that the names take.
    pub fn names_bytes(&self) -> usize {
        self.names.as_ref().map_or(0, |names| {
            let Names { name, lib_name, lib_version } = &**names;
            size_of::<Names>() + name.capacity() + lib_name.capacity() + lib_version.capacity()
        })
    }

    /// The names, to change.
    pub fn names_mut(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }

    /// The connection's name, empty if it has none.
    pub fn name(&self) -> &[u8] {
        self.names.as_ref().map_or(&[], |n| &n.name)
    }
}
