//! The threads that a configuration asks for, on this machine.

use machine::os;
use machine::reactor::Mode;
use nvmf::Options;

use crate::config::{Machine, Problem};
use crate::limits::{DEDICATED_SPIN, MOST_USEFUL_REACTORS};

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
    let reactors = reactors.unwrap_or_else(|| useful(cpus.len(), allowed.len()));
    if *dedicated && reactors >= allowed.len() {
        tracing::warn!(
            "dedicated: {reactors} reactors spin on {} processors, nothing is left for other work",
            allowed.len()
        );
    }
    let mode = Mode::choose(dedicated.then_some(Mode::Spin(DEDICATED_SPIN)), reactors, allowed.len());
    Ok(Options { reactors, mode, ring: *ring, cpus: cpus.clone() })
}

/// As many reactors as are useful: one for each processor that is named; without names one for every other processor,
/// as what asks and what is served need some too. Those that have no connections sleep and cost nothing.
fn useful(named: usize, allowed: usize) -> usize {
    if named > 0 { named } else { (allowed / 2).clamp(1, MOST_USEFUL_REACTORS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_processor_or_those_named() {
        let counts =
            [(0, 1), (0, 2), (0, 3), (0, 8), (0, 256), (3, 256)].map(|(named, allowed)| useful(named, allowed));
        assert_eq!(counts, [1, 1, 1, 4, MOST_USEFUL_REACTORS, 3]);
    }
}
