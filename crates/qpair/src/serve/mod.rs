//! `qpair serve`: devices as the namespaces of NVMe/TCP subsystems, as flags or a file say.

mod announce;
mod args;
mod reload;
mod supervise;

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use control::live::Live;
use machine::os::{self, Wish};
use machine::reactor::on_panic_abort;
use nvmf::Server;

pub(crate) use self::args::{Args, Flags, parse_reactors};
use self::reload::Follower;
use crate::signals;

/// How often `serve` looks whether a reactor has died.
const WATCH: Duration = Duration::from_millis(500);

/// Open files with which nothing is said: 10,000 connections, and what the rings, devices and reactors have open.
const FILES: u64 = 10_240;

/// Runs the command: returns after SIGINT or SIGTERM, when all is answered and durable. With a configuration file,
/// SIGHUP reads it again.
///
/// # Errors
/// What keeps the target from serving, and what can be done about it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.supervise && !os::is_ward() {
        return supervise::run();
    }
    on_panic_abort();
    if os::is_ward() {
        os::end_with_guard()?;
    }
    let wanted = args.flags.wanted()?;
    if let Some(files) = os::raise_file_limit().filter(|&files| files < FILES) {
        tracing::warn!(
            "this process may have {files} open files, so it serves fewer connections than that; hosts beyond wait. \
             More: ulimit -Hn {FILES}, LimitNOFILE={FILES} in a systemd unit, --ulimit nofile={FILES} for a container"
        );
    }
    let (wake, woken) = mpsc::channel();
    signals::watch(wanted.file.is_some(), move |wish| wake.send(wish).unwrap_or_default())?;
    let source = wanted.source();
    let mut live = match Live::start(wanted.config, source) {
        Ok(live) => live,
        Err(problems) => return Err(args::explain(wanted.file, problems)),
    };
    let mut follower = wanted.file.map(|(path, _)| Follower::new(&path));
    announce::listening(&live, args.json)?;
    if os::is_ward() {
        os::ward_ready()?;
    }
    loop {
        match (woken.recv_timeout(WATCH), &mut follower) {
            (Ok(Wish::Reload), Some(follower)) => follower.reload(&mut live, args.json),
            (Err(mpsc::RecvTimeoutError::Timeout), _) if !live.server().has_failed() => {}
            _ => break,
        }
    }
    finish(live.into_server(), args.json)
}

/// Stops the server and says how it went.
fn finish(server: Server, json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let (target, stats) = (server.target().clone(), server.stats());
    let stopped = server.stop();
    announce::stopped(&target, &stats, json)?;
    match stopped {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(errors) => Err(errors.join("\nqpair: ").into()),
    }
}
