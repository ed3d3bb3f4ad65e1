//! What is served, and follows its configuration: a target, a cache, or both in one process.
//!
//! ```text
//!   file ▶ load ▶ Config ▶ rules ▶ what only a restart changes ▶ users ▶ new devices ▶ listen for metrics
//!           │                │                  │                  │         │              │
//!           └────────────────┴──────────────────┴──────────────────┴─────────┘              ▼
//!              a mistake: nothing is different, all of them are told       old devices ▶ Server::apply ▶ in force
//! ```
//!
//! I/O to what did not change goes on meanwhile. What the reactors are made of cannot change while they run.
//!
//! Target and cache have reactors of their own. The target starts first and stops last, as the pool of the cache may
//! lie on what it serves. What does not start leaves nothing behind: what had started is stopped in order.

mod cache;
mod devices;
mod options;
mod target;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use nvmf::Server;

use self::cache::Cache;
use self::target::Target;
use crate::config::{Config, Problem, Source};
use crate::metrics::{Metrics, Sources};
use crate::status;

/// See the module.
pub struct Live {
    config: Config,
    source: Source,
    metrics: Option<Metrics>,
    cache: Option<Cache>,
    target: Option<Target>,
}

impl Live {
    /// Opens what `config` names and serves it. When this returns, hosts and clients can connect.
    ///
    /// # Errors
    /// Everything that keeps it from being served, in the words of `source`.
    pub fn start(config: Config, source: Source) -> Result<Self, Vec<Problem>> {
        let mut live = Self { config, source, metrics: None, cache: None, target: None };
        match live.start_all() {
            Ok(()) => Ok(live),
            Err(mut problems) => {
                let left = live.stop().err().unwrap_or_default();
                problems.extend(left.into_iter().map(|why| Problem::new("", why, "It was stopped for the other one.")));
                Err(problems)
            }
        }
    }

    fn start_all(&mut self) -> Result<(), Vec<Problem>> {
        if !self.config.subsystems.is_empty() {
            self.target = Some(Target::start(&self.config, self.source)?);
        }
        if self.config.cache.is_some() {
            self.cache = Some(Cache::start(&self.config, self.source)?);
        }
        self.metrics = self.listen_for_metrics(self.config.metrics)?;
        Ok(())
    }

    /// Serves `config` from now on, and tells what is different, one sentence each.
    ///
    /// # Errors
    /// Everything that is in the way. Nothing is different then, but for a file that was made or made longer already.
    pub fn change(&mut self, config: Config) -> Result<Vec<String>, Vec<Problem>> {
        self.unchangeable(&config)?;
        let users = self.cache.as_ref().map(|_| cache::users(&config)).transpose()?;
        let moved = self.config.metrics != config.metrics;
        let metrics = if moved { self.listen_for_metrics(config.metrics)? } else { None };
        let mut changes = Vec::new();
        if let Some(target) = &mut self.target {
            changes = status::sentences(&target.change(&config)?);
        }
        // Nothing fails from here on.
        if let (Some(cache), Some(users)) = (&mut self.cache, users) {
            changes.extend(cache.admit(users));
        }
        if moved {
            self.metrics = metrics;
        }
        self.config = config;
        Ok(changes)
    }

    /// What was changed that only a new start can change.
    fn unchangeable(&self, new: &Config) -> Result<(), Vec<Problem>> {
        let old = &self.config;
        let is = |there: bool| if there { "there" } else { "not there" };
        let mut problems = only_by_restart([
            ("subsystem", is(!old.subsystems.is_empty()), is(!new.subsystems.is_empty())),
            ("cache", is(old.cache.is_some()), is(new.cache.is_some())),
        ]);
        if self.target.is_some() && !new.subsystems.is_empty() {
            problems.extend(target::unchangeable(&old.machine, &new.machine));
        }
        if let (Some(old), Some(new)) = (&old.cache, &new.cache) {
            problems.extend(cache::unchangeable(old, new));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Serves metrics where somebody wants them.
    fn listen_for_metrics(&self, wanted: Option<SocketAddr>) -> Result<Option<Metrics>, Vec<Problem>> {
        let Some(address) = wanted else { return Ok(None) };
        let (target, cache) = (self.target().map(Server::observer), self.cache().map(::cache::Server::observer));
        let started = Metrics::start(address, Sources { target, cache });
        let free = format!("--metrics {}:0", address.ip());
        started.map(Some).map_err(|error| vec![cannot_listen("metrics", &free, address, &error, self.source)])
    }

    /// The target, if subsystems are served.
    #[must_use]
    pub fn target(&self) -> Option<&Server> {
        self.target.as_ref().map(|target| &target.server)
    }

    /// The cache, if there is one.
    #[must_use]
    pub fn cache(&self) -> Option<&::cache::Server> {
        self.cache.as_ref().map(|cache| &cache.server)
    }

    /// What is served.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Metrics::address)
    }

    /// Whether something has ended by itself: a reactor, which it does not do unless it panics, or a pool that failed.
    /// What it was, [`Live::stop`] says.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.target().is_some_and(Server::has_failed)
            || self.cache().is_some_and(|cache| cache.has_failed() || cache.failure().is_some())
    }

    /// Stops everything: what is in flight is finished and answered, the pool is closed, devices are flushed.
    ///
    /// # Errors
    /// What went wrong, for a person to read; also why something had ended before.
    pub fn stop(self) -> Result<(), Vec<String>> {
        drop(self.metrics);
        let mut errors = Vec::new();
        errors.extend(self.cache.and_then(|cache| cache.stop().err()));
        errors.extend(self.target.map_or(Ok(()), |target| target.server.stop()).err().unwrap_or_default());
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// The fields that differ, each with what it is and what it was to be.
fn only_by_restart<T: Display + PartialEq, const N: usize>(fields: [(&str, T, T); N]) -> Vec<Problem> {
    let changed = fields.into_iter().filter(|(_, old, new)| old != new).map(|(field, old, new)| {
        let why = format!("it is {old}, and becomes {new} only by a restart");
        Problem::new(field, why, "Restart qpair for it, or take the change back to reload the rest.")
    });
    changed.collect()
}

/// An address that was refused; `free` is the flag for any free port.
fn cannot_listen(field: &str, free: &str, address: SocketAddr, error: &io::Error, source: Source) -> Problem {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let any = match source {
                Source::Flags => format!("any free port with {free}"),
                Source::File => "another port; 0 is any free one".to_owned(),
            };
            format!("Another program uses the port, perhaps another qpair: stop it, or take {any}.")
        }
        io::ErrorKind::AddrNotAvailable => "No interface of this machine has the address.".to_owned(),
        io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges; choose a higher one.".to_owned(),
        _ => "Choose another address.".to_owned(),
    };
    Problem::new(field, format!("cannot listen on {address}: {error}"), hint)
}
