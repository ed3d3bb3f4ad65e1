//! The program in Wine and peers on Linux: each serves the other, and what was acknowledged survives.
//!
//! ```text
//!      Linux                                    Wine
//!      qpair bench, redis-cli, Client ──────▶ qpair.exe serve, cache ── file, pool
//!      qpair serve ◀───────────────────────── qpair.exe bench
//!        kill -9 (TerminateProcess), Ctrl-C ──────▲
//! ```
//!
//! Wine's sockets and files are those of Linux, and its processes take signals; so these are the tests of the program
//! on Linux, with another program at one of the ends.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::host_kill::{PAUSE, campaign, random};
use super::pools::Client;
use super::program;
use super::scratch::Scratch;
use super::system::Program;
use super::target::Target;
use crate::report::Report;

/// Times that a target goes away under load: by turns in order and killed.
const STRIKES: u32 = 4;
/// Times that a cache does.
const CACHE_STRIKES: u32 = 4;
/// Changes that a cache has acknowledged, at least, when it goes away, and how long that may take.
const LEAST_CHANGES: u64 = 300;
const CHANGES_LIMIT: Duration = Duration::from_secs(60);

/// The steps.
pub(crate) fn peers(report: &mut Report, linux: &Program, windows: &Program) {
    report.step("windows peers: a host on Linux, a target in Wine", || program::image(windows, linux));
    report.step("windows peers: a host in Wine, a target on Linux", || program::image(linux, windows));
    report.step("windows peers: a target is stopped and killed under verified load", || {
        campaign(windows, linux, STRIKES, |target, number| strike(target, number, random(PAUSE)))
    });
    report.step("windows peers: a cache is stopped and killed under load, its pool stays", || pool(windows));
    report.step("windows peers: verified clients of both protocols, a cache in Wine", || clients(windows, linux));
    let tool = "windows peers: redis-cli, a cache in Wine";
    if redis_cli(&["--version"], b"").is_err() {
        return report.skip(tool, "redis-cli is not installed");
    }
    report.step(tool, || redis(windows));
}

fn strike(target: &mut Target, number: u32, pause: Duration) -> Result<(), String> {
    if number.is_multiple_of(2) { target.stop_and_restart(pause) } else { target.kill_and_restart(pause) }
}

/// All that a client was told must be there afterwards, however the cache ended.
fn pool(program: &Program) -> Result<(), String> {
    let scratch = Scratch::new("windows-pool")?;
    let file = program.names(&scratch.file("cache.pool"));
    let arguments = ["--memory", "64MiB", "--pool", &file];
    let mut cache = Target::cache(program, &arguments, &scratch.file("cache.log"))?;
    let mut client = Client::new("pool", cache.port());
    for number in 0..CACHE_STRIKES {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let load = thread::spawn(move || {
            let end = client.load(&counted);
            (client, end)
        });
        let begun = Instant::now();
        while count.load(Ordering::Relaxed) < LEAST_CHANGES && !load.is_finished() && begun.elapsed() < CHANGES_LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        let early = load.is_finished();
        strike(&mut cache, number, random(PAUSE))?;
        let end;
        (client, end) = load.join().expect("a client does not panic");
        end?;
        let changes = count.load(Ordering::Relaxed);
        if early || changes < LEAST_CHANGES {
            return Err(format!("the load ended early, after {changes} changes: nothing was proven"));
        }
        let (there, of) = client.check()?;
        println!("after {changes} changes {there} of {of} keys are there, and all are as they should be");
    }
    cache.stop()
}

/// Clients on Linux by memcached's protocol and by Redis', many at once, who check every value.
fn clients(cache: &Program, client: &Program) -> Result<(), String> {
    let scratch = Scratch::new("windows-clients")?;
    for ring in ["iocp", "portable"] {
        let cache = Target::cache(cache, &["--memory", "64MiB", "--ring", ring], &scratch.file("cache.log"))?;
        for (protocol, address) in ["memcache", "resp"].iter().zip(cache.addresses()) {
            let target = format!("{protocol}://{address}");
            let load = ["--prefill", "--keys", "20k", "--pipeline", "8", "--secs", "2", "--verify"];
            let mut bench = client.command();
            if !crate::succeeds(bench.arg("bench").arg(&target).args(load))? {
                return Err(format!("bench {target} --verify on {ring}: see above"));
            }
        }
        cache.stop()?;
    }
    Ok(())
}

/// A client that we did not write: one command at a time, a value that is no text, and many commands at once.
fn redis(program: &Program) -> Result<(), String> {
    let scratch = Scratch::new("windows-redis")?;
    let cache = Target::cache(program, &["--memory", "64MiB"], &scratch.file("cache.log"))?;
    let port = cache.addresses().get(1).map(SocketAddr::port).ok_or("no address for Redis clients")?.to_string();
    let ask = |words: &[&str], input: &[u8]| redis_cli(&[&["-p", &port], words].concat(), input);
    let same = |words: &[&str], input: &[u8], expected: &[u8]| {
        let said = ask(words, input)?;
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(60)].escape_ascii().to_string();
        let right = said == expected;
        if right { Ok(()) } else { Err(format!("{words:?}: '{}', not '{}'", shown(&said), shown(expected))) }
    };
    same(&["SET", "greeting", "hello", "EX", "100"], b"", b"OK\n")?;
    same(&["GET", "greeting"], b"", b"hello\n")?;
    same(&["INCRBY", "number", "41"], b"", b"41\n")?;
    let value: Vec<u8> = (0..1 << 20).map(|at: u32| (at * 31) as u8).collect();
    same(&["-x", "SET", "large"], &value, b"OK\n")?;
    same(&["GET", "large"], b"", &[&value[..], b"\n"].concat())?;
    let many: String = (0..10_000).map(|key| format!("SET key:{key} value:{key}\r\n")).collect();
    let said = ask(&["--pipe"], many.as_bytes())?;
    if !String::from_utf8_lossy(&said).contains("errors: 0, replies: 10000") {
        return Err(format!("--pipe: {}", String::from_utf8_lossy(&said)));
    }
    same(&["GET", "key:9999"], b"", b"value:9999\n")?;
    same(&["DBSIZE"], b"", b"10003\n")?;
    cache.stop()
}

/// What redis-cli prints when it succeeds.
fn redis_cli(words: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("redis-cli");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot run redis-cli: {e}"))?;
    // It may have ended without an interest in it.
    let _ = child.stdin.take().expect("it was asked for").write_all(input);
    let done = child.wait_with_output().map_err(|e| e.to_string())?;
    if done.status.success() { Ok(done.stdout) } else { Err(format!("redis-cli {words:?}: {}", done.status)) }
}
