//! `qpair info`: everything that the library knows of a device, of any kind.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use block::nvme::kernel::is_drive;
use block::size::format_size;
use block::spec::Spec;
use block::{Device, OpenOptions};
use describe::Object;

use crate::data::trouble::{Trouble, conclude, help};
use crate::list::{Way, ways};
use crate::show::{Format, printed, write};

const EXAMPLES: &str = help!(
    "\
Examples:
  qpair info disk.img
  qpair info /dev/nvme0n1
  qpair info \\\\.\\PhysicalDrive1               a drive of Windows
  qpair info \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" -o json | jq .size_bytes"
);

/// Show what is known of a device: its size, its limits, what it can do, which paths lead to it
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A path, nvme-tcp://HOST:PORT/NQN?ns=N, ram:SIZE or another name of a device
    #[arg(value_name = "DEVICE")]
    device: String,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let device = match block::open(&args.device, &options) {
        Ok(device) => device,
        Err(error) => return Ok(conclude(Err(Trouble::Open(error)))),
    };
    let page = page(&args.device, &*device);
    device.close()?;
    write(printed(args.output, &page).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn page(name: &str, device: &dyn Device) -> Object {
    let info = device.info();
    let block = u64::from(info.block_bytes);
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    let size = bytes(device.blocks());
    let mut page = Object::page();
    page.text("name", &info.name);
    page.text("kind", info.kind);
    page.number("size_bytes", size).means(format_size(size));
    page.number("used_bytes", bytes(device.used_blocks())).means(format_size(bytes(device.used_blocks())));
    page.number("blocks", device.blocks());
    page.number("block_bytes", info.block_bytes);
    page.number("max_transfer_bytes", info.max_transfer_bytes).means(format_size(info.max_transfer_bytes.into()));
    page.number("preferred_blocks", info.preferred_blocks).means("granule of writes and deallocation");
    page.number("atomic_blocks", info.atomic_blocks).means("written as a whole or not at all");
    page.text("uuid", &info.identity.uuid.to_string());
    page.text("nguid", &info.identity.nguid.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    // A device that is written to may have a cache and may clear blocks; this one is only looked at.
    page.text("opened", "read-only: features are those of a reader");
    page.object("features", features(device));
    match device.nvme() {
        None if is_drive(Path::new(name)) => {
            page.flag("nvme", false).means("data goes by it as a file; `qpair id` and `qpair log` ask an NVMe drive")
        }
        None => page.flag("nvme", false).means("it takes no native NVMe commands on this path"),
        Some(_) => page.flag("nvme", true).means("it takes native NVMe commands: `qpair id`, `qpair raw`"),
    };
    if let Some(nsid) = device.nvme().and_then(block::Nvme::nsid) {
        page.number("nsid", nsid);
    }
    if let Some((block, generic)) = name.parse::<Spec>().ok().and_then(|spec| nodes(&spec)) {
        let found = ways(Path::new(""), block.as_deref(), generic.as_deref());
        page.list("access_paths", found.iter().map(Way::object));
    }
    page
}

fn features(device: &dyn Device) -> Object {
    let features = device.info().features;
    let mut object = Object::new();
    object.flag("volatile_cache", features.volatile_cache).means("completed writes want a flush");
    object.flag("thin", features.thin).means("blocks take space once they are written");
    object.flag("zeros_after_deallocate", features.zeros_after_deallocate);
    object.flag("compare", features.compare);
    object.flag("verify", features.verify);
    object.flag("write_uncorrectable", features.write_uncorrectable);
    object.flag("copy", features.copy.is_some());
    if let Some(copy) = features.copy {
        object.number("copy_sources", copy.sources);
        object.number("copy_source_blocks", copy.source_blocks);
        object.number("copy_blocks", copy.blocks);
    }
    object.flag("lends", features.lends).means("its memory can be read in place");
    object
}

/// The nodes that paths would go to: of a block device or a file, or the character device of a namespace.
fn nodes(spec: &Spec) -> Option<(Option<String>, Option<String>)> {
    let path = spec.target.path()?;
    let text = Some(path.to_str()?.to_owned());
    let name = path.file_name()?.to_str()?;
    let is_generic = path.starts_with("/dev") && (name.starts_with("ng") || !path.is_file() && is_controller(name));
    Some(if is_generic { (None, text) } else { (text, None) })
}

/// Whether it is the name of an NVMe controller and not of a namespace: `nvme0`.
fn is_controller(name: &str) -> bool {
    name.strip_prefix("nvme").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
