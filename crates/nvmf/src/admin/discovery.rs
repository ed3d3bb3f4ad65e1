//! The discovery log: what this host may use, and where (Base 2.0, Discovery Log Page).
//!
//! An entry for each subsystem that the host is allowed, at each listener that it can reach, and one for each referral.
//! GENCTR counts the changes, so that a host that reads the log in parts notices one in between.

use std::net::SocketAddr;

use wire::nvme::Nqn;
use wire::nvme::discovery::{DiscoveryLogEntry, DiscoveryLogHeader, SUBTYPE_NVM, SUBTYPE_REFERRAL};
use zerocopy::IntoBytes;

use crate::layout::plan::Plan;

/// The port ID of entries that are not at one of our listeners.
const ELSEWHERE: u16 = 0;

/// The log for `host`, which has reached `local`.
pub(crate) fn log(plan: &Plan, host: &str, local: SocketAddr) -> Vec<u8> {
    let mut entries = Vec::new();
    for subsystem in plan.subsystems().iter().filter(|subsystem| subsystem.hosts().allow(host)) {
        let nqn = Nqn::new(subsystem.nqn()).expect("checked with the layout");
        let places = (1..).zip(&plan.listeners);
        let places = places.filter_map(|(port, listening)| Some((port, reachable(listening.bound, local)?)));
        entries.extend(places.map(|(port, address)| DiscoveryLogEntry::tcp(SUBTYPE_NVM, port, &nqn, address)));
    }
    let referred = plan
        .referrals
        .iter()
        .map(|referral| DiscoveryLogEntry::tcp(SUBTYPE_REFERRAL, ELSEWHERE, &Nqn::discovery(), referral.address));
    entries.extend(referred);
    let mut log = DiscoveryLogHeader::new(plan.generation, entries.len() as u64).as_bytes().to_vec();
    log.extend_from_slice(entries.as_bytes());
    log
}

/// The address of a listener for a host that has reached `local`: one on any address is reached at the same one; one on
/// the loopback is not reached from elsewhere.
fn reachable(listener: SocketAddr, local: SocketAddr) -> Option<SocketAddr> {
    let (ip, local) = (listener.ip().to_canonical(), local.ip().to_canonical());
    if ip.is_unspecified() {
        // A listener on :: takes IPv4 as well, one on 0.0.0.0 does not take IPv6.
        return (listener.is_ipv6() || local.is_ipv4()).then_some(SocketAddr::new(local, listener.port()));
    }
    (!ip.is_loopback() || local.is_loopback()).then_some(SocketAddr::new(ip, listener.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_shown_what_they_can_reach() {
        let shown = |listener: &str, local: &str| {
            let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
            reachable(parse(listener), parse(local)).map(|address| address.to_string())
        };
        let yes = |text: &str| Some(text.to_owned());
        assert_eq!(shown("192.0.2.1:4420", "192.0.2.7:4421"), yes("192.0.2.1:4420"));
        assert_eq!(shown("0.0.0.0:4420", "192.0.2.7:4421"), yes("192.0.2.7:4420"));
        assert_eq!(shown("[::]:4420", "[::ffff:192.0.2.7]:4421"), yes("192.0.2.7:4420"));
        assert_eq!(shown("0.0.0.0:4420", "[2001:db8::1]:4421"), None);
        assert_eq!(shown("127.0.0.1:4420", "192.0.2.7:4420"), None);
        assert_eq!(shown("127.0.0.1:4420", "127.0.0.1:4421"), yes("127.0.0.1:4420"));
    }
}
