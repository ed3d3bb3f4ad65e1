//! Load that verifies every block, and a fault every now and then, for a long time. At the end everything is there
//! again: memory, files, free slots and buffers.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::{Host, Peer, places};
use crate::proxy::Proxy;
use crate::served::Served;
use crate::{eventually, full};

/// What the memory of the process may grow by after the first half. Slots and buffers are touched when they are first
/// needed, of which a long first half has had the worst; a short one has not, and only finds great leaks.
const GROWTH_BYTES: u64 = 8 << 20;
const GROWTH_BYTES_SHORT: u64 = 48 << 20;
/// Connections that count the free places: enough for both reactors to be asked.
const COUNTING: u16 = 4;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// All connections of the load are cut, with requests in flight.
    Cut,
    /// Bytes that are no PDU.
    Garbage,
    /// Connections that are closed before or in their handshake.
    HalfOpen,
    /// A host whose connections are reset while its reads are on their way.
    Vanishes,
    /// A host that asks for much and takes nothing, for a while.
    Stalls,
    /// A controller that is reset with commands under way.
    Reset,
}

const FAULTS: [Fault; 6] = [Fault::Cut, Fault::Garbage, Fault::HalfOpen, Fault::Vanishes, Fault::Stalls, Fault::Reset];

impl Fault {
    fn happens(self, served: &Served, proxy: &Proxy, seed: u64, stall: Duration) -> io::Result<()> {
        match self {
            Self::Cut => proxy.cut(),
            Self::Garbage => {
                for at in 0..32 {
                    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at) | 1;
                    let bytes = std::iter::repeat_with(|| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state as u8
                    });
                    let bytes: Vec<u8> = bytes.take(300).collect();
                    // The target may close in the middle of it.
                    let _ = Peer::new(served.addr)?.stream.write_all(&bytes);
                }
            }
            Self::HalfOpen => {
                let hello = crate::pdu::ic_req(wire::tcp::digest::Digests::default(), 0);
                for bytes in (0..hello.len()).step_by(8) {
                    let _ = Peer::new(served.addr)?.stream.write_all(&hello[..bytes]);
                }
            }
            Self::Vanishes => Host::connect(served.addr, 4)?.read_much(1)?,
            Self::Stalls => {
                let mut host = Host::connect(served.addr, 4)?;
                host.read_much(1)?;
                host.queues[0].stream.flush()?;
                thread::sleep(stall);
            }
            Self::Reset => {
                let mut host = Host::connect(served.addr, 4)?;
                host.read_much(1)?;
                host.reset()?;
            }
        }
        Ok(())
    }
}

#[test]
fn soak() {
    let (time, pause) = if full() { (30 * 60, 10_000) } else { (6, 400) };
    let (time, pause) = (Duration::from_secs(time), Duration::from_millis(pause));
    let folder = tempfile::tempdir().expect("a folder");
    let image = format!("{}/disk.img,size=64MiB", folder.path().display());
    let served = Served::start(&["ram:64MiB", &image], 2);
    let proxy = Proxy::start(served.addr).expect("a port");
    // A first round of everything touches all tables.
    let loads = [1, 2].map(|nsid| Served::load(proxy.addr, nsid, pause * FAULTS.len() as u32));
    for (number, fault) in (0..).zip(FAULTS) {
        fault.happens(&served, &proxy, number, pause / 2).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
    for load in loads {
        load.succeeds();
    }
    let free = || [1, 2].map(|nsid| places(served.addr, nsid, COUNTING).expect("the target has room"));
    let places_before = free();
    let before = settled(&served);

    let mut loads = [1, 2].map(|nsid| Served::load(proxy.addr, nsid, time));
    let begun = Instant::now();
    let (mut faults, mut half) = (0, before.rss_bytes);
    while !loads.iter_mut().any(|load| load.has_ended()) {
        let fault = FAULTS[faults % FAULTS.len()];
        fault.happens(&served, &proxy, faults as u64, pause / 2).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        faults += 1;
        if begun.elapsed() < time / 2 {
            half = half.max(served.usage().rss_bytes);
        }
        let next = pause * faults as u32;
        thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let loads = loads.map(|load| load.succeeds());
    assert_eq!(free(), places_before, "free slots and buffers");
    let after = settled(&served);
    println!(
        "soak: {faults} faults in {:.0?}; memory {} KiB, in the first half {}, at the end {}; files {}, then {}; \
         places {places_before:?}; {:.0} and {:.0} IOPS",
        begun.elapsed(),
        before.rss_bytes >> 10,
        half >> 10,
        after.rss_bytes >> 10,
        before.files,
        after.files,
        loads[0].iops,
        loads[1].iops
    );
    assert_eq!(after.files, before.files, "open files");
    let growth = if full() { GROWTH_BYTES } else { GROWTH_BYTES_SHORT };
    assert!(after.rss_bytes <= half + growth, "{} bytes", after.rss_bytes);
}

/// What the target uses once everybody has gone.
fn settled(served: &Served) -> crate::served::Use {
    let mut last = served.usage();
    let mut same = 0;
    eventually("the files to stay as they are", || {
        let now = served.usage();
        same = if now.files == last.files { same + 1 } else { 0 };
        last = now;
        same > 50
    });
    last
}
