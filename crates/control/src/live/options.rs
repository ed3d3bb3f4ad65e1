//! The threads that a configuration asks for, on this machine.

use machine::os;
use machine::reactor::Mode;
use nvmf::Options;

use crate::config::{Machine, Problem};
use crate::limits::DEDICATED_SPIN;

/// How the target runs.
///
/// # Errors
/// Processors that are not there.
pub(super) fn options(machine: &Machine) -> Result<Options, Vec<Problem>> {
    let Machine { reactors, cpus, dedicated, ring } = machine;
    let allowed = os::allowed_cpus();
    let missing = cpus.iter().enumerate().filter(|(_, cpu)| !allowed.contains(cpu)).map(|(index, cpu)| {
        let why = format!("processor {cpu} is not available here, only {allowed:?}");
        Problem::new(format!("cpus[{index}]"), why, "Name others, or leave it to the operating system.")
    });
    let missing: Vec<Problem> = missing.collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    if *dedicated && *reactors >= allowed.len() {
        tracing::warn!(
            "dedicated: {reactors} reactors spin on {} processors, nothing is left for other work",
            allowed.len()
        );
    }
    let mode = Mode::choose(dedicated.then_some(Mode::Spin(DEDICATED_SPIN)), *reactors, allowed.len());
    Ok(Options { reactors: *reactors, mode, ring: *ring, cpus: cpus.clone() })
}
