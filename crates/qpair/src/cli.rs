//! The command line: global options and the list of commands.

use clap::{ArgAction, Parser, Subcommand};
use tracing::Level;

use crate::{bench, cache, config, data, doctor, driver, generated, info, list, raw, reload, serve, show, stop, zones};

const EXAMPLES: &str = "\
Examples:
  qpair serve --size 1GiB disk.img           create a disk image and serve it on 127.0.0.1:4420
  qpair serve ram:4GiB /dev/nvme1n1,ro       serve memory and a drive, read-only, as two namespaces
  qpair bench \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" --rw randread --bs 4k --qd 32

`qpair COMMAND --help` explains a command.";

/// Serves files, drives and memory as NVMe/TCP disks, and measures such disks
#[derive(Parser)]
#[command(name = "qpair", version, after_long_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Log more: -v what happens, -vv every connection
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Info(info::Args),
    Serve(Box<serve::Args>),
    Bench(Box<bench::Args>),
    Cache(cache::Args),
    Id(show::id::Args),
    Log(show::log::Args),
    Feature(show::feature::Args),
    Raw(Box<raw::Args>),
    Read(data::read::Args),
    Write(data::write::Args),
    Copy(Box<data::copy::Args>),
    Zones(Box<zones::Args>),
    Reset(driver::Reset),
    Rescan(driver::Rescan),
    Config(config::Args),
    Reload(reload::Args),
    Stop(stop::Args),
    Doctor(doctor::Args),
    Completions(generated::Completions),
    Man(generated::Manual),
}

/// Sends log lines to standard error, from warnings up unless more is wanted. What `list` is warned of when it tries
/// devices stands in its table, which its first `-v` makes longer.
pub(crate) fn start_log(cli: &Cli) {
    let lists = matches!(cli.command, Command::List(_));
    let level = match (cli.verbose, lists) {
        (0 | 1, true) => Level::ERROR,
        (0, false) => Level::WARN,
        (1, false) | (2, true) => Level::INFO,
        _ => Level::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// The long help of all commands, and of theirs, by name.
    fn long_helps(mut command: clap::Command) -> Vec<(String, String)> {
        command.build();
        let mut all = vec![(command.get_name().to_owned(), command.render_long_help().to_string())];
        all.extend(command.get_subcommands().flat_map(|inner| long_helps(inner.clone())));
        all
    }

    #[test]
    fn addresses_are_quoted_as_every_shell_takes_it() {
        for (name, help) in long_helps(Cli::command()) {
            assert!(!help.contains("'nvme-tcp:"), "{name}: cmd of Windows takes ' for a part of the word");
        }
    }

    #[test]
    fn where_a_drive_can_be_named_the_help_has_the_names_of_both_systems() {
        let helps = long_helps(Cli::command());
        for wanted in ["serve", "raw", "id", "log", "feature", "info"] {
            let (_, help) = helps.iter().find(|(name, _)| name == wanted).expect("it is a command");
            assert!(help.contains("/dev/n") && help.contains(r"\\.\PhysicalDrive"), "{wanted}: {help}");
        }
    }

    #[test]
    fn short_help_fits_a_screen() {
        for name in [
            "list", "info", "raw", "serve", "bench", "cache", "id", "log", "feature", "read", "write", "copy", "zones",
            "config", "reload", "stop", "reset", "rescan", "doctor",
        ] {
            let mut cli = Cli::command();
            let command = cli.find_subcommand_mut(name).expect("it is a command");
            let lines = command.render_help().to_string().lines().count();
            assert!(lines <= 50, "qpair {name} -h has {lines} lines");
        }
    }
}
