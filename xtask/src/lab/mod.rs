//! The tests that run the finished program: on the host alone, and against a real kernel in the guest of lab/vmlab.
//!
//! ```text
//!      host                                        guest (emulated, Linux)
//!      xtask ── starts, kills, stops ──▶ qpair       lab/tests/SCRIPT.sh
//!        │  ▲                              ▲               │ nvme, fio, mkfs, ...
//!        │  │                              └── 10.0.2.2 ───┘ kernel: nvme_tcp
//!        │  └──── reads `ok ...`, `FAIL ...` ◀─────────────┤ stdout
//!        └──────── does what the script asks for ◀─────────┘ a shared directory
//! ```
//!
//! A scenario is one boot and one kind of ring. To add one: a script beside lab/tests/data.sh, a function in
//! `scenario.rs` and a line in [`SCENARIOS`].

mod guest;
mod host_kill;
mod metrics;
mod peers;
mod pools;
mod program;
#[path = "../../../crates/qpair/tests/campaign/proxy.rs"]
mod proxy;
mod scenario;
mod scratch;
mod shared;
mod system;
mod target;

use std::time::Instant;

use self::guest::{Trouble, Unready, set_up, vmlab};
use self::scenario::{Lab, SCENARIOS, Scenario};
use self::scratch::Scratch;
use self::target::Target;
use crate::report::{Outcome, Report};
use crate::succeeds;
use crate::test::Selection;

pub(crate) use self::host_kill::host_kill;
pub(crate) use self::peers::peers;
pub(crate) use self::program::program;
pub(crate) use self::system::Program;

/// What does the files of the target under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Uring,
    Portable,
    /// In Wine.
    Iocp,
}

impl Ring {
    /// As `--ring` has it.
    fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Portable => "portable",
            Self::Iocp => "iocp",
        }
    }
}

/// A scenario on a ring, and its name.
pub(crate) struct Wanted {
    name: String,
    scenario: &'static Scenario,
    ring: Ring,
}

/// The scenarios that are wanted: the ordinary command has each on one kind of ring, the full one on all of its kinds.
pub(crate) fn wanted(selection: &Selection) -> Vec<Wanted> {
    let all = SCENARIOS.iter().flat_map(|scenario| {
        let rings = if selection.full { scenario.rings } else { &scenario.rings[..1] };
        rings.iter().map(move |ring| (scenario, *ring))
    });
    all.map(|(scenario, ring)| Wanted { name: name(scenario, ring), scenario, ring })
        .filter(|wanted| selection.wants(&wanted.name))
        .collect()
}

fn name(scenario: &Scenario, ring: Ring) -> String {
    format!("lab {} on {}", scenario.script, ring.name())
}

/// Sets the lab up and runs the scenarios with the program at `program`.
pub(crate) fn run(report: &mut Report, mut wanted: Vec<Wanted>, program: &Program, full: bool) {
    if wanted.is_empty() {
        return;
    }
    let begun = Instant::now();
    match set_up() {
        Ok(()) => {}
        Err(Unready::Unsuited(why)) => return report.skip("lab", &why),
        Err(Unready::Broken(why)) => return report.note("lab setup", Outcome::Failed(why), begun.elapsed()),
    }
    match no_uring(program) {
        Ok(None) => {}
        Ok(Some(why)) => without_uring(report, &mut wanted, &why),
        Err(why) => return report.note("lab setup", Outcome::Failed(why), begun.elapsed()),
    }
    for Wanted { name, scenario, ring } in &wanted {
        println!("\n=== {name}");
        let begun = Instant::now();
        let mut lab = Lab { report, program, full, ring: *ring, name };
        let mut boots = 1;
        let result = loop {
            match (scenario.run)(&mut lab) {
                Err(Trouble::BadPage(step)) if boots < BOOTS => {
                    lab.report.skip(name, &format!("{BAD_PAGE} during `{step}`; it runs again, from the start"));
                    boots += 1;
                }
                result => break result,
            }
        };
        let why = match result {
            Ok(()) => continue,
            Err(Trouble::Failed(why)) => why,
            Err(Trouble::BadPage(step)) => format!("{BAD_PAGE} during `{step}`, and that was boot {boots}"),
        };
        println!("FAIL {name}: {why}");
        report.note(name, Outcome::Failed(why), begun.elapsed());
    }
}

/// Boots of one scenario: a bad page ends each but the last without a verdict.
const BOOTS: u32 = 4;

/// What lab/README.md tells more of.
const BAD_PAGE: &str = "the guest's kernel found one of its own pages given back once too often (lab/README.md)";

/// Why a target does not get `io_uring` here, if it does not.
fn no_uring(program: &Program) -> Result<Option<String>, String> {
    let scratch = Scratch::new("ring")?;
    let target = Target::start(program, &["null:1MiB", "--ring", "auto"], &scratch.file("qpair.log"))?;
    let said = target.said();
    Ok((said.ring() != Some(Ring::Uring.name())).then(|| said.ring_reason().unwrap_or("it does not say").to_owned()))
}

/// What was to run on uring runs on portable rings, and the report says so.
fn without_uring(report: &mut Report, wanted: &mut Vec<Wanted>, why: &str) {
    let mut instead: Vec<Wanted> = Vec::new();
    for Wanted { name, scenario, ring } in wanted.drain(..) {
        if ring == Ring::Iocp {
            instead.push(Wanted { name, scenario, ring });
            continue;
        }
        if name == self::name(scenario, Ring::Uring) {
            report.skip(&name, &format!("no io_uring: {why}"));
        }
        let name = self::name(scenario, Ring::Portable);
        if instead.iter().all(|other| other.name != name) {
            instead.push(Wanted { name, scenario, ring: Ring::Portable });
        }
    }
    *wanted = instead;
}

/// `cargo xtask lab -- COMMAND...`: the guest for a person.
pub(crate) fn shell(words: &[&str]) -> Result<bool, String> {
    match set_up() {
        Ok(()) => succeeds(vmlab().args(["run", "--module", "nvme_tcp", "--timeout", "3600", "--"]).args(words)),
        Err(Unready::Unsuited(why) | Unready::Broken(why)) => Err(format!("no lab here: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        wanted(&Selection::parse(words).expect("a selection")).into_iter().map(|wanted| wanted.name).collect()
    }

    #[test]
    fn every_scenario_runs_each_time_and_on_all_its_rings_with_full() {
        for scenario in &SCENARIOS {
            let part = format!("lab {}", scenario.script);
            assert_eq!(names(&["--only", &part]).len(), 1, "{part}");
            assert_eq!(names(&["--full", "--only", &part]).len(), scenario.rings.len(), "{part}");
        }
        assert_eq!(names(&["--full", "--only", "lab kill on uring"]), ["lab kill on uring"]);
        let ordinary = |ring| SCENARIOS.iter().any(|scenario| scenario.rings[0] == ring);
        assert!(ordinary(Ring::Uring) && ordinary(Ring::Portable));
    }
}
