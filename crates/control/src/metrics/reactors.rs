//! Reactors, whatever they serve. Their families begin with the name of what that is.

use machine::reactor::{PollerStats, Snapshot};

use super::text::{Text, Type};

/// Every reactor with its number as a label.
pub(super) fn each<T>(all: &[T]) -> impl Iterator<Item = (String, &T)> {
    all.iter().enumerate().map(|(number, one)| (number.to_string(), one))
}

/// What the reactors' time went into, and what their pollers found.
pub(super) fn write(text: &mut Text, of: &str, snapshots: &[Snapshot]) {
    let name = &format!("{of}_reactor_seconds_total");
    text.family(name, Type::Counter, "Time of a reactor: busy and idle passes, asleep; together the time gone by.");
    for (number, snapshot) in each(snapshots) {
        for (state, time) in [("busy", snapshot.busy), ("idle", snapshot.idle), ("asleep", snapshot.asleep)] {
            text.sample(name, &[("reactor", &number), ("state", state)], time.as_secs_f64());
        }
    }
    let name = &format!("{of}_reactor_effective_ratio");
    text.family(name, Type::Gauge, "busy / (busy + idle) since the start: near 1 a core is overloaded, not spinning.");
    for (number, snapshot) in each(snapshots) {
        text.sample(name, &[("reactor", &number)], snapshot.effective());
    }
    let name = &format!("{of}_reactor_passes_total");
    text.family(name, Type::Counter, "Passes over all pollers.");
    for (number, snapshot) in each(snapshots) {
        text.sample(name, &[("reactor", &number)], snapshot.passes);
    }
    let name = &format!("{of}_reactor_sleeps_total");
    text.family(name, Type::Counter, "Times a reactor slept.");
    for (number, snapshot) in each(snapshots) {
        text.sample(name, &[("reactor", &number)], snapshot.sleeps);
    }
    pollers(text, of, snapshots);
}

fn pollers(text: &mut Text, of: &str, snapshots: &[Snapshot]) {
    let mut family = |name: &str, help: &str, value: fn(&PollerStats) -> u64| {
        let name = &format!("{of}_poller_{name}_total");
        text.family(name, Type::Counter, help);
        for (number, snapshot) in each(snapshots) {
            for poller in &snapshot.pollers {
                text.sample(name, &[("reactor", &number), ("poller", poller.name)], value(poller));
            }
        }
    };
    family("runs", "Times a poller was asked.", |poller| poller.runs);
    family("hits", "Times it found work.", |poller| poller.hits);
    family("units", "Work that it found, in units of its own.", |poller| poller.units);
}
