//! `qpair reload`: has a running server put its changed configuration file into force, and tells how that went.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use control::status::{self, Outcome, Status};
use serde::Serialize;

/// Version of the JSON object. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

const EXAMPLES: &str = "\
What did not change keeps its I/O running. A mistake anywhere in the file changes nothing. `kill -HUP PID` does the same
without waiting; the server logs the outcome. See also `qpair config check`.

Examples:
  qpair reload
  qpair reload --config /etc/qpair.toml --json";

/// Have a running `qpair serve --config` read its file again
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The server with this process number [default: the only one that this user runs]
    #[arg(long)]
    pid: Option<u32>,

    /// The server that was started with this file
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    config: Option<PathBuf>,

    /// Wait so long for the outcome
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u64,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    pid: u32,
    config: &'a std::path::Path,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Runs the command: exit code 0 if the file is in force, 1 if it is not.
///
/// # Errors
/// There is no such server, or it does not answer.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let server = find(args)?;
    let outcome = status::reload(&server, Duration::from_secs(args.timeout))?;
    tell(&server, &outcome, args.json)?;
    Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server that is meant.
fn find(args: &Args) -> Result<Status, Box<dyn Error>> {
    let mut running = status::running().map_err(|error| format!("cannot tell which servers run: {error}"))?;
    if let Some(pid) = args.pid {
        running.retain(|status| status.pid == pid);
    }
    if let Some(config) = &args.config {
        let path = fs::canonicalize(config).map_err(|error| format!("{}: {error}", config.display()))?;
        running.retain(|status| status.config == path);
    }
    match &running[..] {
        [one] => Ok(one.clone()),
        [] => Err("there is no such server: this user runs none with a configuration file that fits\n  \
                   Start one: qpair serve --config FILE. Only such a server has something to reload."
            .into()),
        several => {
            let list = several.iter().map(|status| format!("\n  --pid {}  {}", status.pid, status.config.display()));
            Err(format!("there are several servers; say which one:{}", list.collect::<String>()).into())
        }
    }
}

fn tell(server: &Status, outcome: &Outcome, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let told = Told { schema: SCHEMA, pid: server.pid, config: &server.config, outcome };
        serde_json::to_writer(&mut out, &told)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Lines(&server.config, outcome))?;
    }
    out.flush()
}

/// An outcome for people.
pub(crate) struct Lines<'a>(pub(crate) &'a std::path::Path, pub(crate) &'a Outcome);

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
