//! kill -9 of the target, again and again, under verified load of our own host: no error, no miscompare.
//!
//! ```text
//!   slot 1             slot 2                    each slot: a random moment, kill -9, a random pause, the same port
//!   |──────x~~~~│──────|───x~~~~~~~│──────|...
//!   bench --verify runs through all of them, and reads everything back at the end
//! ```
//!
//! The same with two paths: each has a listener of its own and a proxy before it, and what breaks is, at random, the
//! connections of one path or the target itself. While one path is away the load goes on on the other.
//!
//! ```text
//!   bench ──┬── proxy 1 ── listener 1 ──┬── target          cut 1, cut 2, or kill -9
//!           └── proxy 2 ── listener 2 ──┘
//! ```
//!
//! The namespace is a file: what a dead target had written is in the page cache, and the next one finds it. The load is
//! 4 KiB reads and writes on two queues, and what was in flight is sent again (`retry=idempotent`).

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::scratch::Scratch;
use super::system::Program;
use super::target::Target;
use crate::report::Report;

const NQN: &str = "nqn.2026-01.io.qpair:host-kill";
/// Kills in the ordinary command, and in the campaign.
const KILLS: [u32; 2] = [5, 200];
/// From one kill to the next, on average.
const SLOT: Duration = Duration::from_secs(2);
/// A kill comes at most so long after the start of its slot, ...
const MOMENT: Duration = Duration::from_millis(700);
/// ... and the target is started again at most so long after it was killed.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The load goes on for so long after the last slot; slots that took longer come out of it.
const MARGIN: Duration = Duration::from_secs(10);
/// The load must have ended by then, everything read back.
const END_LIMIT: Duration = Duration::from_secs(60);

/// The step.
pub(crate) fn host_kill(report: &mut Report, program: &Program, full: bool) {
    let kills = KILLS[usize::from(full)];
    let kill = |target: &mut Target, _| target.kill_and_restart(random(PAUSE));
    report
        .step(&format!("host-kill: {kills} kills -9 under verified load"), || campaign(program, program, kills, kill));
    report.step(&format!("host-kill: {kills} breaks of two paths"), || two_paths(program, kills));
}

/// A load of `host` on a target that goes away so many times. How it goes and comes back `strike` knows, which gets the
/// number of the time.
pub(super) fn campaign(
    served: &Program,
    host: &Program,
    strikes: u32,
    mut strike: impl FnMut(&mut Target, u32) -> Result<(), String>,
) -> Result<(), String> {
    let scratch = Scratch::new("host-kill")?;
    let image = served.names(&scratch.file("disk.img"));
    let mut target = Target::start(served, &["--size", "64MiB", &image, "--nqn", NQN], &scratch.file("qpair.log"))?;
    let said = scratch.file("bench.log");
    let mut load = Load::start(host, &target.addresses()[0].to_string(), SLOT * strikes + MARGIN, &said)?;
    let begun = Instant::now();
    let mut away = Vec::new();
    for number in 0..strikes {
        thread::sleep((begun + SLOT * number).saturating_duration_since(Instant::now()) + random(MOMENT));
        // The host has a target again; else a kill would be part of the last one's gap.
        load.await_gaps(number as usize)?;
        let struck = Instant::now();
        strike(&mut target, number)?;
        away.push(struck.elapsed());
    }
    load.await_gaps(strikes as usize)?;
    let gaps = load.gaps();
    let waited = load.end()?;
    let later = gaps.iter().zip(&away).map(|(gap, away)| gap.saturating_sub(*away)).collect();
    println!("away:      {}", percentiles(away));
    println!("connected: {} after the connection broke", percentiles(gaps));
    println!("           {} after the target listened again", percentiles(later));
    println!("{waited}");
    target.stop()
}

fn two_paths(program: &Program, breaks: u32) -> Result<(), String> {
    let scratch = Scratch::new("host-kill-paths")?;
    let image = program.names(&scratch.file("disk.img"));
    let arguments = ["--size", "64MiB", &image, "--nqn", NQN];
    let mut target = Target::start_on(program, &arguments, &scratch.file("qpair.log"), 2)?;
    let proxies = target.addresses().iter().map(|&address| Proxy::start(address)).collect::<Result<Vec<_>, _>>();
    let proxies = proxies.map_err(|e| format!("no proxy: {e}"))?;
    let paths: Vec<String> = proxies.iter().map(|proxy| proxy.addr.to_string()).collect();
    let said = scratch.file("bench.log");
    let mut load = Load::start(program, &paths.join(","), SLOT * breaks + MARGIN, &said)?;
    let begun = Instant::now();
    let (mut kills, mut expected) = (0, 0);
    for number in 0..breaks {
        thread::sleep((begun + SLOT * number).saturating_duration_since(Instant::now()) + random(MOMENT));
        // Both paths are there again.
        load.await_gaps(expected)?;
        match one_of(proxies.len() + 1) {
            0 => {
                target.kill_and_restart(random(PAUSE))?;
                (kills, expected) = (kills + 1, expected + 2);
            }
            path => {
                proxies[path - 1].cut();
                expected += 1;
            }
        }
    }
    load.await_gaps(expected)?;
    let gaps = load.gaps();
    let waited = load.end()?;
    println!("{kills} kills, {} times one path was cut", breaks - kills);
    println!("a path was away: {}", percentiles(gaps));
    println!("{waited}");
    target.stop()
}

/// A running `qpair bench --verify`. Dropping it kills it.
struct Load {
    child: Child,
    said: std::path::PathBuf,
}

impl Load {
    /// On the paths at these addresses, with commas between.
    fn start(program: &Program, paths: &str, time: Duration, said: &Path) -> Result<Self, String> {
        let log = File::create(said).map_err(|e| format!("{}: {e}", said.display()))?;
        let child = program
            .command()
            .args(["bench", &format!("nvme-tcp://{paths}/{NQN}?ns=1&retry=idempotent")])
            .args(["--rw", "randrw", "--bs", "4k", "--qd", "32", "--queues", "2", "--verify"])
            .args(["--secs", &time.as_secs_f64().to_string()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| program.does_not_run(&e))?;
        Ok(Self { child, said: said.to_owned() })
    }

    /// How long the host was without its target, each time so far.
    fn gaps(&self) -> Vec<Duration> {
        gaps(&std::fs::read_to_string(&self.said).unwrap_or_default())
    }

    /// Waits until the host has come back from so many gaps.
    fn await_gaps(&mut self, count: usize) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(self.with_log(&format!("the load ended before kill {}: {status}", count + 1)));
            }
            if self.gaps().len() >= count {
                return Ok(());
            }
            if begun.elapsed() > END_LIMIT {
                return Err(self.with_log(&format!("the host does not come back after kill {count}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// It must end by itself, with everything verified. The lines of its report that tell how long requests took, and
    /// what was verified.
    fn end(mut self) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.success() => {
                    let mut report = String::new();
                    let output = self.child.stdout.as_mut().expect("it was asked for");
                    output.read_to_string(&mut report).map_err(|e| format!("the report: {e}"))?;
                    let telling = |line: &&str| ["latency us:", "verify"].iter().any(|word| line.contains(word));
                    return Ok(report.lines().filter(telling).collect::<Vec<_>>().join("\n"));
                }
                Some(status) => return Err(self.with_log(&format!("bench --verify: {status}"))),
                None if begun.elapsed() > MARGIN + END_LIMIT => {
                    return Err(self.with_log("bench --verify does not end"));
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The message, and the last lines that the load said.
    fn with_log(&self, message: &str) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        println!("the load's last lines:\n    {}", lines[lines.len().saturating_sub(20)..].join("\n    "));
        message.to_owned()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long the host was without its target, each time: it says so when it is connected again.
fn gaps(said: &str) -> Vec<Duration> {
    let gap = |line: &str| {
        let (_, rest) = line.split_once("gap_ms=")?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(Duration::from_millis)
    };
    said.lines().filter_map(gap).collect()
}

/// Up to `most`; the standard library has no other source of randomness.
pub(super) fn random(most: Duration) -> Duration {
    let bits = RandomState::new().build_hasher().finish() & 0xffff;
    most * bits as u32 / 0x1_0000
}

/// One of the numbers below `count`.
fn one_of(count: usize) -> usize {
    random(Duration::from_nanos(count as u64)).as_nanos() as usize
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return "never".to_owned() };
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1).min(last)].as_millis();
    format!("{} times, p50 {} ms, p90 {} ms, p99 {} ms, max {} ms", times.len(), at(50), at(90), at(99), at(100))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn finds_the_gaps() {
        let said = "WARN the association broke: x target=\"nvme-tcp://h\"\n\
                    WARN connected again target=\"nvme-tcp://h\" gap_ms=531 attempts=4\n\
                    WARN connected again target=\"nvme-tcp://h\" gap_ms=7\n";
        assert_eq!(gaps(said), [531, 7].map(Duration::from_millis));
    }

    #[test]
    fn percentiles_of_few_and_none() {
        let times = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentiles(times), "200 times, p50 100 ms, p90 180 ms, p99 198 ms, max 200 ms");
        assert_eq!(percentiles(vec![]), "never");
        assert!(random(PAUSE) < PAUSE);
        let seen: HashSet<usize> = std::iter::repeat_with(|| one_of(3)).take(1000).collect();
        assert_eq!(seen, HashSet::from([0, 1, 2]));
    }
}
