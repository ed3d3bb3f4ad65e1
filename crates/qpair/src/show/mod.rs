//! What an NVMe device says of itself: `qpair id`, `qpair log`, `qpair feature`.
//!
//! ```text
//!   args ──▶ ask: admin commands, by Device::nvme ──▶ bytes ──▶ describe: one tree ──▶ text | JSON | YAML
//!                      │                                └─────▶ --raw: the bytes
//!                      └──▶ Problem: whose error it is, the exit code tells
//! ```

mod ask;
pub(crate) mod feature;
pub(crate) mod id;
pub(crate) mod log;
mod number;
mod problem;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use describe::{Object, to_text, to_yaml};

use ask::Asked;
use problem::Problem;

/// How something is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned text, with units and bits explained
    #[default]
    Text,
    /// One JSON object
    Json,
    /// One YAML document, with the keys and values of the JSON object
    Yaml,
}

/// What all of these commands take.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// /dev/ngXnY, /dev/nvmeX, on Windows \\.\PhysicalDriveN; nvme-tcp://HOST:PORT/NQN?ns=N
    #[arg(value_name = "DEVICE")]
    device: String,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Write the bytes of the device to standard output, and nothing else
    ///
    /// PowerShell before 7.4 makes text of what goes through > and |, which spoils them: cmd does not.
    #[arg(long, conflicts_with = "output")]
    raw: bool,

    /// Ask about this namespace instead of the device's own
    #[arg(short, long, value_name = "N", value_parser = number::number32)]
    nsid: Option<u32>,
}

/// What came back.
struct Answer {
    bytes: Vec<u8>,
    object: Object,
}

/// Opens the device, asks, and prints the answer or why there is none.
/// It may change the device if `changes`.
fn run(
    common: &Common,
    changes: bool,
    question: impl FnOnce(&Asked) -> Result<Answer, Problem>,
) -> Result<ExitCode, Box<dyn Error>> {
    let answer = Asked::open(&common.device, common.nsid, changes).and_then(|asked| {
        let answer = question(&asked);
        // The association ends in good order, whatever the answer was.
        let closed = asked.close();
        let answer = answer?;
        closed.map(|()| answer)
    });
    match answer {
        Ok(answer) => {
            let text = if common.raw { answer.bytes } else { printed(common.output, &answer.object).into_bytes() };
            write(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problem) => {
            eprintln!("qpair: {problem}");
            if common.output != Format::Text {
                write(printed(common.output, &problem.object()).as_bytes())?;
            }
            Ok(problem.exit_code())
        }
    }
}

pub(crate) fn printed(format: Format, object: &Object) -> String {
    match format {
        Format::Text => to_text(object),
        Format::Json => serde_json::to_string_pretty(object).expect("a tree is JSON") + "\n",
        Format::Yaml => to_yaml(object),
    }
}

/// Writes to standard output; a reader that has seen enough is no error.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
