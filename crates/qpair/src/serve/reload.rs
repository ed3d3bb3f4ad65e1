//! What SIGHUP and `qpair reload` do: the file is read again, and what is different is put into force.

use std::path::PathBuf;

use control::config::{Config, LoadError};
use control::live::Live;
use control::status::{Beacon, Outcome};

use super::announce;
use crate::reload::Lines;

/// The file that the server follows.
pub(super) struct Follower {
    path: PathBuf,
    number: u64,
}

impl Follower {
    /// Follows `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, number: 0 }
    }

    /// Reads the file and puts it into force, or tells why not; without a beacon in the log only.
    pub(super) fn reload(&mut self, live: &mut Live, mut beacon: Option<&mut Beacon>, json: bool) {
        self.number += 1;
        if let Some(beacon) = &mut beacon {
            self.number = beacon.begin();
        }
        let outcome = self.change(live);
        if outcome.ok {
            tracing::info!("reloaded {}", self.path.display());
        } else {
            let lines = Lines(&self.path, &outcome).to_string();
            lines.lines().for_each(|line| tracing::error!("{line}"));
        }
        // The terminal may be gone, which is no reason to stop.
        if let Err(error) = announce::reloaded(&self.path, &outcome, json) {
            tracing::debug!(%error, "cannot write to standard output");
        }
        if let Some(beacon) = beacon {
            beacon.finish(outcome, announce::serves(live));
        }
    }

    fn change(&self, live: &mut Live) -> Outcome {
        let failed = Outcome { number: self.number, ok: false, changes: vec![], mistakes: vec![], error: None };
        let (config, places) = match Config::load(&self.path) {
            Ok(loaded) => loaded,
            Err(LoadError::Unreadable { source, .. }) => return Outcome { error: Some(source.to_string()), ..failed },
            Err(LoadError::Mistakes { mistakes, .. }) => return Outcome { mistakes, ..failed },
        };
        match live.change(config) {
            Ok(changes) => Outcome { ok: true, changes, ..failed },
            Err(problems) => {
                let mistakes = problems.into_iter().map(|problem| places.mistake(problem)).collect();
                Outcome { mistakes, ..failed }
            }
        }
    }
}
