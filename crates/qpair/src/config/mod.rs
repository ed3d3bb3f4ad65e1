//! `qpair config`: checks a configuration file, or writes one for the flags of `qpair serve` or `qpair cache`.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use block::size::format_size;
use control::config::{Config, LoadError, Mistake};
use serde::Serialize;

use crate::{cache, serve};

/// Version of the JSON objects. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

const EXAMPLES: &str = "\
Examples:
  qpair config check /etc/qpair.toml
  qpair config show --nqn nqn.2026-01.org.example:a --size 1GiB disk.img > qpair.toml
  qpair config show cache --memory 4GiB --pool /var/lib/cache.pool >> qpair.toml";

/// Check configuration files, or make one
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// Find the mistakes in a configuration file: exit code 0 if there are none, 1 if there are
    ///
    /// Nothing is opened: whether the devices can be served here shows when they are.
    Check {
        /// The configuration file
        file: PathBuf,

        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration file that says what these flags of `qpair serve` say, or what another file says
    Show(Box<Show>),
}

#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Show {
    #[command(subcommand)]
    of: Option<ShowOf>,

    #[command(flatten)]
    flags: serve::Flags,
}

/// Whose flags they are, if not those of `qpair serve`.
#[derive(clap::Subcommand, Clone, Debug)]
enum ShowOf {
    /// Print the file that says what these flags of `qpair cache` say: a table [cache], which other files can have, too
    Cache(cache::Flags),
}

/// Runs the command.
///
/// # Errors
/// Flags that make no configuration; standard output that cannot be written.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Command::Check { file, json } => Ok(check(file, *json)?),
        Command::Show(wanted) => match &wanted.of {
            Some(ShowOf::Cache(flags)) => show(&flags.wanted()?.config),
            None => show(&wanted.flags.wanted()?.config),
        },
    }
}

fn show(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    if config.subsystems.iter().any(|subsystem| subsystem.nqn.is_none()) {
        return Err("in a file a subsystem has a name\n  Give one: --nqn nqn.2026-01.org.example:a".into());
    }
    io::stdout().lock().write_all(config.to_toml().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Checked<'a> {
    schema: u32,
    file: &'a Path,
    ok: bool,
    /// Why the file could not be read at all.
    error: Option<String>,
    mistakes: &'a [Mistake],
}

fn check(file: &Path, json: bool) -> io::Result<ExitCode> {
    let loaded = Config::load(file);
    let mut out = io::stdout().lock();
    if json {
        let (error, mistakes) = match &loaded {
            Ok(_) => (None, &[][..]),
            Err(LoadError::Unreadable { source, .. }) => (Some(source.to_string()), &[][..]),
            Err(LoadError::Mistakes { mistakes, .. }) => (None, &mistakes[..]),
        };
        serde_json::to_writer(&mut out, &Checked { schema: SCHEMA, file, ok: loaded.is_ok(), error, mistakes })?;
        writeln!(out)?;
    } else {
        match &loaded {
            Ok((config, _)) => writeln!(out, "{}: fine: {}", file.display(), summary(config))?,
            Err(error) => writeln!(out, "{error}")?,
        }
    }
    out.flush()?;
    Ok(if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(config: &Config) -> String {
    let mut parts = Vec::new();
    if !config.subsystems.is_empty() {
        parts.push(count(config.subsystems.len(), "subsystem"));
        parts.push(count(config.namespace_count(), "namespace"));
        parts.push(count(config.listeners.len(), "listener"));
    }
    parts.extend(config.cache.as_ref().map(|cache| format!("a cache of {}", format_size(cache.memory))));
    parts.join(", ")
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
