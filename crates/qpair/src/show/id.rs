//! `qpair id`: the structures of Identify.

use std::error::Error;
use std::process::ExitCode;

use clap::ValueEnum;
use describe::{Object, Short, controller, lists, namespace, resources, zns};
use wire::nvme::IdentifyNamespace;
use wire::nvme::identify::{cns, csi};
use zerocopy::FromBytes;

use super::ask::Asked;
use super::problem::{Problem, help};
use super::{Answer, Common};

const HELP: &str = help!(
    "\
Examples:
  qpair id ctrl \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\"
  qpair id ns \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" -o json | jq .nsze
  qpair id list /dev/nvme0
  qpair id ns /dev/nvme0 --nsid 7
  qpair id ctrl \\\\.\\PhysicalDrive1                   a drive of Windows, as an administrator

Keys and values of JSON and YAML are those of `nvme id-ctrl -o json` and its like, and some more."
);

/// Show what an NVMe device says of itself: its controller, its namespaces
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// The structure
    #[arg(value_enum)]
    what: What,

    /// Ask about allocated namespaces, attached or not
    #[arg(long)]
    all: bool,

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
    /// The active namespaces (with --all the allocated ones), above --nsid
    #[value(alias = "list-ns")]
    List,
    /// Who the namespace is: EUI64, NGUID, UUID, command set
    #[value(alias = "ns-descs")]
    Descriptors,
    /// The I/O command sets that can be enabled together
    #[value(alias = "id-iocs")]
    Csi,
    /// The controllers of the subsystem, or with --nsid those that the namespace is attached to
    #[value(alias = "list-ctrl")]
    Controllers,
    /// The NVM sets
    #[value(alias = "id-nvmset")]
    NvmSets,
    /// The queues and interrupts that a primary controller can give away
    #[value(alias = "primary-ctrl-caps")]
    Primary,
    /// The secondary controllers, and what was given to them
    #[value(alias = "list-secondary")]
    Secondary,
    /// The UUIDs that commands mean by their index
    #[value(alias = "id-uuid")]
    Uuids,
    /// The domains of the subsystem
    #[value(alias = "id-domain")]
    Domains,
    /// The endurance groups
    #[value(alias = "list-endgrp")]
    EnduranceGroups,
    /// Identify Controller: what the NVM command set adds
    #[value(alias = "nvm-id-ctrl")]
    NvmCtrl,
    /// Identify Namespace: what the NVM command set adds
    #[value(alias = "nvm-id-ns")]
    NvmNs,
    /// Identify Namespace: what holds for every command set
    #[value(alias = "cmdset-ind-id-ns")]
    IndNs,
    /// Identify Controller: what the zoned namespace command set adds
    ZnsCtrl,
    /// Identify Namespace: what the zoned namespace command set adds
    ZnsNs,
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    super::run(&args.common, false, |asked| args.what.ask(asked, args.common.nsid, args.all))
}

/// A question: what it is called, CNS, the namespace, CSI.
type Question = (&'static str, u8, u32, u8);

impl What {
    /// Asks. `nsid` is what the command line says; without it a namespace is the device's own.
    fn ask(self, asked: &Asked, nsid: Option<u32>, all: bool) -> Result<Answer, Problem> {
        if all && !matches!(self, Self::Ns | Self::List) {
            return Err(Problem::Usage("--all goes with `ns` and `list`".to_owned()));
        }
        let question = self.question(asked, nsid, all)?;
        match self {
            Self::Ctrl => page(asked, question, controller::controller),
            Self::Ns => page(asked, question, namespace::namespace),
            Self::List => page(asked, question, lists::namespaces),
            Self::Descriptors => page(asked, question, lists::descriptors),
            Self::Csi => page(asked, question, lists::command_sets),
            Self::Controllers => page(asked, question, lists::controllers),
            Self::NvmSets => page(asked, question, resources::nvm_sets),
            Self::Primary => page(asked, question, resources::primary),
            Self::Secondary => page(asked, question, resources::secondary),
            Self::Uuids => page(asked, question, lists::uuids),
            Self::Domains => page(asked, question, resources::domains),
            Self::EnduranceGroups => page(asked, question, resources::endurance_groups),
            Self::NvmCtrl => page(asked, question, controller::nvm_controller),
            Self::IndNs => page(asked, question, namespace::independent_namespace),
            Self::ZnsCtrl => page(asked, question, zns::controller),
            Self::NvmNs => {
                let formats = formats(asked)?;
                page(asked, question, |bytes| namespace::nvm_namespace(bytes, formats))
            }
            Self::ZnsNs => {
                let formats = formats(asked)?;
                page(asked, question, |bytes| zns::namespace(bytes, formats))
            }
        }
    }

    fn question(self, asked: &Asked, nsid: Option<u32>, all: bool) -> Result<Question, Problem> {
        Ok(match self {
            Self::Ctrl => ("Identify Controller", cns::CONTROLLER, 0, 0),
            Self::Ns if all => {
                ("Identify Namespace (allocated)", cns::ALLOCATED_NAMESPACE, asked.namespace()?, csi::NVM)
            }
            Self::Ns => ("Identify Namespace", cns::NAMESPACE, asked.namespace()?, 0),
            Self::List if all => ("Identify Allocated Namespaces", cns::ALLOCATED_NAMESPACES, nsid.unwrap_or(0), 0),
            Self::List => ("Identify Active Namespaces", cns::ACTIVE_NAMESPACES, nsid.unwrap_or(0), 0),
            Self::Descriptors => {
                ("Identify Namespace (descriptors)", cns::NAMESPACE_DESCRIPTORS, asked.namespace()?, 0)
            }
            Self::Csi => ("Identify I/O Command Sets", cns::COMMAND_SETS, 0, 0),
            Self::Controllers => match nsid {
                Some(nsid) => ("Identify Attached Controllers", cns::NAMESPACE_CONTROLLERS, nsid, 0),
                None => ("Identify Controllers", cns::CONTROLLERS, 0, 0),
            },
            Self::NvmSets => ("Identify NVM Sets", cns::NVM_SETS, 0, 0),
            Self::Primary => ("Identify Primary Controller Capabilities", cns::PRIMARY_CAPABILITIES, 0, 0),
            Self::Secondary => ("Identify Secondary Controllers", cns::SECONDARY_CONTROLLERS, 0, 0),
            Self::Uuids => ("Identify UUIDs", cns::UUIDS, 0, 0),
            Self::Domains => ("Identify Domains", cns::DOMAINS, 0, 0),
            Self::EnduranceGroups => ("Identify Endurance Groups", cns::ENDURANCE_GROUPS, 0, 0),
            Self::NvmCtrl => ("Identify Controller (NVM command set)", cns::COMMAND_SET_CONTROLLER, 0, csi::NVM),
            Self::NvmNs => {
                ("Identify Namespace (NVM command set)", cns::COMMAND_SET_NAMESPACE, asked.namespace()?, csi::NVM)
            }
            Self::IndNs => ("Identify Namespace (independent)", cns::INDEPENDENT_NAMESPACE, asked.namespace()?, 0),
            Self::ZnsCtrl => ("Identify Controller (zoned)", cns::COMMAND_SET_CONTROLLER, 0, csi::ZNS),
            Self::ZnsNs => ("Identify Namespace (zoned)", cns::COMMAND_SET_NAMESPACE, asked.namespace()?, csi::ZNS),
        })
    }
}

/// Asks a question, and describes the answer.
fn page(
    asked: &Asked,
    (what, cns, nsid, csi): Question,
    describe: impl FnOnce(&[u8]) -> Result<Object, Short>,
) -> Result<Answer, Problem> {
    let bytes = asked.identify(what, cns, nsid, csi)?;
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
