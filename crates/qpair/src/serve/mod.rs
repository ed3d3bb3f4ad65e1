//! `qpair serve`: devices as the namespaces of one NVMe/TCP subsystem.

mod announce;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use block::Device;
use block::size::parse_size;
use block::spec::{Defaults, Spec};
use machine::os;
use machine::reactor::Mode;
use nvmf::limits::{IN_CAPSULE_DEFAULT_BYTES, IN_CAPSULE_MAX_BYTES};
use nvmf::{Config, Hosts, Options, Server, StartError, Target};
use wire::nvme::Nqn;

use crate::stop;

const EXAMPLES: &str = "\
Devices:
  PATH          a file or a block device; with --size, a file that is not there is created (sparse)
  ram:SIZE      memory; what is written is gone when qpair ends
  null:SIZE     reads give zeros, writes vanish: for measuring the way to the disk
  Options follow a comma: ro (read-only), bs=512|4096 (block size), uuid=UUID, size=SIZE. `file:NAME` takes any name.
  The first device is namespace 1, the second namespace 2, and so on.

Hosts:
  On loopback any host may connect. On other addresses qpair wants to know who: --allow-host NQN (a Linux host has its
  NQN in /etc/nvme/hostnqn), or --allow-any-host.

Sleeping:
  A reactor sleeps when there is nothing to do. Before that it spins for 50 us if a core is left for it alone; with
  --dedicated it spins for much longer, which gives the shortest latencies and keeps the core busy under load.

Examples:
  qpair serve --size 1GiB disk.img
  qpair serve disk.img,ro ram:4GiB,bs=4096
  qpair serve /dev/nvme1n1 --listen 192.168.1.10:4420 --allow-host nqn.2014-08.org.nvmexpress:uuid:5f1c0d5e-...
  qpair serve ram:1GiB --dedicated --reactors 2 --cpus 2,3";

/// How long a dedicated reactor spins without work before it sleeps after all.
const DEDICATED_SPIN: Duration = Duration::from_millis(20);
/// How often `serve` looks whether a reactor has died.
const WATCH: Duration = Duration::from_millis(500);
/// Most namespaces of one command line. Each has an owner in every reactor's ring (`machine::limits::MAX_OWNERS`).
const MAX_DEVICES: usize = 256;

const _: () = assert!(MAX_DEVICES < machine::limits::MAX_OWNERS / 2);

/// Serve devices as NVMe/TCP disks
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// PATH, ram:SIZE or null:SIZE, each with options behind commas
    #[arg(required = true, value_name = "DEVICE")]
    devices: Vec<String>,

    /// Create files that are not there with this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Bytes of a logical block, 512 or 4096, for devices that do not say [default: 512, or the drive's own]
    #[arg(long, value_name = "BYTES")]
    block_size: Option<u32>,

    /// Refuse writes to all devices
    #[arg(long)]
    read_only: bool,

    /// Listen here; may be repeated. Port 0 is any free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4420")]
    listen: Vec<SocketAddr>,

    /// The subsystem's name [default: made from the first device's UUID]
    #[arg(long, value_parser = parse_nqn)]
    nqn: Option<Nqn>,

    /// Let the host with this NQN connect, and no other; may be repeated
    #[arg(long, value_name = "NQN", value_parser = parse_nqn)]
    allow_host: Vec<Nqn>,

    /// Let any host connect, also on addresses other than loopback
    #[arg(long, conflicts_with = "allow_host")]
    allow_any_host: bool,

    /// Number of reactors (threads); connections are dealt out to them
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_reactors)]
    reactors: usize,

    /// Pin the reactors to these processors
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Spin before sleeping: the shortest latencies, for cores that nothing else needs
    #[arg(long)]
    dedicated: bool,

    /// Most data of a write that comes with its command
    #[arg(long, value_name = "SIZE", default_value_t = IN_CAPSULE_DEFAULT_BYTES.to_string(), value_parser = in_capsule)]
    in_capsule: String,

    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command: returns after SIGINT or SIGTERM, when all is answered and durable.
///
/// # Errors
/// What keeps the target from serving, and what can be done about it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let hosts = hosts(args)?;
    let options = options(args)?;
    let devices = open(args)?;
    let nqn = match &args.nqn {
        Some(nqn) if nqn.is_discovery() => return Err("--nqn is the name that all discovery services have".into()),
        Some(nqn) => nqn.as_str().to_owned(),
        None => format!("nqn.2014-08.org.nvmexpress:uuid:{}", devices[0].info().identity.uuid),
    };
    let in_capsule_bytes = args.in_capsule.parse().expect("clap has checked it");
    let target = Target::new(Config { nqn, devices, hosts, in_capsule_bytes });
    let (wake, woken) = mpsc::channel();
    stop::on_signal(move || wake.send(()).unwrap_or_default())?;
    let server = Server::start(target, &options).map_err(explain)?;
    announce::listening(&server, &options, args.json)?;
    while let Err(mpsc::RecvTimeoutError::Timeout) = woken.recv_timeout(WATCH) {
        if server.has_failed() {
            break;
        }
    }
    finish(server, args.json)
}

/// Stops the server and says how it went.
fn finish(server: Server, json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let (target, stats) = (server.target().clone(), server.stats());
    let stopped = server.stop();
    announce::stopped(&target, &stats, json)?;
    match stopped {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(errors) => Err(errors.join("\nqpair: ").into()),
    }
}

/// Opens the devices. Two names for one file fail in the second: it is locked.
fn open(args: &Args) -> Result<Vec<Arc<dyn Device>>, Box<dyn Error>> {
    if args.devices.len() > MAX_DEVICES {
        return Err(format!("{} devices are too many: at most {MAX_DEVICES}", args.devices.len()).into());
    }
    let defaults = Defaults { size: args.size, block_bytes: args.block_size, read_only: args.read_only };
    let mut devices = Vec::new();
    for text in &args.devices {
        devices.push(text.parse::<Spec>()?.open(&defaults)?);
    }
    Ok(devices)
}

/// Who may connect. Whoever listens beyond loopback has to say.
fn hosts(args: &Args) -> Result<Hosts, String> {
    if !args.allow_host.is_empty() {
        return Ok(Hosts::Listed(args.allow_host.iter().map(|nqn| nqn.as_str().to_owned()).collect()));
    }
    match args.listen.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        Some(open) if !args.allow_any_host => Err(format!(
            "{open} can be reached from other machines, and nothing says which hosts may connect\n  \
             Name them with --allow-host NQN (a Linux host has its NQN in /etc/nvme/hostnqn), or give --allow-any-host."
        )),
        _ => Ok(Hosts::Any),
    }
}

/// Reactors, their cores, and what they do without work.
fn options(args: &Args) -> Result<Options, String> {
    let allowed = os::allowed_cpus();
    if let Some(missing) = args.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("--cpus: processor {missing} is not available here, only {allowed:?}"));
    }
    if !args.cpus.is_empty() && args.cpus.len() < args.reactors {
        return Err(format!("--cpus names {} processors for {} reactors", args.cpus.len(), args.reactors));
    }
    let wish = args.dedicated.then_some(Mode::Spin(DEDICATED_SPIN));
    let mode = Mode::choose(wish, args.reactors, allowed.len());
    if args.dedicated && args.reactors >= allowed.len() {
        tracing::warn!(
            "--dedicated: {} reactors spin on {} processors, nothing is left for other work",
            args.reactors,
            allowed.len()
        );
    }
    Ok(Options { listen: args.listen.clone(), reactors: args.reactors, mode, cpus: args.cpus.clone() })
}

/// Says what to do about an error of the start.
fn explain(error: StartError) -> String {
    match &error {
        StartError::Listen(address, source) => {
            let hint = match source.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "Another program uses the port, perhaps another qpair: stop it, or take any free port with \
                     --listen {}:0.",
                    address.ip()
                ),
                io::ErrorKind::AddrNotAvailable => "No interface of this machine has the address.".to_owned(),
                io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges; choose a higher one.".to_owned(),
                _ => return error.to_string(),
            };
            format!("{error}\n  {hint}")
        }
        StartError::Reactor(_) => error.to_string(),
    }
}

fn parse_nqn(text: &str) -> Result<Nqn, String> {
    Nqn::new(text).map_err(|error| format!("{error}; an NQN looks like nqn.2026-01.org.example:disk1"))
}

fn parse_reactors(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=machine::limits::MAX_REACTORS) => Ok(count),
        _ => Err(format!("a number from 1 to {}", machine::limits::MAX_REACTORS)),
    }
}

/// In-capsule sizes count in 16 bytes (IOCCSZ). Kept as the number's text, which `clap` can show as a default.
fn in_capsule(text: &str) -> Result<String, String> {
    let bytes = parse_size(text)?;
    if bytes > u64::from(IN_CAPSULE_MAX_BYTES) || !bytes.is_multiple_of(16) {
        return Err(format!("a multiple of 16 up to {IN_CAPSULE_MAX_BYTES} bytes"));
    }
    Ok(bytes.to_string())
}
