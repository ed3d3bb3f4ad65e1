//! `qpair serve`: devices as the namespaces of NVMe/TCP subsystems, as flags or a file say; and the process that serves
//! them, or a cache, or both.

mod announce;
mod args;
mod reload;
mod supervise;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use control::live::Live;
use control::status::Beacon;
use machine::os::{self, Wish};
use machine::reactor::on_panic_abort;

pub(crate) use self::args::{Args, Flags, How, Wanted, parse_reactors, sound};
use self::reload::Follower;
use crate::signals;

/// How often `serve` looks whether a reactor has died.
const WATCH: Duration = Duration::from_millis(500);

/// Open files with which nothing is said: 10,000 connections, and what the rings, devices and reactors have open.
const FILES: u64 = 10_240;

/// Runs the command: returns after SIGINT, SIGTERM or `qpair stop`, when all is answered and durable. With a
/// configuration file, SIGHUP and `qpair reload` read it again.
///
/// # Errors
/// What keeps the target from serving, and what can be done about it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    serve(args.how, || args.flags.wanted())
}

/// Serves what is wanted until somebody has the process stop.
///
/// # Errors
/// What keeps it from being served, or has ended it.
pub(crate) fn serve(
    how: How,
    wanted: impl FnOnce() -> Result<Wanted, Box<dyn Error>>,
) -> Result<ExitCode, Box<dyn Error>> {
    if how.supervise && !os::is_ward() {
        return supervise::run();
    }
    on_panic_abort();
    if os::is_ward() {
        os::end_with_guard()?;
    }
    let wanted = wanted()?;
    if let Some(files) = os::raise_file_limit().filter(|&files| files < FILES) {
        tracing::warn!(
            "this process may have {files} open files, so it serves fewer connections than that; others wait. \
             More: ulimit -Hn {FILES}, LimitNOFILE={FILES} in a systemd unit, --ulimit nofile={FILES} for a container"
        );
    }
    let (wake, woken) = mpsc::channel();
    let door = signals::listen(wanted.file.is_some(), move |wish| wake.send(wish).unwrap_or_default())?;
    let source = wanted.source();
    let mut live = match Live::start(wanted.config, source) {
        Ok(live) => live,
        Err(problems) => return Err(args::explain(wanted.file, problems)),
    };
    let path = wanted.file.map(|(path, _)| path);
    let mut beacon = light(&door, announce::serves(&live), path.as_deref());
    let mut follower = path.map(Follower::new);
    // First, as whoever reads that hosts can connect may count on being served again after a crash.
    if os::is_ward() {
        os::ward_ready()?;
    }
    announce::listening(&live, how.json)?;
    loop {
        match (woken.recv_timeout(WATCH), &mut follower) {
            (Ok(Wish::Reload), Some(follower)) => follower.reload(&mut live, beacon.as_mut(), how.json),
            (Err(mpsc::RecvTimeoutError::Timeout), _) if !live.has_failed() => {}
            _ => break,
        }
    }
    finish(live, how.json).map_err(|why| {
        if let Some(beacon) = beacon {
            beacon.fail(why.clone());
        }
        why.into()
    })
}

/// Has `qpair reload` and `qpair stop` find this process from now on. Without it one serves nevertheless.
fn light(door: &str, serves: Vec<String>, config: Option<&Path>) -> Option<Beacon> {
    let beacon = Beacon::light(door, serves, config);
    beacon
        .inspect_err(|error| tracing::warn!("`qpair stop` and `qpair reload` will not find this process: {error}"))
        .ok()
}

/// Stops everything and says how it went.
fn finish(live: Live, json: bool) -> Result<ExitCode, String> {
    let cache = live.cache().map(cache::Server::stats);
    let target = live.target().map(|server| (server.target().clone(), server.stats()));
    let stopped = live.stop();
    if let Some((target, stats)) = target {
        announce::stopped(&target, &stats, json).map_err(|error| error.to_string())?;
    }
    if let Some(stats) = cache {
        crate::cache::stopped(&stats, json).map_err(|error| error.to_string())?;
    }
    match stopped {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(errors) => Err(errors.join("\nqpair: ")),
    }
}
