//! Parses INFO's section Replication: the role, the primary or the replicas, and what they have acknowledged.

use std::net::Ipv6Addr;

use crate::tools::client::info::Fields;

/// What a server knows of the others.
#[derive(Clone, Debug, Default)]
pub struct Replication {
    /// `master`, `slave`.
    pub role: String,
    /// The end of the stream; on a replica, of the part that it has applied.
    pub offset: u64,
    /// The primary, for a replica.
    pub upstream: Option<Upstream>,
    /// The number of replicas. A server that does not describe them still counts them.
    pub connected: u64,
    /// The replicas, in INFO's order.
    pub replicas: Vec<Replica>,
    /// The replicas that count for `min-replicas-to-write` and `min-replicas-to-ack`, while one of them is set.
    pub good: Option<u64>,
    /// While `min-replicas-to-ack` is set.
    pub confirmation: Option<Confirmation>,
    /// The state of a planned failover, if one is under way.
    pub failover: Option<String>,
}

/// The primary of a replica, and the link to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upstream {
    /// Its `host:port`.
    pub address: String,
    pub link_up: bool,
    /// Seconds since the primary last sent anything, while the link is up.
    pub silent_s: Option<u64>,
    /// For how many seconds the link has been down, if that is known.
    pub down_s: Option<u64>,
    /// The bytes of the stream that were received and are not applied yet.
    pub unapplied: u64,
    /// A full synchronization, if one is under way.
    pub transfer: Option<Transfer>,
}

/// The progress of a full synchronization.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The bytes that were received.
    pub read: u64,
    /// The bytes of the whole snapshot; `None`: the primary does not know.
    pub total: Option<u64>,
    /// Seconds since the last bytes.
    pub silent_s: Option<u64>,
}

impl Transfer {
    /// The share that was received, in percent.
    pub fn percent(&self) -> Option<f64> {
        self.total.map(|total| (self.read as f64 / total as f64 * 100.0).min(100.0))
    }
}

/// A replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// Its `host:port`.
    pub address: String,
    /// `wait_bgsave`, `send_bulk`, `online`.
    pub state: String,
    /// The offset that it has acknowledged.
    pub offset: u64,
    /// The bytes of the stream that it has not acknowledged; `None` before its first acknowledgement.
    pub behind: Option<u64>,
    /// Seconds since its last acknowledgement; `None` before it is online.
    pub lag_s: Option<u64>,
}

impl Replica {
    /// Whether it follows the stream, rather than waiting for a snapshot.
    pub fn is_online(&self) -> bool {
        self.state == "online"
    }
}

/// What enough replicas have acknowledged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confirmation {
    /// The offset; `None`: nothing since the start or the promotion.
    pub offset: Option<u64>,
    /// The parts of clients' output that wait.
    pub withheld: u64,
    /// Those that were never sent.
    pub dropped: u64,
}

impl Replication {
    /// Parses the section.
    pub fn of(fields: &Fields) -> Replication {
        let host = fields.text("master_host");
        let end = fields.count("master_repl_offset");
        let failover = fields.text("master_failover_state");
        let confirmed = fields.text("confirmed_repl_offset");
        Replication {
            role: fields.text("role").to_string(),
            offset: fields.number("slave_repl_offset").unwrap_or(end),
            upstream: (!host.is_empty()).then(|| upstream(fields, host)),
            connected: fields.count("connected_slaves"),
            replicas: replicas(fields, end),
            good: fields.number("min_slaves_good_slaves"),
            confirmation: (!confirmed.is_empty()).then(|| Confirmation {
                offset: confirmed.parse().ok(),
                withheld: fields.count("withheld_replies"),
                dropped: fields.count("unconfirmed_replies_dropped"),
            }),
            failover: (!matches!(failover, "" | "no-failover")).then(|| failover.to_string()),
        }
    }

    /// The most bytes by which a replica is behind.
    pub fn most_behind(&self) -> Option<u64> {
        self.replicas.iter().filter_map(|replica| replica.behind).max()
    }

    /// The time since the other end was last heard: on a replica its primary, on a primary the replica that has been
    /// silent for longest. A link that is down has been silent since it broke.
    pub fn lag_s(&self) -> Option<u64> {
        match &self.upstream {
            Some(upstream) => upstream.silent_s.or(upstream.down_s),
            None => self.replicas.iter().filter_map(|replica| replica.lag_s).max(),
        }
    }
}

fn upstream(fields: &Fields, host: &str) -> Upstream {
    let link_up = fields.text("master_link_status") == "up";
    let applied = fields.count("slave_repl_offset");
    Upstream {
        address: address(host, fields.text("master_port")),
        link_up,
        // It is -1 while there is no link.
        silent_s: fields.number("master_last_io_seconds_ago").filter(|_| link_up),
        down_s: fields.number("master_link_down_since_seconds").filter(|_| !link_up),
        unapplied: fields.number("slave_read_repl_offset").map_or(0, |read| read.saturating_sub(applied)),
        transfer: fields.yes("master_sync_in_progress").then(|| Transfer {
            read: fields.count("master_sync_read_bytes"),
            total: fields.number("master_sync_total_bytes").filter(|&total| total > 0),
            silent_s: fields.number("master_sync_last_io_seconds_ago"),
        }),
    }
}

/// Parses the lines `slave0:ip=…,port=…,state=…,offset=…,lag=…`, which are numbered without gaps.
fn replicas(fields: &Fields, end: u64) -> Vec<Replica> {
    let lines = (0u64..).map(|index| fields.text(&format!("slave{index}")));
    lines.take_while(|line| line.contains('=')).map(|line| replica(line, end)).collect()
}

fn replica(line: &str, end: u64) -> Replica {
    let part = |wanted: &str| {
        let parts = line.split(',').filter_map(|part| part.split_once('='));
        parts.filter(|(name, _)| *name == wanted).map(|(_, value)| value).next().unwrap_or("")
    };
    let (state, offset) = (part("state"), part("offset").parse().unwrap_or(0));
    let is_online = state == "online";
    Replica {
        address: address(part("ip"), part("port")),
        state: state.to_string(),
        offset,
        behind: (is_online && (offset > 0 || end == 0)).then(|| end.saturating_sub(offset)),
        lag_s: part("lag").parse().ok().filter(|_| is_online),
    }
}

fn address(host: &str, port: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Replication {
        Replication::of(&Fields::of(text))
    }

    #[test]
    fn a_primary_has_replicas_in_several_states() {
        let it = parse(
            "role:master\nconnected_slaves:4\nmin_slaves_good_slaves:1\n\
             slave0:ip=10.0.0.2,port=6379,state=online,offset=900,lag=1\n\
             slave1:ip=::1,port=6380,state=send_bulk,offset=0,lag=0\n\
             slave2:ip=db,port=6381,state=online,offset=0,lag=3\n\
             slave3:ip=db,port=6382,state=online,offset=1010,lag=0\n\
             master_failover_state:no-failover\nmaster_repl_offset:1000\n",
        );
        assert_eq!((it.role.as_str(), it.offset, it.connected, it.good), ("master", 1000, 4, Some(1)));
        let figures: Vec<_> = it
            .replicas
            .iter()
            .map(|replica| (replica.address.as_str(), replica.is_online(), replica.behind, replica.lag_s))
            .collect();
        assert_eq!(
            figures,
            [
                ("10.0.0.2:6379", true, Some(100), Some(1)),
                ("[::1]:6380", false, None, None),
                // It is online, and has acknowledged nothing yet.
                ("db:6381", true, None, Some(3)),
                // It has acknowledged what the primary wrote after it began to reply.
                ("db:6382", true, Some(0), Some(0)),
            ]
        );
        assert_eq!((it.most_behind(), it.lag_s()), (Some(100), Some(3)));
        assert!(it.upstream.is_none() && it.confirmation.is_none() && it.failover.is_none());
    }

    #[test]
    fn a_replica_has_a_link_that_is_up_down_or_synchronizing() {
        let base = "role:slave\nmaster_host:10.0.0.1\nmaster_port:6380\nslave_repl_offset:50\n\
                    slave_read_repl_offset:70\nmaster_repl_offset:70\n";
        let up = parse(&format!("{base}master_link_status:up\nmaster_last_io_seconds_ago:2\n"));
        let link = up.upstream.clone().unwrap();
        assert_eq!((link.address.as_str(), link.link_up, link.unapplied), ("10.0.0.1:6380", true, 20));
        assert_eq!((link.silent_s, link.down_s, link.transfer), (Some(2), None, None));
        assert_eq!((up.offset, up.lag_s()), (50, Some(2)));

        let down =
            "master_link_status:down\nmaster_last_io_seconds_ago:-1\nmaster_link_down_since_seconds:9\n";
        let down = parse(&format!("{base}{down}"));
        let link = down.upstream.clone().unwrap();
        assert_eq!((link.link_up, link.silent_s, link.down_s), (false, None, Some(9)));
        assert_eq!(down.lag_s(), Some(9));

        let transfer = |text: &str| {
            let text = format!("{base}master_link_status:down\nmaster_sync_in_progress:1\n{text}");
            parse(&text).upstream.unwrap().transfer.unwrap()
        };
        let known = transfer("master_sync_total_bytes:200\nmaster_sync_read_bytes:50\n");
        assert_eq!((known.read, known.total, known.percent()), (50, Some(200), Some(25.0)));
        let unknown = transfer(
            "master_sync_total_bytes:0\nmaster_sync_read_bytes:50\nmaster_sync_left_bytes:-1\n\
             master_sync_last_io_seconds_ago:4\n",
        );
        assert_eq!((unknown.total, unknown.percent(), unknown.silent_s), (None, None, Some(4)));
    }

    #[test]
    fn confirmation_and_failover_are_there_while_they_are_in_force() {
        let it = parse(
            "role:master\nmin_slaves_good_slaves:2\nconfirmed_repl_offset:80\nwithheld_replies:3\n\
             unconfirmed_replies_dropped:1\nmaster_failover_state:waiting-for-sync\nmaster_repl_offset:100\n",
        );
        assert_eq!(it.confirmation, Some(Confirmation { offset: Some(80), withheld: 3, dropped: 1 }));
        assert_eq!(it.failover.as_deref(), Some("waiting-for-sync"));
        assert_eq!(parse("confirmed_repl_offset:-1\n").confirmation.unwrap().offset, None);
    }

    #[test]
    fn any_text_is_a_section() {
        for text in
            ["", "slave0:", "slave0:x", "slave1:ip=a", "slave0:=,=", "connected_slaves:-1", "master_host:\n"]
        {
            let it = parse(text);
            assert!(it.most_behind().is_none() && it.lag_s().is_none() && it.upstream.is_none(), "{text}");
        }
        let odd = parse("slave0:ip=a,ip=b,port=x,state=online,offset=-5,lag=-1\n");
        assert_eq!((odd.replicas[0].address.as_str(), odd.replicas[0].lag_s), ("a:x", None));
        assert_eq!(parse("master_host:h\nmaster_sync_in_progress:1\n").lag_s(), None);
    }
}
