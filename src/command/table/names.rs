//! The names of commands: their own, or those given by `rename-command` lines.
//!
//! Nearly every server leaves the names alone; then a lookup costs one comparison with null more than one in the static
//! table. Otherwise a map of the changed names is searched first. Only top-level names change: subcommands keep theirs,
//! and errors, statistics, `COMMAND` and the AOF use a command's own name.

use std::collections::{HashMap, HashSet};

use crate::command::table::{self, Arguments, Command, Refusal};

/// The commands of Redis 7.2. A line that renames a command of this list that is missing here is not an error, so that
/// every configuration that Redis accepts is accepted.
pub(super) const COMMANDS_OF_REDIS: &str = "acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos \
    blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client cluster command config copy dbsize debug decr \
    decrby del discard dump echo eval eval_ro evalsha evalsha_ro exec exists expire expireat expiretime failover fcall \
    fcall_ro flushall flushdb function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember \
    georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hdel hello hexists hget \
    hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby \
    incrbyfloat info keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange \
    lrem lset ltrim memory mget migrate module monitor move mset msetnx multi object persist pexpire pexpireat \
    pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe psync pttl publish pubsub punsubscribe \
    quit randomkey readonly readwrite rename renamenx replconf replicaof reset restore restore-asking role rpop \
    rpoplpush rpush rpushx sadd save scan scard script sdiff sdiffstore select set setbit setex setnx setrange shutdown \
    sinter sintercard sinterstore sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish \
    srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch \
    ttl type unlink unsubscribe unwatch wait waitaof watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending \
    xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard \
    zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank \
    zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan \
    zscore zunion zunionstore";

/// The names under which clients call the commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandNames(Option<&'static Renames>);

#[derive(Debug, Default)]
struct Renames {
    /// Changed names, in lower case, with their commands; `None` if the name no longer has one.
    changed: HashMap<Vec<u8>, Option<&'static Command>>,
    /// Ids of commands that no longer have a name.
    gone: HashSet<u16>,
}

impl CommandNames {
    /// Returns the names after these changes, each from a name to another one, or to an empty one to remove the
    /// command. The names are kept until the process ends.
    ///
    /// # Errors
    /// The index of the first impossible change, and the reason.
    pub fn new<'a>(
        changes: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<CommandNames, (usize, &'static str)> {
        let mut renames = Renames::default();
        for (index, (from, to)) in changes.into_iter().enumerate() {
            renames.change(from, to).map_err(|why| (index, why))?;
        }
        if renames.changed.is_empty() {
            return Ok(CommandNames(None));
        }
        let named: HashSet<u16> = renames.changed.values().flatten().map(|command| command.id).collect();
        let gone = |command: &&Command| {
            renames.lookup(command.name.as_bytes()).is_none_or(|found| found.id != command.id)
                && !named.contains(&command.id)
        };
        renames.gone = table::commands().iter().filter(gone).map(|command| command.id).collect();
        Ok(CommandNames(Some(Box::leak(Box::new(renames)))))
    }

    /// Finds the command with this name, in any case.
    #[inline]
    pub fn lookup(self, name: &[u8]) -> Option<&'static Command> {
        match self.0 {
            None => table::lookup(name),
            Some(renames) => renames.lookup(name),
        }
    }

    /// Finds the command or subcommand with this full name (`config|get`), in any case.
    pub fn lookup_full(self, name: &[u8]) -> Option<&'static Command> {
        match name.iter().position(|byte| *byte == b'|') {
            Some(bar) => table::lookup_subcommand(self.lookup(&name[..bar])?, &name[bar + 1..]),
            None => self.lookup(name),
        }
    }

    /// Finds the command or subcommand that a call names, with any number of arguments.
    #[inline(always)]
    pub fn find<A: Arguments + ?Sized>(self, args: &A) -> Result<&'static Command, Refusal> {
        table::find_below(self.lookup(args.get(0)), args)
    }

    /// Whether `rename-command` has changed any name.
    #[inline]
    pub fn are_changed(self) -> bool {
        self.0.is_some()
    }

    /// The own name of the command that was renamed to `name`, if any.
    #[inline]
    pub fn own_name(self, name: &[u8]) -> Option<&'static str> {
        let changed = &self.0?.changed;
        changed.get(&name.to_ascii_lowercase()).copied().flatten().map(|command| command.name)
    }

    /// Whether a command, or a subcommand's container, has a name.
    pub fn has(self, command: &Command) -> bool {
        let top = command.container.unwrap_or(command.id);
        self.0.is_none_or(|renames| !renames.gone.contains(&top))
    }
}

impl Renames {
    #[cold]
    fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        match self.changed.get(&name.to_ascii_lowercase()) {
            Some(command) => *command,
            None => table::lookup(name),
        }
    }

    fn change(&mut self, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
        let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
        let command = self.lookup(&from);
        let is_redis = || COMMANDS_OF_REDIS.split_whitespace().any(|name| name.as_bytes() == from);
        if command.is_none() && (self.changed.contains_key(&from) || !is_redis()) {
            return Err("No such command in rename-command");
        }
        self.changed.insert(from, None);
        if to.is_empty() {
            return Ok(());
        }
        if self.lookup(&to).is_some() {
            return Err("Target command name already exists");
        }
        if command.is_some() {
            self.changed.insert(to, command);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(changes: &[(&str, &str)]) -> Result<CommandNames, (usize, &'static str)> {
        CommandNames::new(changes.iter().map(|(from, to)| (from.as_bytes(), to.as_bytes())))
    }

    fn found(names: CommandNames, call: &str) -> Option<&'static str> {
        let args: Vec<&str> = call.split(' ').collect();
        names.find(args.as_slice()).ok().map(|command| command.full_name)
    }

    #[test]
    fn without_changes_every_command_has_its_own_name() {
        let names = names(&[]).unwrap();
        assert!(names.0.is_none());
        for command in table::all() {
            assert_eq!(names.lookup_full(command.full_name.as_bytes()).map(|c| c.id), Some(command.id));
            assert!(names.has(command));
        }
    }

    #[test]
    fn a_renamed_command_has_its_new_name_alone_in_any_case() {
        let names = names(&[("GET", "Fetch"), ("config", "a-longer-name-than-any-command-has")]).unwrap();
        assert_eq!(found(names, "FETCH k"), Some("get"));
        assert_eq!(found(names, "get k"), None);
        assert_eq!(found(names, "A-LONGER-name-than-any-command-has get x"), Some("config|get"));
        assert_eq!(found(names, "config get x"), None);
        assert!(names.lookup_full(b"config|get").is_none());
        assert!(names.lookup_full(b"a-longer-name-than-any-command-has|get").is_some());
        assert!(names.has(table::lookup(b"get").unwrap()));
        assert_eq!(found(names, "set k v"), Some("set"));
    }

    #[test]
    fn a_command_renamed_to_nothing_is_gone_with_its_subcommands() {
        let names = names(&[("config", ""), ("get", "one"), ("one", "two")]).unwrap();
        assert_eq!(found(names, "config get x"), None);
        assert!(!names.has(table::lookup(b"config").unwrap()));
        assert!(!names.has(table::lookup_full(b"config|get").unwrap()));
        assert_eq!((found(names, "one k"), found(names, "two k")), (None, Some("get")));
        assert!(names.has(table::lookup(b"get").unwrap()));
    }

    #[test]
    fn commands_may_swap_their_names_and_keep_them() {
        let names = names(&[("get", "x"), ("set", "get"), ("x", "set"), ("del", "DEL")]).unwrap();
        assert_eq!((found(names, "get k"), found(names, "set k v")), (Some("set"), Some("get")));
        assert_eq!(found(names, "del k"), Some("del"));
        let own = ["GET", "set", "x", "Del", "append"].map(|name| names.own_name(name.as_bytes()));
        assert_eq!(own, [Some("set"), Some("get"), None, Some("del"), None]);
        assert!(table::commands().iter().all(|command| names.has(command)));
    }

    #[test]
    fn a_name_that_is_not_there_and_one_that_is_taken_are_refused_with_their_place() {
        const MISSING: &str = "No such command in rename-command";
        const TAKEN: &str = "Target command name already exists";
        for (changes, refused) in [
            (&[("nosuch", "x")][..], (0, MISSING)),
            (&[("get", ""), ("get", "x")], (1, MISSING)),
            (&[("get", "set")], (0, TAKEN)),
            (&[("get", "x"), ("set", "X")], (1, TAKEN)),
            (&[("config|get", "x")], (0, MISSING)),
            (&[("", "x")], (0, MISSING)),
        ] {
            assert_eq!(names(changes).map(|_| ()), Err(refused), "{changes:?}");
        }
    }

    #[test]
    fn a_command_of_redis_that_is_not_here_may_be_renamed() {
        let missing =
            COMMANDS_OF_REDIS.split_whitespace().find(|name| table::lookup(name.as_bytes()).is_none());
        let Some(missing) = missing else { return };
        let names = names(&[(missing, ""), ("get", missing)]).unwrap();
        assert_eq!(found(names, &format!("{missing} k")), Some("get"));
    }

    #[test]
    fn the_list_of_redis_commands_has_every_command_of_the_table_that_is_no_newer() {
        let listed: HashSet<&str> = COMMANDS_OF_REDIS.split_whitespace().collect();
        for command in table::commands().iter().filter(|command| !command.docs.since.starts_with("7.4")) {
            assert!(listed.contains(command.name), "{}", command.name);
        }
    }
}
