//! A configuration as the text of a file. What has its default is left out.

use std::fmt::Write;

use block::size::{format_size, parse_size};
use nvmf::limits::IN_CAPSULE_DEFAULT_BYTES;

use super::{Config, DEFAULT_LISTENER, Hosts, Machine, Subsystem, cache};

pub(super) fn toml(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = config_to(&mut out, config);
    out
}

fn config_to(out: &mut String, config: &Config) -> std::fmt::Result {
    machine(out, &config.machine)?;
    if config.in_capsule_bytes != IN_CAPSULE_DEFAULT_BYTES {
        writeln!(out, "in-capsule = {}", config.in_capsule_bytes)?;
    }
    if let Some(address) = &config.metrics {
        writeln!(out, "metrics = \"{address}\"")?;
    }
    if config.listeners != [DEFAULT_LISTENER] && !config.subsystems.is_empty() {
        for address in &config.listeners {
            writeln!(out, "\n[[listener]]\naddress = \"{address}\"")?;
        }
    }
    for one in &config.subsystems {
        subsystem(out, one)?;
    }
    for address in &config.referrals {
        writeln!(out, "\n[[referral]]\naddress = \"{address}\"")?;
    }
    config.cache.iter().try_for_each(|one| cache::write(out, one))
}

fn machine(out: &mut String, machine: &Machine) -> std::fmt::Result {
    let default = Machine::default();
    if let Some(reactors) = machine.reactors {
        writeln!(out, "reactors = {reactors}")?;
    }
    if !machine.cpus.is_empty() {
        writeln!(out, "cpus = {:?}", machine.cpus)?;
    }
    if machine.dedicated {
        writeln!(out, "dedicated = true")?;
    }
    if machine.ring != default.ring {
        writeln!(out, "ring = \"{}\"", machine.ring)?;
    }
    Ok(())
}

fn subsystem(out: &mut String, subsystem: &Subsystem) -> std::fmt::Result {
    writeln!(out, "\n[[subsystem]]")?;
    if let Some(nqn) = &subsystem.nqn {
        writeln!(out, "nqn = {}", text(nqn.as_str()))?;
    }
    match &subsystem.hosts {
        Hosts::Unsaid => {}
        Hosts::Any => writeln!(out, "allow-any-host = true")?,
        Hosts::Listed(hosts) => {
            let hosts: Vec<String> = hosts.iter().map(|host| text(host.as_str())).collect();
            writeln!(out, "hosts = [{}]", hosts.join(", "))?;
        }
    }
    for namespace in &subsystem.namespaces {
        writeln!(out, "\n[[subsystem.namespace]]\nnsid = {}\ndevice = {}", namespace.nsid, text(&namespace.text))?;
    }
    Ok(())
}

/// A size with a unit, where that is as exact.
pub(super) fn size(bytes: u64) -> String {
    let short = format_size(bytes).replace(' ', "");
    if parse_size(&short) == Ok(bytes) { text(&short) } else { bytes.to_string() }
}

/// A basic string of TOML.
pub(super) fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
