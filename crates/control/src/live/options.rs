//! The threads that a configuration asks for, on this machine.

use machine::os;
use machine::reactor::Mode;
use nvmf::Options;

use crate::config::{Cache, Config, Machine, Problem};
use crate::limits::{DEDICATED_SPIN, MOST_USEFUL_REACTORS};

/// How the target runs.
///
/// # Errors
/// Processors that are not there.
pub(super) fn target(config: &Config) -> Result<Options, Vec<Problem>> {
    let Machine { cpus, dedicated, ring, .. } = &config.machine;
    let allowed = os::allowed_cpus();
    all_there("cpus", cpus, &allowed)?;
    let mode = mode(config, *dedicated, allowed.len());
    Ok(Options { reactors: reactors(config, allowed.len()), mode, ring: *ring, cpus: cpus.clone() })
}

/// How the cache runs: its mode and its processors.
///
/// # Errors
/// Processors that are not there.
pub(super) fn cache(config: &Config, cache: &Cache) -> Result<(Mode, Vec<usize>), Vec<Problem>> {
    let allowed = os::allowed_cpus();
    all_there("cache.cpus", &cache.cpus, &allowed)?;
    Ok((mode(config, cache.dedicated, allowed.len()), cache.cpus.clone()))
}

fn all_there(field: &str, cpus: &[usize], allowed: &[usize]) -> Result<(), Vec<Problem>> {
    let missing = cpus.iter().enumerate().filter(|(_, cpu)| !allowed.contains(cpu)).map(|(index, cpu)| {
        let why = format!("processor {cpu} is not available here, only {allowed:?}");
        Problem::new(format!("{field}[{index}]"), why, "Name others, or leave it to the operating system.")
    });
    let missing: Vec<Problem> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// What a reactor does that finds no work: all reactors of the process share the processors.
fn mode(config: &Config, dedicated: bool, allowed: usize) -> Mode {
    let all = reactors(config, allowed) + config.cache.as_ref().map_or(0, |cache| cache.reactors);
    if dedicated && all >= allowed {
        tracing::warn!("dedicated: {all} reactors share {allowed} processors, nothing is left for other work");
    }
    Mode::choose(dedicated.then_some(Mode::Spin(DEDICATED_SPIN)), all, allowed)
}

/// Reactors of the target, if there is one.
fn reactors(config: &Config, allowed: usize) -> usize {
    if config.subsystems.is_empty() {
        return 0;
    }
    config.machine.reactors.unwrap_or_else(|| useful(config.machine.cpus.len(), allowed))
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
