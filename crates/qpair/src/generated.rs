//! `qpair completions` and `qpair man`: what shells and manuals know of the command line, made from its table.
//!
//! ```text
//!   cli::Cli, clap's table ──┬──▶ parser and --help
//!                            ├──▶ qpair completions SHELL
//!                            └──▶ qpair man [COMMAND]     a page of roff
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::show::write;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  qpair completions bash > ~/.local/share/bash-completion/completions/qpair
  qpair completions zsh > \"${fpath[1]}/_qpair\"
  qpair completions fish > ~/.config/fish/completions/qpair.fish
  qpair completions powershell | Out-String | Invoke-Expression       a line of PowerShell's $PROFILE";

/// Print what a shell needs to complete command lines
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const MAN_EXAMPLES: &str = "\
Examples:
  qpair man | man -l -
  qpair man copy | man -l -
  qpair man --dir ~/.local/share/man/man1

Where there is no program `man`, as on Windows, `qpair COMMAND --help` says the same.";

/// Print the manual page of qpair, or of one of its commands
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = MAN_EXAMPLES)]
pub(crate) struct Manual {
    /// The command
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,

    /// Write all pages into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `qpair completions`.
///
/// # Errors
/// Standard output that cannot be written.
pub(crate) fn completions(args: &Completions) -> Result<ExitCode, Box<dyn Error>> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qpair", &mut script);
    write(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `qpair man`.
///
/// # Errors
/// There is no such command, or a page cannot be written.
pub(crate) fn manual(args: &Manual) -> Result<ExitCode, Box<dyn Error>> {
    let mut table = Cli::command();
    table.build();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        for (name, page) in pages(&table)? {
            let path = dir.join(format!("{name}.1"));
            fs::write(&path, page).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = args.command.as_ref().map_or_else(|| "qpair".to_owned(), |name| format!("qpair-{name}"));
    let Some((_, page)) = pages(&table)?.into_iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<_> = table.get_subcommands().map(Command::get_name).collect();
        return Err(format!("there is no command for the page {wanted}\n  There are {}.", names.join(", ")).into());
    };
    write(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// All pages by their names: the program's, those of its commands, and of their commands.
fn pages(table: &Command) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    let mut todo = vec![(table.get_name().to_owned(), table)];
    while let Some((name, command)) = todo.pop() {
        let own = command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set());
        todo.extend(own.map(|inner| (format!("{name}-{}", inner.get_name()), inner)));
        let mut page = Vec::new();
        Man::new(command.clone().display_name(&name)).title(&name).render(&mut page)?;
        pages.push((name, page));
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options_and_examples() {
        let mut table = Cli::command();
        table.build();
        let pages = pages(&table).expect("memory takes them");
        for command in table.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = format!("qpair-{}", command.get_name());
            let (_, page) = pages.iter().find(|(page, _)| *page == name).unwrap_or_else(|| panic!("{name}"));
            let page = String::from_utf8_lossy(page);
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
            for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(page.contains(&option.replace('-', "\\-")), "{name} --{option}");
            }
        }
        let copy = pages.iter().find(|(name, _)| name == "qpair-copy").expect("it is a command");
        assert!(String::from_utf8_lossy(&copy.1).contains("Examples:"));
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "qpair", &mut script);
            let script = String::from_utf8(script).expect("text");
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
