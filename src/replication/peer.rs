//! A replica from its primary's view: its properties, set by `REPLCONF`, and the offsets that it has acknowledged.

use super::history::History;
use crate::text::{number, words};

/// The state of a replica's synchronization.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It has sent at most `REPLCONF`, and has not requested synchronization.
    Greeting,
    /// It waits until its snapshot starts.
    WaitingForStart,
    /// The snapshot is being written.
    WaitingForEnd,
    /// It receives the snapshot while a child writes it.
    ReceivingPipe,
    /// It receives the snapshot from a file.
    ReceivingFile,
    /// It has received a snapshot of unknown length and loads it. The stream starts after its first acknowledgement.
    Loading,
    /// It receives the stream.
    Online,
    /// It requested only the snapshot, and has it (`REPLCONF rdb-only`).
    HasSnapshot,
}

impl Stage {
    /// Whether it waits for a snapshot in a file, or receives one.
    pub fn needs_file(self) -> bool {
        matches!(self, Stage::WaitingForStart | Stage::WaitingForEnd | Stage::ReceivingFile)
    }

    /// The name in `INFO`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Greeting => "",
            Stage::WaitingForStart | Stage::WaitingForEnd | Stage::ReceivingPipe => "wait_bgsave",
            Stage::ReceivingFile => "send_bulk",
            Stage::Loading | Stage::Online => "online",
            Stage::HasSnapshot => "rdb_transmitted",
        }
    }

    /// Whether the replica receives a snapshot.
    pub fn is_receiving(self) -> bool {
        matches!(self, Stage::ReceivingPipe | Stage::ReceivingFile)
    }
}

/// The formats that a replica can receive (`REPLCONF capa`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// A snapshot of unknown length, which ends with a mark.
    pub eof: bool,
    /// `+CONTINUE` with an ID.
    pub psync2: bool,
}

/// The parts to leave out of the snapshot (`REPLCONF rdb-filter-only`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The keys.
    pub no_data: bool,
    /// The functions.
    pub no_functions: bool,
}

impl Filter {
    /// Whether it leaves nothing out.
    pub fn is_empty(self) -> bool {
        self == Filter::default()
    }
}

/// A replica's properties and state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The state of its synchronization.
    pub stage: Stage,
    /// The port at which its clients reach it; 0: unknown.
    pub listening_port: i64,
    /// The address at which its clients reach it; empty: that of the connection.
    pub address: Vec<u8>,
    /// The formats that it can receive.
    pub capabilities: Capabilities,
    /// Whether it requests only a snapshot.
    pub rdb_only: bool,
    /// The parts to leave out of the snapshot.
    pub filter: Filter,
    /// The replication offset up to which it has applied the stream.
    pub acknowledged: i64,
    /// The replication offset up to which its AOF is on disk.
    pub acknowledged_on_disk: i64,
    /// The time of its last acknowledgement, in Unix milliseconds.
    pub acknowledged_ms: i64,
    /// Whether it has ever acknowledged an offset that was never sent to it.
    pub has_overclaimed: bool,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer {
            stage: Stage::Greeting,
            listening_port: 0,
            address: Vec::new(),
            capabilities: Capabilities::default(),
            rdb_only: false,
            filter: Filter::default(),
            acknowledged: 0,
            acknowledged_on_disk: 0,
            acknowledged_ms: 0,
            has_overclaimed: false,
        }
    }
}

/// The effect of a `REPLCONF`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Reply `OK`.
    Ok,
    /// The replica has acknowledged an offset: no reply.
    Acknowledged,
    /// The same, but for the first time with an offset that was never sent to the replica. It is ignored.
    Overclaimed(i64),
    /// The primary requests an acknowledgement: no reply.
    Acknowledge,
}

/// The longest address of a replica, in bytes.
const MAX_ADDRESS: usize = 255;

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

impl Peer {
    /// Executes `REPLCONF` with these arguments, in pairs of a name and a value. `sent` is the replication offset up to
    /// which the stream was sent to the replica.
    ///
    /// # Errors
    /// The text of the error reply. Pairs before the wrong one have been applied, as in Redis.
    pub fn configure<'a>(
        &mut self,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        sent: i64,
        now_ms: i64,
    ) -> Result<Asked, String> {
        if !args.len().is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        let mut args = args;
        while let (Some(name), Some(value)) = (args.next(), args.next()) {
            match name.to_ascii_lowercase().as_slice() {
                b"listening-port" => self.listening_port = integer(value)?,
                b"ip-address" if value.len() <= MAX_ADDRESS => self.address = value.to_vec(),
                b"ip-address" => {
                    return Err(format!(
                        "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                        value.len()
                    ));
                }
                b"capa" if value.eq_ignore_ascii_case(b"eof") => self.capabilities.eof = true,
                b"capa" if value.eq_ignore_ascii_case(b"psync2") => self.capabilities.psync2 = true,
                // Other capabilities are not used here.
                b"capa" => {}
                b"ack" => {
                    return Ok(self.acknowledge(value, args.next().zip(args.next()), sent, now_ms));
                }
                b"getack" => return Ok(Asked::Acknowledge),
                b"rdb-only" => match integer(value)? {
                    0 => self.rdb_only = false,
                    1 => self.rdb_only = true,
                    _ => return Err("ERR value is out of range, value must between 0 and 1".into()),
                },
                b"rdb-filter-only" => self.filter = parse_filter(value)?,
                _ => {
                    return Err(format!(
                        "ERR Unrecognized REPLCONF option: {}",
                        String::from_utf8_lossy(name)
                    ));
                }
            }
        }
        Ok(Asked::Ok)
    }

    /// Records an acknowledgement. Offsets never decrease. Those beyond `sent` do not count, because the replica cannot
    /// have that data.
    fn acknowledge(
        &mut self,
        applied: &[u8],
        on_disk: Option<(&[u8], &[u8])>,
        sent: i64,
        now_ms: i64,
    ) -> Asked {
        let Some(applied) = number::parse_i64(applied) else { return Asked::Acknowledged };
        self.acknowledged_ms = now_ms;
        let on_disk = on_disk
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"fack"))
            .and_then(|(_, synced)| number::parse_i64(synced));
        let on_disk = on_disk.unwrap_or(0);
        if applied <= sent {
            self.acknowledged = self.acknowledged.max(applied);
        }
        if on_disk <= sent {
            self.acknowledged_on_disk = self.acknowledged_on_disk.max(on_disk);
        }
        let most = applied.max(on_disk);
        if most > sent && !std::mem::replace(&mut self.has_overclaimed, true) {
            return Asked::Overclaimed(most);
        }
        Asked::Acknowledged
    }

    /// The stream offset up to which it has confirmed the data; `None` if it has confirmed nothing.
    pub fn confirms(&self, history: &History) -> Option<u64> {
        let acknowledged = Some(self.acknowledged).filter(|offset| self.is_online() && *offset > 0)?;
        history.stream_offset(acknowledged)
    }

    /// Whether the primary can send the requested snapshot: a filtered one is never written to a file, which would
    /// replace that of the whole data set.
    pub fn can_be_served(&self) -> bool {
        self.filter.is_empty() || self.capabilities.eof
    }

    /// Whether it counts for `WAIT`: it receives the stream.
    pub fn is_online(&self) -> bool {
        self.stage == Stage::Online
    }
}

fn integer(value: &[u8]) -> Result<i64, String> {
    number::parse_i64(value).ok_or_else(|| NOT_AN_INTEGER.into())
}

/// The words of `rdb-filter-only` name the parts to *include* in the snapshot.
fn parse_filter(value: &[u8]) -> Result<Filter, String> {
    let mut filter = Filter { no_data: true, no_functions: true };
    let words = words::split(value).map_err(|_| "ERR Missing rdb-filter-only values")?;
    for word in &words {
        if word.eq_ignore_ascii_case(b"functions") {
            filter.no_functions = false;
        } else {
            return Err(format!("ERR Unsupported rdb-filter-only option: {}", String::from_utf8_lossy(word)));
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::history::Id;

    /// The offset up to which the stream was sent.
    const SENT: i64 = 1050;

    fn configure(peer: &mut Peer, line: &str, now_ms: i64) -> Result<Asked, String> {
        let words: Vec<&[u8]> = line.split('|').map(str::as_bytes).collect();
        peer.configure(words.into_iter(), SENT, now_ms)
    }

    #[test]
    fn a_replica_says_what_it_is() {
        let mut peer = Peer::default();
        assert_eq!(configure(&mut peer, "listening-port|7001", 0), Ok(Asked::Ok));
        assert_eq!(
            configure(&mut peer, "capa|eof|capa|psync2|CAPA|other|ip-address|db.example", 0),
            Ok(Asked::Ok)
        );
        assert_eq!(peer.listening_port, 7001);
        assert_eq!(peer.capabilities, Capabilities { eof: true, psync2: true });
        assert_eq!(peer.address, b"db.example");
        assert_eq!(configure(&mut peer, "rdb-only|1|rdb-filter-only|functions", 0), Ok(Asked::Ok));
        assert_eq!((peer.rdb_only, peer.filter), (true, Filter { no_data: true, no_functions: false }));
        assert!(!peer.filter.is_empty() && peer.can_be_served());
        assert!(!Peer { capabilities: Capabilities::default(), ..peer.clone() }.can_be_served());
        assert_eq!(configure(&mut peer, "rdb-filter-only|", 0), Ok(Asked::Ok));
        assert_eq!(peer.filter, Filter { no_data: true, no_functions: true });
    }

    #[test]
    fn an_acknowledgement_never_goes_back() {
        let mut peer = Peer::default();
        assert_eq!(configure(&mut peer, "ACK|100|FACK|90", 5), Ok(Asked::Acknowledged));
        assert_eq!(configure(&mut peer, "ack|99|fack|91", 6), Ok(Asked::Acknowledged));
        assert_eq!((peer.acknowledged, peer.acknowledged_on_disk, peer.acknowledged_ms), (100, 91, 6));
        assert_eq!(configure(&mut peer, "ack|x", 7), Ok(Asked::Acknowledged), "it gets no reply");
        assert_eq!(peer.acknowledged_ms, 6);
        assert_eq!(configure(&mut peer, "getack|*", 7), Ok(Asked::Acknowledge));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_does_not_count_and_is_reported_once() {
        let mut peer = Peer::default();
        for (line, asked) in [
            ("ack|1051", Asked::Overclaimed(1051)),
            ("ack|9223372036854775807", Asked::Acknowledged),
            ("ack|1051|fack|1052", Asked::Acknowledged),
        ] {
            peer.acknowledged_ms = 0;
            assert_eq!(configure(&mut peer, line, 5), Ok(asked), "{line}");
            assert_eq!((peer.acknowledged, peer.acknowledged_on_disk), (0, 0), "{line}");
            assert_eq!(peer.acknowledged_ms, 5, "it is alive");
        }
        configure(&mut peer, "ack|1050|fack|1049", 6).unwrap();
        assert_eq!((peer.acknowledged, peer.acknowledged_on_disk), (1050, 1049), "a later one counts");
        let mut peer = Peer::default();
        assert_eq!(configure(&mut peer, "ack|7|fack|1051", 0), Ok(Asked::Overclaimed(1051)));
        assert_eq!((peer.acknowledged, peer.acknowledged_on_disk), (7, 0), "each counts for itself");
    }

    #[test]
    fn data_is_confirmed_only_by_a_replica_that_is_online() {
        let mut history = History::new(Id::NONE);
        history.adopt(Id::NONE, 1000, 0);
        let mut peer = Peer { stage: Stage::Online, ..Peer::default() };
        assert_eq!(peer.confirms(&history), None, "it has acknowledged nothing");
        for (offset, confirmed) in [("999", None), ("1000", Some(0)), ("1050", Some(50))] {
            configure(&mut peer, &format!("ack|{offset}"), 0).unwrap();
            assert_eq!(peer.confirms(&history), confirmed, "{offset}");
        }
        let loading = Peer { stage: Stage::Loading, acknowledged: 1050, ..Peer::default() };
        assert_eq!(loading.confirms(&history), None);
    }

    #[test]
    fn wrong_words_are_refused_as_by_redis() {
        let mut peer = Peer::default();
        for (line, error) in [
            ("listening-port", SYNTAX),
            ("listening-port|x", NOT_AN_INTEGER),
            ("rdb-only|2", "ERR value is out of range, value must between 0 and 1"),
            ("rdb-filter-only|a \"b", "ERR Missing rdb-filter-only values"),
            ("rdb-filter-only|keys", "ERR Unsupported rdb-filter-only option: keys"),
            ("what|ever", "ERR Unrecognized REPLCONF option: what"),
        ] {
            assert_eq!(configure(&mut peer, line, 0), Err(error.into()), "{line}");
        }
        let address = |len| format!("ip-address|{}", "a".repeat(len));
        assert!(configure(&mut peer, &address(256), 0).is_err());
        assert_eq!(peer, Peer::default());
        assert!(configure(&mut peer, &address(255), 0).is_ok());
    }
}
