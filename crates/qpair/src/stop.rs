//! `qpair stop`: has a running server end in order, and tells how that went.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use control::status::{self, Ended};
use serde::Serialize;

use crate::running::{self, Ask, Server};

/// Version of the JSON object. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

const EXAMPLES: &str = "\
What is in flight is finished, what was answered is flushed, and pools are marked as closed; then the process ends. On
Linux, SIGTERM does the same without waiting, on Windows closing the console does. A supervisor (--supervise) ends with
what it supervises. Exit code 0: it has stopped in order; 1: it has not, or something went wrong.

Examples:
  qpair stop
  qpair stop 4711
  qpair stop --config /etc/qpair.toml --timeout 300";

/// Have a running server or cache stop, and wait until it has
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The server with this process number, or its supervisor's [default: the only one that this user runs]
    pid: Option<u32>,

    #[command(flatten)]
    ask: Ask,
}

#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    pid: u32,
    ended: &'static str,
    error: Option<&'a str>,
}

/// Runs the command: exit code 0 if the server has stopped in order.
///
/// # Errors
/// There is no such server, or it has not ended in time.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let none = "this user runs none that fits\n  `qpair stop` finds those of `qpair serve` and `qpair cache`.";
    let server = running::one(running::all()?, args.pid, args.ask.config.as_deref(), "", none)?;
    let ended = status::stop(server.stopped_by(), &server.status, args.ask.timeout())?;
    tell(&server, &ended, args.ask.json)?;
    Ok(if ended == Ended::Stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(server: &Server, ended: &Ended, json: bool) -> io::Result<()> {
    let (pid, what) = (server.stopped_by().pid, server.what());
    let mut out = io::stdout().lock();
    if json {
        let (ended, error) = match ended {
            Ended::Stopped => ("stopped", None),
            Ended::Failed(why) => ("failed", Some(&why[..])),
            Ended::Crashed => ("crashed", None),
        };
        serde_json::to_writer(&mut out, &Told { schema: SCHEMA, pid, ended, error })?;
        writeln!(out)?;
        return out.flush();
    }
    match ended {
        Ended::Stopped => writeln!(out, "stopped {pid}: {what}")?,
        Ended::Failed(why) => writeln!(out, "stopped {pid}: {what}; this went wrong:\n{why}")?,
        Ended::Crashed => writeln!(out, "{pid} ended before it had stopped in order, by a crash or a kill: {what}")?,
    }
    out.flush()
}
