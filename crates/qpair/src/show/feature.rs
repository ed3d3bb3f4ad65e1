//! `qpair feature`: features, by name or number, read and set.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use block::Transfer;
use block::spec::nearest;
use clap::ValueEnum;
use describe::feature::{self, FEATURES};
use wire::nvme::Sqe;
use wire::nvme::feature::select;

use super::ask::Asked;
use super::number::{number8, number32};
use super::problem::{Problem, help};
use super::{Answer, Common};

/// Most bytes of data of a feature.
const MOST_DATA_BYTES: usize = 4096;

const HELP: &str = help!(
    "\
Examples:
  qpair feature get queues \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\"
  qpair feature get 0x0b --select default \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" -o json
  qpair feature set write-cache --value 0 --save /dev/nvme0
  qpair feature get temperature-threshold \\\\.\\PhysicalDrive1

Names: arbitration, power, lba-ranges, temperature-threshold, error-recovery, write-cache, queues, interrupt-coalescing,
interrupt-vector, write-atomicity, events, power-transitions, host-memory-buffer, timestamp, keep-alive,
thermal-management, non-operational-power, read-recovery, latency-config, latency-window, lba-status, host-behavior,
sanitize, endurance-events, command-sets, software-progress, host-id, reservation-notices, reservation-persistence,
write-protection."
);

/// Show a feature of an NVMe device, or set it
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Show the value of a feature
    #[command(after_long_help = HELP)]
    Get(Get),
    /// Set a feature
    #[command(after_long_help = HELP)]
    Set(Set),
}

#[derive(clap::Args, Clone, Debug)]
struct Get {
    /// The feature: a name, or a number (FID) such as 0x06
    #[arg(value_name = "NAME|ID", value_parser = which)]
    feature: u8,

    /// Which value
    #[arg(long, value_enum, default_value_t)]
    select: Select,

    /// Dword 11 of the command, for features that ask for more: the sensor of a temperature threshold, for example
    #[arg(long, value_name = "N", default_value = "0", value_parser = number32)]
    cdw11: u32,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
struct Set {
    /// The feature: a name, or a number (FID) such as 0x06
    #[arg(value_name = "NAME|ID", value_parser = which)]
    feature: u8,

    /// Dword 11 of the command: the value
    #[arg(long, value_name = "N", value_parser = number32)]
    value: u32,

    /// Keep the value over power cycles and resets
    #[arg(long)]
    save: bool,

    /// Send the bytes of this file along
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

/// Which value of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Select {
    /// The value in use
    #[default]
    Current,
    /// The value of a new controller
    Default,
    /// The value after a power cycle
    Saved,
    /// What can be done with the feature
    Supported,
}

/// Reads the name or the number of a feature.
fn which(text: &str) -> Result<u8, String> {
    if let Some(feature) = feature::by_name(text) {
        return Ok(feature.fid);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return number8(text);
    }
    let names: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
    let like = nearest(text, &names).map(|name| format!("did you mean {name}? ")).unwrap_or_default();
    Err(format!("{like}the features are {}, and numbers", names.join(", ")))
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.verb {
        Verb::Get(args) => super::run(&args.common, false, |asked| get(args, asked)),
        Verb::Set(args) => super::run(&args.common, true, |asked| set(args, asked)),
    }
}

/// The namespace of a command: that of the command line, or the device's own for features that belong to one.
fn namespace(common: &Common, fid: u8, asked: &Asked) -> Result<u32, Problem> {
    let of_namespace = feature::by_fid(fid).is_some_and(|feature| feature.of_namespace);
    match common.nsid {
        Some(nsid) => Ok(nsid),
        None if of_namespace => asked.namespace(),
        None => Ok(0),
    }
}

fn named(verb: &str, fid: u8) -> String {
    feature::by_fid(fid).map_or_else(|| format!("{verb} {fid:02x}h"), |feature| format!("{verb} ({})", feature.title))
}

fn get(args: &Get, asked: &Asked) -> Result<Answer, Problem> {
    let fid = args.feature;
    let what = named("Get Features", fid);
    let select = match args.select {
        Select::Current => select::CURRENT,
        Select::Default => select::DEFAULT,
        Select::Saved => select::SAVED,
        Select::Supported => select::SUPPORTED_CAPABILITIES,
    };
    let known = feature::by_fid(fid).map_or(0, |feature| feature.data_bytes);
    let mut data = vec![0; if args.select == Select::Supported { 0 } else { known }];
    // The extended host identifier, of 128 bits (EXHID).
    let cdw11 = if fid == 0x81 { args.cdw11 | 1 } else { args.cdw11 };
    let mut sqe = Sqe::get_features(fid, namespace(&args.common, fid, asked)?).with_select(select);
    sqe.cdw11 = cdw11.into();
    let transfer = if data.is_empty() { Transfer::None } else { Transfer::In(&mut data) };
    let result = asked.admin(&what, sqe, transfer)? as u32;
    let object = match args.select {
        Select::Supported => feature::capabilities(fid, result),
        _ => feature::value(fid, result, &data),
    };
    let bytes = if data.is_empty() { result.to_le_bytes().to_vec() } else { data };
    Ok(Answer { bytes, object })
}

fn set(args: &Set, asked: &Asked) -> Result<Answer, Problem> {
    let fid = args.feature;
    let data = match &args.data {
        None => Vec::new(),
        Some(path) => fs::read(path).map_err(|error| Problem::Usage(format!("{}: {error}", path.display())))?,
    };
    if data.len() > MOST_DATA_BYTES || !data.len().is_multiple_of(4) {
        let text = "the data of a feature has at most 4096 bytes, a multiple of 4";
        return Err(Problem::Usage(format!("{text}\n  The file has {}.", data.len())));
    }
    let mut sqe = Sqe::set_features(fid, namespace(&args.common, fid, asked)?, args.value);
    if args.save {
        sqe = sqe.with_save();
    }
    let transfer = if data.is_empty() { Transfer::None } else { Transfer::Out(&data) };
    let result = asked.admin(&named("Set Features", fid), sqe, transfer)? as u32;
    // What was granted is in the result for some (Number of Queues); it is zero for the others.
    let object = feature::was_set(fid, args.value, result);
    Ok(Answer { bytes: result.to_le_bytes().to_vec(), object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!((which("queues"), which("0x07"), which("7")), (Ok(7), Ok(7), Ok(7)));
        assert!(which("queus").unwrap_err().starts_with("did you mean queues?"));
        for feature in FEATURES {
            assert!(HELP.contains(feature.name), "{} is in the help", feature.name);
        }
    }
}
