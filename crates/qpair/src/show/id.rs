//! `qpair id`: the structures of Identify.

use std::error::Error;
use std::process::ExitCode;

use clap::ValueEnum;
use describe::{Object, Short, controller, namespace};
use wire::nvme::IdentifyNamespace;
use wire::nvme::identify::{cns, csi};
use zerocopy::FromBytes;

use super::ask::Asked;
use super::problem::{Problem, help};
use super::{Answer, Common};

const HELP: &str = help!(
    "\
Examples:
  qpair id ctrl 'nvme-tcp://127.0.0.1:4420/NQN?ns=1'
  qpair id ns 'nvme-tcp://127.0.0.1:4420/NQN?ns=1' -o json | jq .nsze
  qpair id ns 'nvme-tcp://127.0.0.1:4420/NQN' --nsid 7

Keys and values of JSON and YAML are those of `nvme id-ctrl -o json` and its like, and some more."
);

/// Show what an NVMe device says of itself: its controller, its namespaces
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// The structure
    #[arg(value_enum)]
    what: What,

    #[command(flatten)]
    common: Common,
}

/// The structures, by the names that they have here; those of nvme-cli are aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Identify Controller
    #[value(alias = "id-ctrl")]
    Ctrl,
    /// Identify Namespace of the NVM command set
    #[value(alias = "id-ns")]
    Ns,
    /// Identify Controller: what the NVM command set adds
    #[value(alias = "nvm-id-ctrl")]
    NvmCtrl,
    /// Identify Namespace: what the NVM command set adds
    #[value(alias = "nvm-id-ns")]
    NvmNs,
    /// Identify Namespace: what holds for every command set
    #[value(alias = "cmdset-ind-id-ns")]
    IndNs,
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    super::run(&args.common, |asked| args.what.ask(asked))
}

impl What {
    fn ask(self, asked: &Asked) -> Result<Answer, Problem> {
        match self {
            Self::Ctrl => {
                page("Identify Controller", controller::controller, |what| asked.identify(what, cns::CONTROLLER, 0, 0))
            }
            Self::Ns => page("Identify Namespace", namespace::namespace, |what| {
                asked.identify(what, cns::NAMESPACE, asked.namespace()?, 0)
            }),
            Self::NvmCtrl => page("Identify Controller (NVM command set)", controller::nvm_controller, |what| {
                asked.identify(what, cns::COMMAND_SET_CONTROLLER, 0, csi::NVM)
            }),
            Self::NvmNs => {
                let formats = formats(asked)?;
                let describe = |bytes: &[u8]| namespace::nvm_namespace(bytes, formats);
                page("Identify Namespace (NVM command set)", describe, |what| {
                    asked.identify(what, cns::COMMAND_SET_NAMESPACE, asked.namespace()?, csi::NVM)
                })
            }
            Self::IndNs => {
                page("Identify Namespace (command set independent)", namespace::independent_namespace, |what| {
                    asked.identify(what, cns::INDEPENDENT_NAMESPACE, asked.namespace()?, 0)
                })
            }
        }
    }
}

/// Asks for a structure called `what`, and describes it.
fn page(
    what: &str,
    describe: impl FnOnce(&[u8]) -> Result<Object, Short>,
    ask: impl FnOnce(&str) -> Result<Vec<u8>, Problem>,
) -> Result<Answer, Problem> {
    let bytes = ask(what)?;
    let object = describe(&bytes).map_err(|short| Problem::short(what, short))?;
    Ok(Answer { bytes, object })
}

/// How many formats of blocks a namespace has.
fn formats(asked: &Asked) -> Result<usize, Problem> {
    const WHAT: &str = "Identify Namespace";
    let bytes = asked.identify(WHAT, cns::NAMESPACE, asked.namespace()?, 0)?;
    let id = IdentifyNamespace::ref_from_bytes(&bytes).expect("an Identify structure is one page");
    Ok(id.formats())
}
