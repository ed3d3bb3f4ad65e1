//! Who is connected to a reactor: what `stats conns` tells.
//!
//! What a connection does and when it last said something is noted once a tick, so that nobody pays for it meanwhile.

use std::net::SocketAddr;

use store::Time;

use super::stats::Stats;
use crate::limits::{CONNECTIONS_TOLD, MAX_CONNECTIONS};

/// A connection, as it was at the last tick.
#[derive(Debug)]
struct Seen {
    /// Where the client is, and where it came to.
    addresses: [SocketAddr; 2],
    /// When its last command came.
    last: Time,
    state: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Present {
    listeners: Vec<SocketAddr>,
    seen: Vec<Option<Seen>>,
    /// Which reactor it is, and of how many.
    me: usize,
    reactors: usize,
}

impl Present {
    pub(crate) fn new(listeners: Vec<SocketAddr>, me: usize, reactors: usize) -> Self {
        Self { listeners, seen: Vec::new(), me, reactors }
    }

    /// A connection has come to this place.
    pub(crate) fn enter(&mut self, index: u32, addresses: [SocketAddr; 2], now: Time) {
        let index = index as usize;
        if index >= self.seen.len() {
            self.seen.resize_with(index + 1, || None);
        }
        self.seen[index] = Some(Seen { addresses, last: now, state: "conn_new_cmd" });
    }

    /// What the one at this place does, in memcached's words, and when it last said something.
    pub(crate) fn note(&mut self, index: u32, last: Time, state: &'static str) {
        if let Some(Some(seen)) = self.seen.get_mut(index as usize) {
            (seen.last, seen.state) = (last, state);
        }
    }

    /// It is gone.
    pub(crate) fn leave(&mut self, index: u32) {
        self.seen[index as usize] = None;
    }

    /// Tells of the first ones. No two reactors give two of them the same number.
    pub(super) fn tell(&self, now: Time, stats: &mut Stats<'_>) {
        for (number, address) in self.listeners.iter().enumerate() {
            let number = MAX_CONNECTIONS + number;
            stats.stat(&format!("{number}:addr"), format_args!("tcp:{address}"));
            stats.stat(&format!("{number}:state"), "conn_listening");
        }
        let mut seen = self.seen.iter().enumerate().filter_map(|(index, seen)| Some((index, seen.as_ref()?)));
        for (index, Seen { addresses: [from, at], last, state }) in seen.by_ref().take(CONNECTIONS_TOLD / self.reactors)
        {
            let number = index * self.reactors + self.me;
            stats.stat(&format!("{number}:addr"), format_args!("tcp:{from}"));
            stats.stat(&format!("{number}:listen_addr"), format_args!("tcp:{at}"));
            stats.stat(&format!("{number}:state"), state);
            stats.stat(&format!("{number}:secs_since_last_cmd"), now.since(*last).as_secs());
        }
        let more = seen.count();
        if more > 0 {
            stats.stat(&format!("reactor_{}:connections_not_told", self.me), more);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_beyond_the_bound_are_counted() {
        let address = |port: usize| SocketAddr::from(([127, 0, 0, 1], port as u16));
        let now = Time::from_millis(1_700_000_000_000);
        let mut present = Present::new(vec![address(11211)], 1, 4);
        let count = CONNECTIONS_TOLD / 4 + 7;
        (0..count).for_each(|index| present.enter(index as u32, [address(2000 + index), address(11211)], now));
        present.note(3, now.plus(Duration::from_secs(2)), "conn_nread");
        present.leave(0);
        let mut out = Vec::new();
        present.tell(now.plus(Duration::from_secs(9)), &mut Stats(&mut out));
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["STAT 16000:addr tcp:127.0.0.1:11211", "STAT 16000:state conn_listening"]);
        assert_eq!(
            lines[2..6],
            [
                "STAT 5:addr tcp:127.0.0.1:2001",
                "STAT 5:listen_addr tcp:127.0.0.1:11211",
                "STAT 5:state conn_new_cmd",
                "STAT 5:secs_since_last_cmd 9"
            ]
        );
        assert!(text.contains("STAT 13:state conn_nread\r\nSTAT 13:secs_since_last_cmd 7\r\n"), "{text}");
        assert_eq!(lines.last(), Some(&"STAT reactor_1:connections_not_told 6"));
        assert_eq!(lines.len(), 2 + 4 * (CONNECTIONS_TOLD / 4) + 1);
    }
}
