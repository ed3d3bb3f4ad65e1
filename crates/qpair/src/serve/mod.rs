//! `qpair serve`: devices as the namespaces of one NVMe/TCP subsystem.

mod announce;
mod args;
mod supervise;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use block::spec::Defaults;
use control::config::{Config, Hosts, Machine};
use control::metrics::Metrics;
use machine::os;
use machine::reactor::{Mode, on_panic_abort};
use nvmf::{ApplyError, Layout, Options, Server, StartError};

pub(crate) use self::args::{Args, Flags};
use crate::signals;

/// How long a dedicated reactor spins without work before it sleeps after all.
const DEDICATED_SPIN: Duration = Duration::from_millis(20);
/// How often `serve` looks whether a reactor has died.
const WATCH: Duration = Duration::from_millis(500);

/// Runs the command: returns after SIGINT or SIGTERM, when all is answered and durable.
///
/// # Errors
/// What keeps the target from serving, and what can be done about it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.supervise && !os::is_ward() {
        return supervise::run();
    }
    on_panic_abort();
    if os::is_ward() {
        os::end_with_guard()?;
    }
    let config = args.flags.config()?;
    let options = options(&config)?;
    let layout = layout(&config)?;
    let (wake, woken) = mpsc::channel();
    signals::watch(false, move |_| wake.send(()).unwrap_or_default())?;
    let server = Server::start(&layout, &options).map_err(explain)?;
    let metrics = metrics(&config, &server)?;
    announce::listening(&server, &options, metrics.as_ref(), args.json)?;
    if os::is_ward() {
        os::ward_ready()?;
    }
    while let Err(mpsc::RecvTimeoutError::Timeout) = woken.recv_timeout(WATCH) {
        if server.has_failed() {
            break;
        }
    }
    finish(server, args.json)
}

/// Serves metrics where the configuration wants them.
fn metrics(config: &Config, server: &Server) -> Result<Option<Metrics>, String> {
    let Some(address) = config.metrics else { return Ok(None) };
    let started = Metrics::start(address, server.observer());
    started
        .map(Some)
        .map_err(|error| explain(ApplyError::Listen(address, error).into()).replace("--listen", "--metrics"))
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

/// Opens the devices of the one subsystem. Two names for one file fail in the second: it is locked.
fn layout(config: &Config) -> Result<Layout, block::OpenError> {
    let subsystem = &config.subsystems[0];
    let mut devices = Vec::new();
    for namespace in &subsystem.namespaces {
        devices.push(namespace.spec.open(&Defaults::default())?);
    }
    let nqn = match &subsystem.nqn {
        Some(nqn) => nqn.as_str().to_owned(),
        None => format!("nqn.2014-08.org.nvmexpress:uuid:{}", devices[0].info().identity.uuid),
    };
    let hosts = match &subsystem.hosts {
        Hosts::Unsaid | Hosts::Any => nvmf::Hosts::Any,
        Hosts::Listed(list) => nvmf::Hosts::Listed(list.iter().map(|nqn| nqn.as_str().to_owned()).collect()),
    };
    let in_capsule_bytes = config.in_capsule_bytes;
    let subsystem = nvmf::Subsystem { hosts, in_capsule_bytes, ..nvmf::Subsystem::new(nqn, devices) };
    Ok(Layout { subsystems: vec![subsystem], listen: config.listeners.clone(), referrals: Vec::new() })
}

/// Reactors, their cores, and what they do without work.
fn options(config: &Config) -> Result<Options, String> {
    let Machine { reactors, cpus, dedicated, ring, .. } = &config.machine;
    let allowed = os::allowed_cpus();
    if let Some(missing) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("--cpus: processor {missing} is not available here, only {allowed:?}"));
    }
    let wish = dedicated.then_some(Mode::Spin(DEDICATED_SPIN));
    let mode = Mode::choose(wish, *reactors, allowed.len());
    if *dedicated && *reactors >= allowed.len() {
        tracing::warn!(
            "--dedicated: {reactors} reactors spin on {} processors, nothing is left for other work",
            allowed.len()
        );
    }
    Ok(Options { reactors: *reactors, mode, ring: *ring, cpus: cpus.clone() })
}

/// Says what to do about an error of the start.
fn explain(error: StartError) -> String {
    match &error {
        StartError::Apply(ApplyError::Listen(address, source)) => {
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
        StartError::Reactor(_) | StartError::Apply(_) => error.to_string(),
    }
}
