//! The flags of `qpair serve`, and the configuration that they amount to.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use block::size::parse_size;
use control::config::{
    self, Broken, Config, DEFAULT_LISTENER, Hosts, LoadError, Machine, Namespace, Places, Problem, Rule, Source,
    Subsystem,
};
use machine::limits::MAX_REACTORS;
use machine::ring::RingKind;
use nvmf::limits::IN_CAPSULE_DEFAULT_BYTES;
use wire::nvme::Nqn;

const EXAMPLES: &str = "\
Devices:
  PATH          a file or a block device (/dev/nvme1n1, \\\\.\\PhysicalDrive1); with --size, a file that is not there is
                created (sparse)
  ram:SIZE      memory; what is written is gone when qpair ends
  null:SIZE     reads give zeros, writes vanish: for measuring the way to the disk
  fault:DEVICE  any of these, with faults on purpose, to rehearse failure (see Faults)
  Options follow a comma: ro (read-only), force (see --force), bs=512|4096 (block size), uuid=UUID, size=SIZE.
  `file:NAME` takes any name.
  The first device is namespace 1, the second namespace 2, and so on.

Faults:
  fault:ram:1GiB,seed=7,rule=write:nth=100:error=EIO,rule=read:every=1000:latency=10ms
  A rule has kinds (read write flush zeroes deallocate compare verify uncorrectable copy, several with +, or any),
  conditions (nth=N, every=N, after=N, times=N, p=0.01, blocks=A-B), and what is to happen: latency=10ms or
  latency=1ms-20ms, error=EIO|ENOSPC|..., status=TYPE/CODE in hexadecimal, short[=BLOCKS] and torn for writes, drop,
  panic. The same seed makes the same choices.

Hosts:
  On loopback any host may connect. On other addresses qpair wants to know who: --allow-host NQN (a Linux host has its
  NQN in /etc/nvme/hostnqn), or --allow-any-host.

Configuration file:
  --config FILE serves several subsystems and follows the file: after `qpair reload` (or SIGHUP) what is different in
  it is in force, and what is not keeps its I/O running. It goes with --json, --supervise and -v only.
  A [cache] in it is a cache for memcached and Redis clients in the same process (see `qpair cache`).
  `qpair config show` makes such a file from flags, `qpair config check` looks for mistakes.

Sleeping:
  A reactor sleeps when there is nothing to do. Before that it spins for 50 us if a core is left for it alone; with
  --dedicated it spins for much longer, which gives the shortest latencies and keeps the core busy under load.

Examples:
  qpair serve --size 1GiB disk.img
  qpair serve disk.img,ro ram:4GiB,bs=4096
  qpair serve /dev/nvme1n1 --listen 192.168.1.10:4420 --allow-host nqn.2014-08.org.nvmexpress:uuid:5f1c0d5e-...
  qpair serve ram:1GiB --dedicated --reactors 2 --cpus 2,3
  qpair serve --config /etc/qpair.toml";

/// Serve devices as NVMe/TCP disks
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) flags: Flags,

    #[command(flatten)]
    pub(super) how: How,
}

/// How a serving process behaves, whatever it serves.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct How {
    /// Print one JSON object a line instead of text
    #[arg(long)]
    pub(super) json: bool,

    /// Start again at once after a crash, from a small process that looks after the serving one
    #[arg(long)]
    pub(super) supervise: bool,
}

/// What is to be served: everything that a configuration file can say about one subsystem, or such a file.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Flags {
    /// PATH, ram:SIZE or null:SIZE, each with options behind commas
    #[arg(required_unless_present = "config", value_name = "DEVICE")]
    devices: Vec<String>,

    /// Serve what this file says, instead of flags; `qpair reload` reads it again
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "devices", "size", "block_size", "read_only", "force", "listen", "nqn", "allow_host", "allow_any_host",
        "reactors", "cpus", "dedicated", "ring", "in_capsule", "metrics",
    ])]
    config: Option<PathBuf>,

    /// Create files that are not there with this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Bytes of a logical block, 512 or 4096, for devices that do not say [default: 512, or the drive's own]
    #[arg(long, value_name = "BYTES")]
    block_size: Option<u32>,

    /// Refuse writes to all devices
    #[arg(long)]
    read_only: bool,

    /// Also block devices that are mounted or in use; on Windows, their volumes are locked and dismounted
    #[arg(long, conflicts_with = "read_only")]
    force: bool,

    /// Listen here; may be repeated. Port 0 is any free port
    #[arg(long, value_name = "ADDR:PORT", default_values_t = [DEFAULT_LISTENER])]
    listen: Vec<SocketAddr>,

    /// The subsystem's name [default: made from the first device's UUID]
    #[arg(long, value_parser = config::nqn)]
    nqn: Option<Nqn>,

    /// Let the host with this NQN connect, and no other; may be repeated
    #[arg(long, value_name = "NQN", value_parser = config::nqn)]
    allow_host: Vec<Nqn>,

    /// Let any host connect, also on addresses other than loopback
    #[arg(long, conflicts_with = "allow_host")]
    allow_any_host: bool,

    /// Number of reactors (threads); connections are dealt out to them [default: one for every other processor, at
    /// most 8, or one for each of --cpus]
    #[arg(long, value_name = "N", value_parser = parse_reactors)]
    reactors: Option<usize>,

    /// Pin the reactors to these processors
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Spin before sleeping: the shortest latencies, for cores that nothing else needs
    #[arg(long)]
    dedicated: bool,

    /// What serves files: io_uring (Linux), iocp (Windows), worker threads (portable), or the best there is
    #[arg(long, value_name = "auto|uring|iocp|portable", default_value_t = RingKind::Auto)]
    ring: RingKind,

    /// Most data of a write that comes with its command
    #[arg(long, value_name = "SIZE", default_value_t = IN_CAPSULE_DEFAULT_BYTES, value_parser = parse_in_capsule)]
    in_capsule: u32,

    /// Serve metrics for Prometheus here; a port alone is one on loopback
    #[arg(long, value_name = "ADDR:PORT", value_parser = control::metrics::address)]
    metrics: Option<SocketAddr>,
}

/// A configuration, and the file that it comes from if it does not come from flags.
pub(crate) struct Wanted {
    pub(crate) config: Config,
    pub(crate) file: Option<(PathBuf, Places)>,
}

impl Wanted {
    /// What a file says.
    ///
    /// # Errors
    /// The mistakes in it.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let (config, places) = Config::load(path)?;
        Ok(Self { config, file: Some((path.to_owned(), places)) })
    }

    /// In whose words to speak of it.
    pub(super) fn source(&self) -> Source {
        if self.file.is_some() { Source::File } else { Source::Flags }
    }
}

impl Flags {
    /// The configuration that the flags, or the file that they name, amount to.
    ///
    /// # Errors
    /// A device that cannot be, or flags that do not go together; the mistakes in the file.
    pub(crate) fn wanted(&self) -> Result<Wanted, Box<dyn Error>> {
        match &self.config {
            Some(path) => Ok(Wanted::load(path)?),
            None => Ok(Wanted { config: self.config()?, file: None }),
        }
    }

    fn config(&self) -> Result<Config, Box<dyn Error>> {
        let hosts = match (self.allow_any_host, &self.allow_host[..]) {
            (true, _) => Hosts::Any,
            (false, []) => Hosts::Unsaid,
            (false, listed) => Hosts::Listed(listed.to_vec()),
        };
        let namespaces: Result<_, _> =
            (1..).zip(&self.devices).map(|(nsid, device)| self.namespace(nsid, device)).collect();
        let config = Config {
            machine: Machine {
                reactors: self.reactors,
                cpus: self.cpus.clone(),
                dedicated: self.dedicated,
                ring: self.ring,
            },
            listeners: self.listen.clone(),
            subsystems: vec![Subsystem { nqn: self.nqn, hosts, namespaces: namespaces? }],
            referrals: Vec::new(),
            in_capsule_bytes: self.in_capsule,
            metrics: self.metrics,
            cache: None,
        };
        Ok(sound(config)?)
    }

    /// A device, with what holds for all devices that do not say otherwise.
    fn namespace(&self, nsid: u32, device: &str) -> Result<Namespace, block::OpenError> {
        let mut namespace = Namespace::new(nsid, device)?;
        let given = namespace.spec.options.clone();
        let is_file = namespace.spec.target.path().is_some();
        if let Some(bytes) = self.size.filter(|_| is_file && given.size.is_none()) {
            namespace = namespace.with(&format!("size={bytes}"))?;
        }
        if let Some(bytes) = self.block_size.filter(|_| given.block_bytes.is_none()) {
            namespace = namespace.with(&format!("bs={bytes}"))?;
        }
        if self.read_only && !given.read_only {
            namespace = namespace.with("ro")?;
        }
        if self.force && is_file && !given.in_use {
            namespace = namespace.with("force")?;
        }
        Ok(namespace)
    }
}

/// A configuration that comes from flags, if all rules hold.
///
/// # Errors
/// The first one that does not, in the words of flags.
pub(crate) fn sound(config: Config) -> Result<Config, String> {
    match config.broken_rules().first() {
        Some(broken) => Err(flag_error(broken)),
        None => Ok(config),
    }
}

/// What keeps a configuration from being served: with its line in the file, or with the flag that it is about.
pub(super) fn explain(file: Option<(PathBuf, Places)>, problems: Vec<Problem>) -> Box<dyn Error> {
    if let Some((path, places)) = file {
        let mistakes = problems.into_iter().map(|problem| places.mistake(problem)).collect();
        return LoadError::Mistakes { path, mistakes }.into();
    }
    let lines = problems.iter().map(|problem| {
        let of_cache = problem.field.strip_prefix("cache.").map(|flag| flag.split('[').next().unwrap_or(flag));
        let of_target = || ["cpus", "ring", "reactors"].into_iter().find(|flag| problem.field.starts_with(flag));
        of_cache.or_else(of_target).map_or(problem.to_string(), |flag| format!("--{flag}: {problem}"))
    });
    lines.collect::<Vec<_>>().join("\nqpair: ").into()
}

/// A broken rule in the words of the command line.
fn flag_error(broken: &Broken) -> String {
    let (why, hint) = broken.rule.explain(Source::Flags);
    let flag = match (&broken.rule, broken.field.strip_prefix("cache.")) {
        (_, Some(field)) => format!("--{}: ", field.split('[').next().unwrap_or(field)),
        (Rule::EnoughCpus(..), None) => "--cpus: ".to_owned(),
        (Rule::NotDiscovery, None) => "--nqn: ".to_owned(),
        _ => String::new(),
    };
    format!("{flag}{why}\n  {hint}")
}

/// A number of reactors.
pub(crate) fn parse_reactors(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=MAX_REACTORS) => Ok(count),
        _ => Err(format!("a number from 1 to {MAX_REACTORS}")),
    }
}

fn parse_in_capsule(text: &str) -> Result<u32, String> {
    config::in_capsule(parse_size(text)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(line: &str) -> Result<Config, String> {
        let line = Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).expect(line);
        line.flags.wanted().map(|wanted| wanted.config).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_say_what_a_file_says() {
        let line = "/a.img ram:1GiB,bs=512 --size 1GiB --block-size 4096 --read-only --listen 10.0.0.1:4420 \
                    --nqn nqn.a --allow-host nqn.b --reactors 2 --cpus 0,1 --dedicated --ring portable --metrics 9420 \
                    --in-capsule 16KiB";
        let file = r#"
            reactors = 2
            cpus = [0, 1]
            dedicated = true
            ring = "portable"
            metrics = 9420
            in-capsule = "16KiB"
            [[listener]]
            address = "10.0.0.1:4420"
            [[subsystem]]
            nqn = "nqn.a"
            hosts = ["nqn.b"]
            [[subsystem.namespace]]
            device = "/a.img,size=1073741824,bs=4096,ro"
            [[subsystem.namespace]]
            device = "ram:1GiB,bs=512,ro"
        "#;
        assert_eq!(config(line), Ok(Config::parse(file).expect("it is fine")));
        let forced = config("/dev/sda ram:1MiB /dev/sdb,force --force").expect("it is fine");
        let forced = forced.subsystems[0].namespaces.iter().map(|namespace| namespace.spec.options.in_use);
        assert_eq!(forced.collect::<Vec<_>>(), [true, false, true]);
        let default = config("ram:1MiB").expect("it is fine");
        assert_eq!((default.machine, default.listeners), (Machine::default(), vec![DEFAULT_LISTENER]));
    }

    #[test]
    fn errors_name_flags() {
        for (line, part) in [
            ("ram:1MiB --listen 10.0.0.1:4420", "--allow-any-host"),
            ("ram:1MiB --cpus 0 --reactors 2", "--cpus: 1 processors"),
            ("ram:1MiB --nqn nqn.2014-08.org.nvmexpress.discovery", "--nqn: "),
            ("rma:1MiB", "Did you mean ram:1MiB?"),
            ("ram:1MiB --block-size 1024", "1024 bytes is not possible"),
            ("a.img a.img", "would destroy it"),
        ] {
            let error = config(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(config("a.img a.img --read-only").is_ok());
    }
}
