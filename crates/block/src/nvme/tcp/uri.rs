//! The address of a namespace on an NVMe/TCP target, as a person writes it.
//!
//! ```text
//! nvme-tcp://192.0.2.7:4420/nqn.2026-01.org.example:disk?ns=1&hdgst=1&depth=256
//!            `-- host ---'  `-- subsystem NQN ---------' `-- options ------'
//! ```
//!
//! A subsystem that can be reached at several addresses has them all, with commas between; the first is preferred.
//! IPv6 addresses stand in brackets; the port may be left out. Nothing is percent-decoded: no option needs it.
//!
//! | option | default | means |
//! |---|---|---|
//! | `ns=N` | the only one | namespace |
//! | `hdgst=1`, `ddgst=1` | 0 | digests behind headers, behind data |
//! | `hostnqn=`, `hostid=` | those of nvme-cli, else random | who this host is |
//! | `depth=N` | 128 | requests in flight per queue |
//! | `kato=5s` | 5s | keep-alive timeout: a target that is silent for so long is gone |
//! | `sqflow=1` | 0 | submission queue flow control |
//! | `reconnect-delay=T` | 100ms | the first wait before reconnecting; later ones double, up to 1s |
//! | `ctrl-loss-timeout=T` | 600s | for so long reconnecting is tried, and requests wait; `0`, `never` |
//! | `io-timeout=T` | 30s | a command that is not answered is aborted, after as long again the controller is reset |
//! | `retry=WHAT` | idempotent | what is sent again: `none`, `idempotent`, `all` (see `fate`) |

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use uuid::Uuid;
use wire::nvme::Nqn;
use wire::nvme::nqn::MAX_BYTES;

use super::fate::Retry;
use super::limits::{
    DEFAULT_CTRL_LOSS_TIMEOUT, DEFAULT_DEPTH, DEFAULT_IO_TIMEOUT, DEFAULT_KATO, DEFAULT_PORT, DEFAULT_RECONNECT_DELAY,
    MAX_CTRL_LOSS_TIMEOUT, MAX_DEPTH, MAX_FIRST_DELAY, MAX_IO_TIMEOUT, MAX_KATO, MAX_PATHS,
};

/// How every address of this kind starts.
pub const SCHEME: &str = "nvme-tcp://";

/// The options behind the question mark, and what each wants.
const OPTIONS: [(&str, &str); 12] = [
    ("ns", "a namespace number from 1"),
    ("hdgst", "0 or 1: header digests"),
    ("ddgst", "0 or 1: data digests"),
    ("hostnqn", "the NQN this host connects as"),
    ("hostid", "the UUID of this host"),
    ("depth", "requests in flight per queue, 1 to 1024"),
    ("kato", "the keep-alive timeout: 5s, 2500ms, or 0 for none"),
    ("sqflow", "0 or 1: submission queue flow control"),
    ("reconnect-delay", "the first wait before reconnecting, up to 60s: 100ms, 2s"),
    ("ctrl-loss-timeout", "how long to try to reconnect: 600s, 0 for not at all, or never for without end"),
    ("io-timeout", "when a command that is not answered is aborted: 30s, 500ms, or 0 for never"),
    ("retry", "what is sent again after reconnecting: none, idempotent or all"),
];

/// Where a namespace is and how to connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Other ways to the same subsystem, the better first: names or addresses, and ports.
    pub others: Vec<(String, u16)>,
    /// NQN of the subsystem.
    pub subnqn: String,
    /// The namespace; without it the subsystem must have exactly one.
    pub nsid: Option<u32>,
    /// CRC-32C over every PDU's header.
    pub header_digest: bool,
    /// CRC-32C over every PDU's data.
    pub data_digest: bool,
    /// NQN of this host.
    pub hostnqn: String,
    /// Identifier of this host: one for one NQN.
    pub hostid: Uuid,
    /// Requests in flight per queue.
    pub depth: u16,
    /// Keep-alive timeout; zero for none.
    pub kato: Duration,
    /// Keep submission queue flow control on: costs a response capsule per read.
    pub flow_control: bool,
    /// The first wait before a broken association is established again; later ones grow.
    pub reconnect_delay: Duration,
    /// Without a controller for so long, the namespace is given up; zero: at once. `None`: never.
    pub ctrl_loss_timeout: Option<Duration>,
    /// A command that is not answered within this is aborted; zero for never.
    pub io_timeout: Duration,
    /// What is sent again after reconnecting.
    pub retry: Retry,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct UriError {
    /// What is wrong.
    pub why: String,
    /// What to write instead: a complete sentence.
    pub hint: String,
}

impl UriError {
    fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: hint.into() }
    }
}

impl Uri {
    /// An address with every option at its default.
    #[must_use]
    pub fn new(host: &str, port: u16, subnqn: &str) -> Self {
        let (hostnqn, hostid) = this_host().clone();
        Self {
            host: host.to_owned(),
            port,
            others: Vec::new(),
            subnqn: subnqn.to_owned(),
            nsid: None,
            header_digest: false,
            data_digest: false,
            hostnqn,
            hostid,
            depth: DEFAULT_DEPTH,
            kato: DEFAULT_KATO,
            flow_control: false,
            reconnect_delay: DEFAULT_RECONNECT_DELAY,
            ctrl_loss_timeout: Some(DEFAULT_CTRL_LOSS_TIMEOUT),
            io_timeout: DEFAULT_IO_TIMEOUT,
            retry: Retry::default(),
        }
    }

    /// An address for each way, the preferred one first.
    #[must_use]
    pub fn paths(&self) -> Vec<Self> {
        let first = (self.host.clone(), self.port);
        let all = std::iter::once(first).chain(self.others.iter().cloned());
        all.map(|(host, port)| Self { host, port, others: Vec::new(), ..self.clone() }).collect()
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        let bad = || {
            let wants = OPTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, wants)| wants);
            UriError::new(format!("{name}={value} is not valid"), format!("{name} takes {wants}."))
        };
        match name {
            "ns" => self.nsid = Some(value.parse().ok().filter(|&n| n > 0 && n < u32::MAX).ok_or_else(bad)?),
            "hdgst" => self.header_digest = switch(value).ok_or_else(bad)?,
            "ddgst" => self.data_digest = switch(value).ok_or_else(bad)?,
            "sqflow" => self.flow_control = switch(value).ok_or_else(bad)?,
            "hostnqn" => self.hostnqn = check_nqn(value)?.to_owned(),
            "hostid" => self.hostid = value.parse().map_err(|_| bad())?,
            "depth" => {
                self.depth = value.parse().ok().filter(|depth| (1..=MAX_DEPTH).contains(depth)).ok_or_else(bad)?;
            }
            "kato" => self.kato = duration(value).filter(|kato| *kato <= MAX_KATO).ok_or_else(bad)?,
            "reconnect-delay" => {
                let delay = duration(value).filter(|delay| *delay <= MAX_FIRST_DELAY);
                self.reconnect_delay = delay.ok_or_else(bad)?;
            }
            "ctrl-loss-timeout" if value == "never" => self.ctrl_loss_timeout = None,
            "ctrl-loss-timeout" => {
                let timeout = duration(value).filter(|timeout| *timeout <= MAX_CTRL_LOSS_TIMEOUT);
                self.ctrl_loss_timeout = Some(timeout.ok_or_else(bad)?);
            }
            "io-timeout" => {
                let timeout = duration(value).filter(|timeout| *timeout <= MAX_IO_TIMEOUT);
                self.io_timeout = timeout.ok_or_else(bad)?;
            }
            "retry" => self.retry = Retry::parse(value).ok_or_else(bad)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        const SHAPE: &str = "Write nvme-tcp://ADDRESS:PORT/NQN?ns=1, for example \
                             nvme-tcp://127.0.0.1:4420/nqn.2026-01.org.example:disk?ns=1.";
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| UriError::new(format!("the address does not start with {SCHEME}"), SHAPE))?;
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, nqn) =
            path.split_once('/').ok_or_else(|| UriError::new("the address has no subsystem NQN", SHAPE))?;
        if nqn.is_empty() {
            return Err(UriError::new("the address has no subsystem NQN", SHAPE));
        }
        let mut ways = Vec::new();
        for way in authority.split(',') {
            let (host, port) = authority_parts(way)?;
            let way = (host.to_owned(), port);
            if ways.contains(&way) {
                return Err(UriError::new(format!("{host} port {port} is there twice"), "Name each address once."));
            }
            ways.push(way);
        }
        if ways.len() > MAX_PATHS {
            let why = format!("there are {} addresses", ways.len());
            return Err(UriError::new(why, format!("Name at most {MAX_PATHS} ways to a subsystem.")));
        }
        let (host, port) = ways.remove(0);
        let mut uri = Self { others: ways, ..Self::new(&host, port, check_nqn(nqn)?) };
        let mut seen: Vec<&str> = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if seen.contains(&name) {
                return Err(UriError::new(format!("the option {name} is given twice"), "Give it once."));
            }
            seen.push(name);
            uri.option(name, value)?;
        }
        // One host NQN means one host identifier: a target refuses a host that shows up with two.
        if seen.contains(&"hostnqn") && !seen.contains(&"hostid") {
            uri.hostid = hostid_of(&uri.hostnqn);
        }
        if seen.contains(&"hostid") && !seen.contains(&"hostnqn") {
            uri.hostnqn = nqn_of(uri.hostid);
        }
        Ok(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        write_way(f, &self.host, self.port)?;
        for (host, port) in &self.others {
            f.write_str(",")?;
            write_way(f, host, *port)?;
        }
        write!(f, "/{}", self.subnqn)?;
        if let Some(nsid) = self.nsid {
            write!(f, "?ns={nsid}")?;
        }
        Ok(())
    }
}

fn write_way(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

/// Splits `host:port`, `host`, `[v6]:port` and `[v6]`.
fn authority_parts(authority: &str) -> Result<(&str, u16), UriError> {
    let (host, port) = if let Some(inner) = authority.strip_prefix('[') {
        let (host, rest) = inner
            .split_once(']')
            .ok_or_else(|| UriError::new("the IPv6 address has no closing bracket", "Write [::1]:4420."))?;
        if !rest.is_empty() && !rest.starts_with(':') {
            return Err(UriError::new(format!("{rest} stands behind the IPv6 address"), "Write [::1]:4420."));
        }
        (host, rest.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                let hint = format!("Write the IPv6 address in brackets: [{authority}].");
                return Err(UriError::new("the address has more than one colon", hint));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(UriError::new("the address names no host", "Write nvme-tcp://ADDRESS:PORT/NQN."));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(|| {
            UriError::new(format!("{port:?} is not a port"), "A port is a number from 1 to 65535; 4420 is usual.")
        })?,
    };
    Ok((host, port))
}

fn check_nqn(nqn: &str) -> Result<&str, UriError> {
    let hint =
        || format!("An NQN starts with \"nqn.\" and has at most {MAX_BYTES} bytes: nqn.2026-01.org.example:disk.");
    Nqn::new(nqn).map_err(|_| UriError::new(format!("{nqn:?} is not an NQN"), hint()))?;
    Ok(nqn)
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "" | "1" | "on" | "true" => Some(true),
        "0" | "off" | "false" => Some(false),
        _ => None,
    }
}

fn duration(value: &str) -> Option<Duration> {
    if value == "0" {
        return Some(Duration::ZERO);
    }
    if let Some(ms) = value.strip_suffix("ms") {
        return ms.parse().ok().map(Duration::from_millis);
    }
    value.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

fn unknown(name: &str) -> UriError {
    let near = OPTIONS.iter().map(|(known, _)| (edits(name, known), *known)).min();
    let hint = match near {
        Some((distance, known)) if distance <= 2 => format!("Did you mean {known}?"),
        _ => {
            let names: Vec<&str> = OPTIONS.iter().map(|(known, _)| *known).collect();
            format!("The options are {}.", names.join(", "))
        }
    };
    UriError::new(format!("there is no option {name:?}"), hint)
}

/// The number of single-character edits between two words (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let swap = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = swap.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn nqn_of(id: Uuid) -> String {
    format!("nqn.2014-08.org.nvmexpress:uuid:{id}")
}

/// The UUID inside a UUID-based host NQN; else one that follows from the name, so that it is the same every time.
fn hostid_of(hostnqn: &str) -> Uuid {
    if let Some(id) = hostnqn.strip_prefix("nqn.2014-08.org.nvmexpress:uuid:").and_then(|id| id.parse().ok()) {
        return id;
    }
    crate::nvme::describe::uuid_of(hostnqn)
}

/// NQN and identifier of this host: those nvme-cli keeps, else random ones that live as long as the process.
fn this_host() -> &'static (String, Uuid) {
    static HOST: OnceLock<(String, Uuid)> = OnceLock::new();
    HOST.get_or_init(|| {
        let kept = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let nqn = kept("/etc/nvme/hostnqn").filter(|nqn| check_nqn(nqn).is_ok());
        let id = kept("/etc/nvme/hostid").and_then(|id| id.parse().ok());
        match (nqn, id) {
            (Some(nqn), Some(id)) => (nqn, id),
            (Some(nqn), None) => {
                let id = hostid_of(&nqn);
                (nqn, id)
            }
            (None, id) => {
                let id = id.unwrap_or_else(Uuid::new_v4);
                (nqn_of(id), id)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses() {
        for (authority, host, port) in [
            ("127.0.0.1:4420", "127.0.0.1", 4420),
            ("127.0.0.1", "127.0.0.1", 4420),
            ("disk.example:8009", "disk.example", 8009),
            ("[::1]:1", "::1", 1),
            ("[fe80::1]", "fe80::1", 4420),
        ] {
            let uri = parse(&format!("nvme-tcp://{authority}/nqn.2026-01.org.example:a"));
            assert_eq!((uri.host.as_str(), uri.port), (host, port), "{authority}");
            assert_eq!(uri.subnqn, "nqn.2026-01.org.example:a");
            assert_eq!(parse(&uri.to_string()), uri, "what is shown can be given again");
        }
    }

    #[test]
    fn several_ways() {
        let uri = parse("nvme-tcp://a:1,[::1],c/nqn.a?ns=3&retry=all");
        assert_eq!((uri.host.as_str(), uri.port), ("a", 1));
        assert_eq!(uri.others, [("::1".to_owned(), 4420), ("c".to_owned(), 4420)]);
        assert_eq!(uri.to_string(), "nvme-tcp://a:1,[::1]:4420,c:4420/nqn.a?ns=3");
        let names: Vec<String> = uri.paths().iter().map(Uri::to_string).collect();
        assert_eq!(
            names,
            ["nvme-tcp://a:1/nqn.a?ns=3", "nvme-tcp://[::1]:4420/nqn.a?ns=3", "nvme-tcp://c:4420/nqn.a?ns=3"]
        );
        assert!(uri.paths().iter().all(|path| path.retry == Retry::All));
    }

    #[test]
    fn options() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let uri = parse(&format!(
            "nvme-tcp://h/nqn.a?ns=7&hdgst=1&ddgst&depth=32&kato=2500ms&sqflow=on&hostid={id}&hostnqn=nqn.b"
        ));
        assert_eq!(uri.nsid, Some(7));
        assert!(uri.header_digest && uri.data_digest && uri.flow_control);
        assert_eq!((uri.depth, uri.kato), (32, Duration::from_millis(2500)));
        assert_eq!((uri.hostnqn.as_str(), uri.hostid.to_string().as_str()), ("nqn.b", id));

        let plain = parse("nvme-tcp://h/nqn.a");
        assert_eq!((plain.nsid, plain.depth, plain.kato), (None, DEFAULT_DEPTH, DEFAULT_KATO));
        assert!(!plain.header_digest && !plain.data_digest && !plain.flow_control);
        assert_eq!(parse("nvme-tcp://h/nqn.a?kato=0").kato, Duration::ZERO);
    }

    #[test]
    fn what_happens_when_the_target_goes_away() {
        let uri = parse("nvme-tcp://h/nqn.a?reconnect-delay=250ms&ctrl-loss-timeout=30s&retry=none&io-timeout=2s");
        assert_eq!(uri.io_timeout, Duration::from_secs(2));
        assert_eq!((uri.reconnect_delay, uri.retry), (Duration::from_millis(250), Retry::None));
        assert_eq!(uri.ctrl_loss_timeout, Some(Duration::from_secs(30)));
        assert_eq!(parse("nvme-tcp://h/nqn.a?ctrl-loss-timeout=never").ctrl_loss_timeout, None);
        assert_eq!(parse("nvme-tcp://h/nqn.a?ctrl-loss-timeout=0").ctrl_loss_timeout, Some(Duration::ZERO));
        assert_eq!(parse("nvme-tcp://h/nqn.a?retry=all").retry, Retry::All);
        assert_eq!(parse("nvme-tcp://h/nqn.a").retry, Retry::Idempotent);
    }

    #[test]
    fn the_host_identifier_follows_from_the_host_nqn() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let from_nqn = parse(&format!("nvme-tcp://h/nqn.a?hostnqn=nqn.2014-08.org.nvmexpress:uuid:{id}"));
        assert_eq!(from_nqn.hostid.to_string(), id);
        let from_id = parse(&format!("nvme-tcp://h/nqn.a?hostid={id}"));
        assert_eq!(from_id.hostnqn, format!("nqn.2014-08.org.nvmexpress:uuid:{id}"));
        let (one, again) = (parse("nvme-tcp://h/nqn.a?hostnqn=nqn.x"), parse("nvme-tcp://h/nqn.a?hostnqn=nqn.x"));
        assert_eq!(one.hostid, again.hostid);
        assert_ne!(one.hostid, parse("nvme-tcp://h/nqn.a?hostnqn=nqn.y").hostid);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let long = format!("nvme-tcp://h/nqn.{}", "x".repeat(MAX_BYTES));
        for (text, why, hint) in [
            ("nvme://h/nqn.a", "does not start with", "nvme-tcp://ADDRESS"),
            ("nvme-tcp://h", "no subsystem NQN", "nvme-tcp://ADDRESS"),
            ("nvme-tcp://h/", "no subsystem NQN", "nvme-tcp://ADDRESS"),
            ("nvme-tcp:///nqn.a", "names no host", "ADDRESS"),
            ("nvme-tcp://::1/nqn.a", "more than one colon", "[::1]"),
            ("nvme-tcp://[::1/nqn.a", "no closing bracket", "[::1]"),
            ("nvme-tcp://[::1]4420/nqn.a", "4420 stands behind", "[::1]:4420"),
            ("nvme-tcp://h,h:4420/nqn.a", "there twice", "once"),
            ("nvme-tcp://h,/nqn.a", "names no host", "ADDRESS"),
            ("nvme-tcp://a,b,c,d,e/nqn.a", "5 addresses", "at most 4"),
            ("nvme-tcp://h:0/nqn.a", "\"0\" is not a port", "4420"),
            ("nvme-tcp://h:x/nqn.a", "\"x\" is not a port", "4420"),
            ("nvme-tcp://h/disk", "\"disk\" is not an NQN", "nqn."),
            (long.as_str(), "is not an NQN", "223"),
            ("nvme-tcp://h/nqn.a?hdgest=1", "no option \"hdgest\"", "Did you mean hdgst?"),
            ("nvme-tcp://h/nqn.a?wibble=1", "no option \"wibble\"", "The options are ns, hdgst"),
            ("nvme-tcp://h/nqn.a?ns=0", "ns=0 is not valid", "from 1"),
            ("nvme-tcp://h/nqn.a?ns=1&ns=2", "given twice", "once"),
            ("nvme-tcp://h/nqn.a?depth=0", "depth=0", "1 to 1024"),
            ("nvme-tcp://h/nqn.a?depth=1025", "depth=1025", "1 to 1024"),
            ("nvme-tcp://h/nqn.a?kato=5", "kato=5", "2500ms"),
            ("nvme-tcp://h/nqn.a?hdgst=yes", "hdgst=yes", "0 or 1"),
            ("nvme-tcp://h/nqn.a?retry=some", "retry=some", "none, idempotent or all"),
            ("nvme-tcp://h/nqn.a?reconnect-delay=61s", "reconnect-delay=61s", "up to 60s"),
            ("nvme-tcp://h/nqn.a?ctrl-loss-timeout=5", "ctrl-loss-timeout=5", "600s"),
            ("nvme-tcp://h/nqn.a?hostid=1", "hostid=1", "UUID"),
            ("nvme-tcp://h/nqn.a?hostnqn=me", "\"me\" is not an NQN", "nqn."),
        ] {
            let error = text.parse::<Uri>().expect_err(text);
            assert!(error.why.contains(why), "{text}: {}", error.why);
            assert!(error.hint.contains(hint), "{text}: {}", error.hint);
        }
    }
}
