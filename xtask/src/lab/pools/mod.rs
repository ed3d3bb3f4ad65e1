//! What the host does for lab/tests/pools.sh: it is the client of the caches there, and cuts their power.
//!
//! ```text
//!      host                                          guest
//!      a Client each ──── changes, answers ────▶ three caches, each with its pool
//!           │                                      │            │
//!        kill -9 of QEMU                         NVDIMM        disk
//!           │                                      │            │ a new layer each time: QEMU notes where it has
//!        the next boot ◀────────── file ───────────┘            │ put a cluster when the guest flushes, and not before
//!        Client::check ◀────────── qcow2 ───────────────────────┘
//! ```
//!
//! The NVDIMM's file has every store of the guest, flushed or not: that the right lines are written back is for the
//! crash images of `crates/store` to show. What is shown here is that the kernel maps the memory as it is, what the
//! program makes of that, and that another kernel finds it again.

mod client;
mod random;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(super) use self::client::Client;
use self::random::Random;
use super::guest::{Trouble, vmlab};
use super::scenario::Lab;
use super::scratch::Scratch;
use super::shared::Shared;
use super::target::signal;
use crate::succeeds;

/// The caches of the script, and where they listen in the guest.
const CACHES: [(&str, u16); 3] = [("lines", 11211), ("warm", 11212), ("sync", 11213)];
/// Dropped whole after a cut.
const WARM: &str = "warm";

/// Changes that each cache has acknowledged, at least, when it dies: else that would prove little.
const LEAST_CHANGES: u64 = 300;
/// How long that may take. The guest is slow, and the machine may be busy.
const CHANGES_LIMIT: Duration = Duration::from_secs(60);
/// After that it dies at any moment of so many milliseconds.
const MOMENTS_MS: u64 = 700;

/// What QEMU's platform tells of its NVDIMM, and what the cache makes of it.
const DOMAINS: [(Option<&str>, &str); 3] = [
    (Some("mem-ctrl"), "MAP_SYNC and cl"),
    (Some("cpu"), "MAP_SYNC and fences (eADR)"),
    (None, "fdatasync, as the system does not tell"),
];

/// The scenario: short, one cut; in full, many, and another file system.
pub(super) fn pools(lab: &mut Lab) -> Result<(), Trouble> {
    if !lab.full {
        return cuts(lab, "ext4", "128M", 1);
    }
    cuts(lab, "ext4", "128M", 8)?;
    // It makes no smaller file systems.
    cuts(lab, "xfs", "512M", 3)
}

/// So many boots that end with a cut, and one that does not.
fn cuts(lab: &mut Lab, fs: &str, nvdimm: &str, cuts: usize) -> Result<(), Trouble> {
    let scratch = Scratch::new("pools")?;
    let shared = Shared::new(&scratch)?;
    let pidfile = scratch.file("qemu.pid");
    let mut caches = Caches::new()?;
    for boot in 0..=cuts {
        let cut = boot < cuts;
        let disk = layer(&scratch, boot)?;
        let (domain, persists) = DOMAINS[boot % DOMAINS.len()];
        let mut guest = lab.boot_alone("pools", 240);
        guest.shared = Some(&shared);
        guest.cut = cut;
        let options = [
            ("--pmem", format!("{},{nvdimm}", scratch.file("nvdimm").display())),
            ("--disk", disk.display().to_string()),
            ("--pidfile", pidfile.display().to_string()),
            ("--module", fs.to_owned()),
        ];
        guest.machine.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        guest.machine.extend(domain.iter().flat_map(|domain| ["--pmem-domain".to_owned(), (*domain).to_owned()]));
        guest.machine.extend(caches.forwarded());
        guest.variables.extend([
            ("QPAIR", lab.program.path().display().to_string()),
            ("FS", fs.to_owned()),
            ("FOUND", if boot == 0 { "new" } else { "unclosed" }.to_owned()),
            ("PERSISTS", persists.to_owned()),
            ("KILLS", if lab.full { "3" } else { "1" }.to_owned()),
            ("CUT", if cut { "1".to_owned() } else { String::new() }),
        ]);
        guest.run(lab.report, || {
            shared.answer(|what| match what {
                "load" => caches.load(),
                "cut" => caches.load().and_then(|()| kill(&pidfile)),
                _ => caches.check(),
            })
        })?;
        if cut {
            caches.expect_cut()?;
        }
    }
    Ok(())
}

/// A disk that begins as the one of the boot before has ended: nothing of it is where this boot will write.
fn layer(scratch: &Scratch, boot: usize) -> Result<PathBuf, String> {
    let name = |boot: usize| scratch.file(&format!("disk{boot}.qcow2"));
    let mut create = vmlab();
    // A page of the guest each.
    create.args(["exec", "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096"]);
    if boot > 0 {
        create.args(["-F", "qcow2", "-b"]).arg(name(boot - 1));
        create.arg(name(boot));
    } else {
        create.arg(name(boot)).arg("128M");
    }
    if succeeds(&mut create)? { Ok(name(boot)) } else { Err("qemu-img failed, see above".to_owned()) }
}

fn kill(pidfile: &Path) -> Result<(), String> {
    let pid = std::fs::read_to_string(pidfile).map_err(|e| format!("{}: {e}", pidfile.display()))?;
    signal(pid.trim().parse().map_err(|e| format!("{pid}: {e}"))?, "KILL")
}

/// A client that changes things until its cache dies.
type Running = JoinHandle<(Client, Result<(), String>)>;

/// The clients of all caches.
struct Caches {
    ports: Vec<u16>,
    idle: Vec<Client>,
    running: Vec<Running>,
    random: Random,
}

impl Caches {
    fn new() -> Result<Self, String> {
        let free = |_| TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let ports: Result<Vec<u16>, _> = CACHES.iter().map(|cache| free(cache).map(|address| address.port())).collect();
        let ports = ports.map_err(|e| format!("no free port: {e}"))?;
        let idle = CACHES.iter().zip(&ports).map(|((name, _), port)| Client::new(name, *port)).collect();
        Ok(Self { ports, idle, running: Vec::new(), random: Random::new() })
    }

    /// The options of vmlab that lead to them.
    fn forwarded(&self) -> impl Iterator<Item = String> {
        let ways = self.ports.iter().zip(CACHES).map(|(port, (_, inside))| format!("{port}:{inside}"));
        ways.flat_map(|way| ["--forward".to_owned(), way])
    }

    /// Starts the clients, and returns at some moment when all are at it.
    fn load(&mut self) -> Result<(), String> {
        let counts: Vec<Arc<AtomicU64>> = self.idle.iter().map(|_| Arc::default()).collect();
        for (mut client, count) in self.idle.drain(..).zip(&counts) {
            let count = Arc::clone(count);
            self.running.push(thread::spawn(move || {
                let end = client.load(&count);
                (client, end)
            }));
        }
        let begun = Instant::now();
        while counts.iter().any(|count| count.load(Ordering::Relaxed) < LEAST_CHANGES) {
            if self.running.iter().any(JoinHandle::is_finished) {
                self.join()?;
                return Err("a cache is gone already".to_owned());
            }
            if begun.elapsed() > CHANGES_LIMIT {
                return Err(format!("not {LEAST_CHANGES} changes in {CHANGES_LIMIT:?}: {counts:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(self.random.below(MOMENTS_MS)));
        Ok(())
    }

    /// Waits for the clients: their caches are dead.
    fn join(&mut self) -> Result<(), String> {
        for running in self.running.drain(..) {
            let (client, end) = running.join().expect("a client does not panic");
            self.idle.push(client);
            end?;
        }
        Ok(())
    }

    /// Every cache has what it should have.
    fn check(&mut self) -> Result<(), String> {
        self.join()?;
        for client in &mut self.idle {
            let (there, of) = client.check()?;
            println!("    {}: {there} of {of} keys are there, and all are as they should be", client.name);
        }
        Ok(())
    }

    /// The power was cut.
    fn expect_cut(&mut self) -> Result<(), String> {
        self.join()?;
        self.idle.iter_mut().filter(|client| client.name == WARM).for_each(Client::expect_nothing);
        Ok(())
    }
}
