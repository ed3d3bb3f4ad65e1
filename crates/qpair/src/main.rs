//! The qpair program: one file or folder a command.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod config;
mod data;
mod reload;
mod serve;
mod show;
mod signals;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::start_log(cli.verbose);
    let result = match cli.command {
        cli::Command::Serve(args) => serve::run(&args),
        cli::Command::Reload(args) => reload::run(&args),
        cli::Command::Config(args) => config::run(&args),
        cli::Command::Bench(args) => bench::run(*args),
        cli::Command::Id(args) => show::id::run(&args),
        cli::Command::Log(args) => show::log::run(&args),
        cli::Command::Feature(args) => show::feature::run(&args),
        cli::Command::Read(args) => Ok(data::read::run(&args)),
        cli::Command::Write(args) => Ok(data::write::run(&args)),
        cli::Command::Copy(args) => Ok(data::copy::run(&args)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("qpair: {error}");
            ExitCode::FAILURE
        }
    }
}
