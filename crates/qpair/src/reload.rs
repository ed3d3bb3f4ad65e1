//! `qpair reload`: has a running server put its changed configuration file into force, and tells how that went.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use control::status::{self, Outcome, Status};
use serde::Serialize;

use crate::running::{self, Ask};

/// Version of the JSON object. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

const EXAMPLES: &str = "\
What did not change keeps its I/O running. A mistake anywhere in the file changes nothing. On Linux, `kill -HUP PID`
does the same without waiting; the server logs the outcome. See also `qpair config check`.

Examples:
  qpair reload
  qpair reload --config /etc/qpair.toml --json";

/// Have a running `qpair serve --config` read its file again
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The server with this process number, or its supervisor's [default: the only one that this user runs]
    #[arg(long)]
    pid: Option<u32>,

    #[command(flatten)]
    ask: Ask,
}

#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    pid: u32,
    config: &'a Path,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Runs the command: exit code 0 if the file is in force, 1 if it is not.
///
/// # Errors
/// There is no such server, or it does not answer.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut servers = running::all()?;
    servers.retain(|server| server.status.config.is_some());
    let none = "this user runs none with a configuration file that fits\n  \
                Start one: qpair serve --config FILE. Only such a server has something to reload.";
    let server = running::one(servers, args.pid, args.ask.config.as_deref(), "--pid ", none)?.status;
    let outcome = status::reload(&server, args.ask.timeout())?;
    tell(&server, &outcome, args.ask.json)?;
    Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(server: &Status, outcome: &Outcome, json: bool) -> io::Result<()> {
    let config = server.config.as_deref().unwrap_or(Path::new(""));
    let mut out = io::stdout().lock();
    if json {
        let told = Told { schema: SCHEMA, pid: server.pid, config, outcome };
        serde_json::to_writer(&mut out, &told)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Lines(config, outcome))?;
    }
    out.flush()
}

/// An outcome for people.
pub(crate) struct Lines<'a>(pub(crate) &'a Path, pub(crate) &'a Outcome);

impl std::fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(config, outcome) = self;
        let config = config.display();
        if outcome.ok {
            match outcome.changes.len() {
                0 => writeln!(f, "reloaded {config}: nothing is different")?,
                _ => writeln!(f, "reloaded {config}:")?,
            }
            return outcome.changes.iter().try_for_each(|change| writeln!(f, "  {change}"));
        }
        writeln!(f, "{config} is refused, nothing has changed:")?;
        if let Some(error) = &outcome.error {
            writeln!(f, "{config}: cannot be read: {error}")?;
        }
        outcome.mistakes.iter().try_for_each(|mistake| writeln!(f, "{config}:{mistake}"))
    }
}
