//! Redis' keyspace events: the names of the ways in which a key changes, each with its class.
//!
//! A class is the letter by which `notify-keyspace-events` selects it. Source: the documentation of Redis keyspace
//! notifications, 7.2; the events of expiring hash fields are those of 7.4.

/// Declares the events in one table: class, then variants with their names.
macro_rules! events {
    ($($(#[$doc:meta])* $class:ident: $($variant:ident $name:literal),+;)*) => {
        /// A keyspace event. The names are Redis's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Event { $($($variant,)+)* }

        /// A group of events that are enabled together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Class { $($(#[$doc])* $class,)* }

        impl Event {
            /// Every event, in the order of the table.
            pub const ALL: &[Event] = &[$($(Event::$variant,)+)*];

            /// The name that subscribers receive; empty for a change for which Redis has no event.
            pub const fn name(self) -> &'static str {
                match self { $($(Event::$variant => $name,)+)* }
            }

            /// The group of the event.
            pub const fn class(self) -> Class {
                match self { $($(Event::$variant)|+ => Class::$class,)* }
            }
        }
    };
}

events! {
    /// No event: changes that Redis does not publish, of a value (`PFCOUNT`), of its metadata (`XACK`), or of the node that
    /// has the key.
    Silent: Unnamed "", Bookkeeping "", Moved "";
    /// `g`: commands for values of any type.
    Generic: Del "del", RenameFrom "rename_from", RenameTo "rename_to", MoveFrom "move_from", MoveTo "move_to",
        CopyTo "copy_to", Restore "restore", Expire "expire", Persist "persist";
    /// `$`: strings.
    String: Set "set", SetRange "setrange", IncrBy "incrby", IncrByFloat "incrbyfloat", Append "append",
        SetBit "setbit", PfAdd "pfadd";
    /// `l`: lists.
    List: LPush "lpush", RPush "rpush", LPop "lpop", RPop "rpop", LInsert "linsert", LSet "lset", LRem "lrem",
        LTrim "ltrim", SortStore "sortstore";
    /// `s`: sets.
    Set: SAdd "sadd", SRem "srem", SPop "spop", SInterStore "sinterstore", SUnionStore "sunionstore",
        SDiffStore "sdiffstore";
    /// `h`: hashes.
    Hash: HSet "hset", HIncrBy "hincrby", HIncrByFloat "hincrbyfloat", HDel "hdel", HExpire "hexpire",
        HPersist "hpersist", HExpired "hexpired";
    /// `z`: sorted sets.
    SortedSet: ZAdd "zadd", ZIncr "zincr", ZRem "zrem", ZRemRangeByScore "zremrangebyscore",
        ZRemRangeByRank "zremrangebyrank", ZRemRangeByLex "zremrangebylex", ZPopMin "zpopmin", ZPopMax "zpopmax",
        ZUnionStore "zunionstore", ZInterStore "zinterstore", ZDiffStore "zdiffstore", ZRangeStore "zrangestore",
        GeoSearchStore "geosearchstore", GeoRadiusStore "georadiusstore";
    /// `t`: streams.
    Stream: XAdd "xadd", XTrim "xtrim", XDel "xdel", XSetId "xsetid", XGroupCreate "xgroup-create",
        XGroupSetId "xgroup-setid", XGroupDestroy "xgroup-destroy", XGroupCreateConsumer "xgroup-createconsumer",
        XGroupDelConsumer "xgroup-delconsumer";
    /// `x`: keys that have expired.
    Expired: Expired "expired";
    /// `e`: keys deleted because of `maxmemory`.
    Evicted: Evicted "evicted";
    /// `n`: keys that did not exist before.
    New: New "new";
    /// `m`: a read that found no key.
    KeyMiss: KeyMiss "keymiss";
}

impl Event {
    /// Whether the event changes the key or its value. The other events only inform subscribers.
    pub const fn is_change(self) -> bool {
        !matches!(self, Event::New | Event::KeyMiss)
    }

    /// Whether the event affects clients that watch the key or cache its value. Changes to a stream's consumer groups
    /// do not.
    pub const fn touches(self) -> bool {
        let of_groups = matches!(
            self,
            Self::Bookkeeping
                | Self::XSetId
                | Self::XGroupCreate
                | Self::XGroupSetId
                | Self::XGroupDestroy
                | Self::XGroupCreateConsumer
                | Self::XGroupDelConsumer
        );
        self.is_change() && !of_groups
    }

    /// Whether the event removes the key.
    pub const fn removes(self) -> bool {
        matches!(self, Self::Del | Self::Expired | Self::Evicted | Self::Moved)
    }

    /// Whether the event may serve a client that is blocked on the key. Events that only remove elements or change
    /// metadata cannot.
    pub const fn may_serve(self) -> bool {
        let takes_away = matches!(
            self,
            Self::LPop
                | Self::RPop
                | Self::LRem
                | Self::LTrim
                | Self::ZPopMin
                | Self::ZPopMax
                | Self::ZRem
                | Self::XDel
                | Self::XTrim
        );
        let accounts = matches!(
            self,
            Self::Unnamed
                | Self::Bookkeeping
                | Self::Expire
                | Self::Persist
                | Self::XSetId
                | Self::XGroupCreate
                | Self::XGroupSetId
                | Self::XGroupCreateConsumer
                | Self::XGroupDelConsumer
        );
        self.is_change() && !takes_away && !accounts
    }
}

/// Why a key is removed. This decides where its value is freed, which event is recorded, and what is propagated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// `DEL` and the like.
    Del,
    /// `UNLINK`: freed in the background.
    Unlink,
    /// A command removed the last element. That command is propagated, not the removal.
    Emptied,
    /// A command stores its result here, and the result is empty.
    Overwritten,
    /// The key was given an expiry in the past (`EXPIRE key -1`).
    PastExpiry,
    /// It has expired.
    Expired,
    /// Memory is short (`maxmemory`).
    Evicted,
    /// Another node of the cluster has the key's slot now.
    Moved,
}

impl Removal {
    /// The event that subscribers receive.
    pub const fn event(self) -> Event {
        match self {
            Removal::Expired => Event::Expired,
            Removal::Evicted => Event::Evicted,
            Removal::Moved => Event::Moved,
            _ => Event::Del,
        }
    }

    /// The number of changes that the removal counts as. Removals by the server itself do not count; nor does the
    /// removal of an emptied key, whose elements were counted.
    pub const fn count(self) -> u64 {
        match self {
            Removal::Del | Removal::Unlink | Removal::Overwritten | Removal::PastExpiry | Removal::Moved => 1,
            Removal::Emptied | Removal::Expired | Removal::Evicted => 0,
        }
    }

    /// Whether no propagated command implies the removal, so that it has to be propagated on its own.
    pub const fn is_own(self) -> bool {
        matches!(self, Removal::Expired | Removal::Evicted)
    }
}
