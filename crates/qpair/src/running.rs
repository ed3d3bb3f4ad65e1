//! Which of the running servers is meant: the one with a process number, the one with a configuration file, or the
//! only one there is.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::status::{self, Status};

/// What the commands have in common that ask a running server for something. Each takes a process number, `pid`, too.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Ask {
    /// The server that was started with this file
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    pub(crate) config: Option<PathBuf>,

    /// Wait so long for the outcome
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u64,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

impl Ask {
    /// How long to wait.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// A server of this user that runs, or a supervisor that is about to start one.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) status: Status,
    /// What supervises it.
    guard: Option<Status>,
}

impl Server {
    /// Who is asked to stop: a supervisor passes that on, and does not start another one.
    pub(crate) fn stopped_by(&self) -> &Status {
        self.guard.as_ref().unwrap_or(&self.status)
    }

    fn has(&self, pid: u32) -> bool {
        self.status.pid == pid || self.status.guard == Some(pid)
    }

    /// Its file, or what it serves.
    pub(crate) fn what(&self) -> String {
        match &self.status.config {
            Some(config) => config.display().to_string(),
            None if self.status.serves.is_empty() => "supervises, and serves nothing now".to_owned(),
            None => self.status.serves.join(", "),
        }
    }
}

/// All of them.
///
/// # Errors
/// The directory where they tell of themselves is not there.
pub(crate) fn all() -> Result<Vec<Server>, Box<dyn Error>> {
    let running = status::running().map_err(|error| format!("cannot tell which servers run: {error}"))?;
    Ok(paired(&running))
}

/// Supervisors and what they supervise are one.
fn paired(running: &[Status]) -> Vec<Server> {
    let supervises = |it: &Status| running.iter().any(|ward| ward.guard == Some(it.pid));
    let guard = |it: &Status| running.iter().find(|guard| it.guard == Some(guard.pid)).cloned();
    let servers = running.iter().filter(|it| !supervises(it));
    servers.map(|it| Server { status: it.clone(), guard: guard(it) }).collect()
}

/// The one of them that is meant. `flag` stands before a process number on the command line, `none` tells of those
/// that could be meant.
///
/// # Errors
/// There is none, or there are several.
pub(crate) fn one(
    mut servers: Vec<Server>,
    pid: Option<u32>,
    config: Option<&Path>,
    flag: &str,
    none: &str,
) -> Result<Server, Box<dyn Error>> {
    if let Some(pid) = pid {
        servers.retain(|server| server.has(pid));
    }
    if let Some(config) = config {
        let path = fs::canonicalize(config).map_err(|error| format!("{}: {error}", config.display()))?;
        servers.retain(|server| server.status.config.as_ref() == Some(&path));
    }
    match &servers[..] {
        [one] => Ok(one.clone()),
        [] => Err(format!("there is no such server: {none}").into()),
        several => {
            let line = |server: &Server| format!("\n  {flag}{}  {}", server.stopped_by().pid, server.what());
            let list: String = several.iter().map(line).collect();
            Err(format!("there are several servers; say which one:{list}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pid: u32, guard: Option<u32>, serves: &[&str]) -> Status {
        let serves = serves.iter().map(ToString::to_string).collect();
        let (door, config) = (String::new(), None);
        Status { schema: 2, pid, guard, door, serves, config, begun: 0, done: 0, last: None, failed: None }
    }

    #[test]
    fn a_supervisor_and_its_ward_are_one() {
        let running =
            [status(1, None, &["a"]), status(2, None, &[]), status(3, Some(2), &["b", "c"]), status(4, None, &[])];
        let servers = paired(&running);
        let asked: Vec<_> = servers.iter().map(|it| (it.stopped_by().pid, it.status.pid, it.what())).collect();
        let waits = "supervises, and serves nothing now".to_owned();
        assert_eq!(asked, [(1, 1, "a".to_owned()), (2, 3, "b, c".to_owned()), (4, 4, waits)]);
        for pid in [2, 3] {
            let found = one(servers.clone(), Some(pid), None, "", "").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.stopped_by().pid, 2);
        }
        let which = one(servers.clone(), None, None, "--pid ", "").err().expect("there are three").to_string();
        assert!(which.ends_with("one:\n  --pid 1  a\n  --pid 2  b, c\n  --pid 4  supervises, and serves nothing now"));
        let none = one(servers, Some(5), None, "", "so it is").err().expect("it is not there").to_string();
        assert_eq!(none, "there is no such server: so it is");
    }
}
