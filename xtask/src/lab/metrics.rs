//! What a target counts, from its page of metrics: whether something of a host is left.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the page may take. Far above what it needs: the machine may be busy.
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// The counts that a host moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Of hosts, now.
    pub(crate) connections: u64,
    /// That hosts have, now.
    pub(crate) controllers: u64,
    /// In any state but done.
    pub(crate) commands: u64,
    /// File descriptors of the process, without those of its workers for the page.
    pub(crate) files: u64,
    /// Associations that ended because keep-alives stayed out, so far.
    pub(crate) keep_alive_timeouts: u64,
    /// Connections that ended because the peer neither read nor sent, so far.
    pub(crate) stalled: u64,
}

impl Counts {
    /// Asks for the page.
    pub(crate) fn read(address: SocketAddr) -> Result<Self, String> {
        let page = page(address).map_err(|e| format!("no metrics from {address}: {e}"))?;
        let sum = |family| sum(&page, family).ok_or(format!("the metrics have no {family}"));
        Ok(Self {
            connections: sum("qpair_connections")?,
            controllers: sum("qpair_controllers")?,
            commands: sum("qpair_commands_in_progress")?,
            files: sum("process_open_fds")?,
            keep_alive_timeouts: sum("qpair_keep_alive_timeouts_total")?,
            stalled: sum("qpair_stalled_connections_total")?,
        })
    }

    /// Whether the target has nothing of any host, and as many files as in `before`, when it had seen none.
    pub(crate) fn is_quiet(&self, before: &Self) -> bool {
        let Self { connections, controllers, commands, files, .. } = *self;
        (connections, controllers, commands, files) == (0, 0, 0, before.files)
    }
}

fn page(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PAGE_LIMIT)?;
    stream.set_read_timeout(Some(PAGE_LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// All samples of a family added up; `None` if it has none.
fn sum(page: &str, family: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(family)?;
        let value = if rest.starts_with('{') { rest.rsplit_once("} ")?.1 } else { rest.strip_prefix(' ')? };
        value.parse::<u64>().ok()
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

#[test]
fn samples_add_up() {
    let page = "HTTP/1.1 200 OK\r\n\r\n# TYPE a gauge\na{r=\"0\",s=\"x y\"} 3\na{r=\"1\"} 4\na_total 9\nb 5\n";
    assert_eq!(sum(page, "a"), Some(7));
    assert_eq!(sum(page, "b"), Some(5));
    assert_eq!(sum(page, "c"), None);
}
