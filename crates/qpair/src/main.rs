//! The qpair program: one file or folder a command.
#![forbid(unsafe_code)]

mod bench;
mod cache;
mod cli;
mod config;
mod data;
mod doctor;
mod driver;
mod generated;
mod info;
mod list;
mod raw;
mod reload;
mod running;
mod serve;
mod shares;
mod show;
mod signals;
mod stop;
mod zones;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::start_log(&cli);
    let result = match cli.command {
        cli::Command::Serve(args) => serve::run(&args),
        cli::Command::Cache(args) => cache::run(&args),
        cli::Command::Reload(args) => reload::run(&args),
        cli::Command::Stop(args) => stop::run(&args),
        cli::Command::Config(args) => config::run(&args),
        cli::Command::Bench(args) => bench::run(*args),
        cli::Command::Id(args) => show::id::run(&args),
        cli::Command::Log(args) => show::log::run(&args),
        cli::Command::Feature(args) => show::feature::run(&args),
        cli::Command::Doctor(args) => doctor::run(&args),
        cli::Command::Completions(args) => generated::completions(&args),
        cli::Command::Man(args) => generated::manual(&args),
        cli::Command::List(args) => list::run(&args, cli.verbose > 0),
        cli::Command::Info(args) => info::run(&args),
        cli::Command::Raw(args) => raw::run(&args),
        cli::Command::Reset(args) => driver::reset(&args),
        cli::Command::Rescan(args) => driver::rescan(&args),
        cli::Command::Read(args) => Ok(data::read::run(&args)),
        cli::Command::Write(args) => Ok(data::write::run(&args)),
        cli::Command::Copy(args) => Ok(data::copy::run(&args)),
        cli::Command::Zones(args) => zones::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("qpair: {error}");
            ExitCode::FAILURE
        }
    }
}
