//! What a running server tells other commands of its user: what it serves by which configuration, how one reaches it,
//! and how its last reload went.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/qpair, for root /run/qpair, else /tmp/qpair-UID; on Windows %LOCALAPPDATA%\qpair:
//!   nobody else can enter it
//!     serve-PID.json    Status; replaced as a whole
//!     serve-PID.lock    locked as long as the process lives: what is not is left over from a crash
//! ```
//!
//! A process that was killed leaves both behind, and its number may be another's by now. The lock tells: it went with
//! the process that had it. One that stops in order removes both, unless something went wrong: then the file says what.
//!
//! A reload has a number. Whoever asks for one reads how many have begun, sends the signal and waits for a higher
//! number to be done: one that began before may have read the file before it was changed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use machine::os::{self, Wish};
use nvmf::{Changed, Changes};
use serde::{Deserialize, Serialize};

use crate::config::Mistake;
use crate::limits::{STATUS_BYTES, STATUS_INTERVAL};

/// Version of the file. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 2;

/// What a running server tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this structure.
    pub schema: u32,
    /// The process.
    pub pid: u32,
    /// Of a supervised process: the one that supervises it.
    pub guard: Option<u32>,
    /// Where it hears wishes: [`os::Process::ask`].
    pub door: String,
    /// What it serves, such as `nvme-tcp 127.0.0.1:4420`. A supervisor serves nothing itself.
    pub serves: Vec<String>,
    /// Its configuration file, if it has one: then it can be reloaded.
    pub config: Option<PathBuf>,
    /// Reloads that have begun.
    pub begun: u64,
    /// Reloads that are done.
    pub done: u64,
    /// How the last one went.
    pub last: Option<Outcome>,
    /// What went wrong when it stopped.
    pub failed: Option<String>,
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its number, from 1.
    pub number: u64,
    /// Whether the file is in force now. If not, nothing has changed.
    pub ok: bool,
    /// What is different, one sentence each.
    pub changes: Vec<String>,
    /// Why the file is not in force.
    pub mistakes: Vec<Mistake>,
    /// Why it could not even be read.
    pub error: Option<String>,
}

/// The telling end: belongs to the server.
pub struct Beacon {
    dir: PathBuf,
    status: Status,
    /// Held for as long as the process lives.
    _lock: File,
}

impl Beacon {
    /// Tells from now on that this process serves this, by the file `config`, and is reached at `door`.
    ///
    /// # Errors
    /// The directory or the files in it cannot be made.
    pub fn light(door: &str, serves: Vec<String>, config: Option<&Path>) -> io::Result<Self> {
        Self::light_in(os::runtime_dir("qpair")?, door, serves, config)
    }

    fn light_in(dir: PathBuf, door: &str, serves: Vec<String>, config: Option<&Path>) -> io::Result<Self> {
        // Nobody else removes what those left who were killed, if nobody asks for anything.
        running_in(&dir)?;
        let pid = std::process::id();
        let config = config.map(fs::canonicalize).transpose()?;
        let lock = lock(&dir, pid)?;
        let (guard, door) = (os::guard(), door.to_owned());
        let status =
            Status { schema: SCHEMA, pid, guard, door, serves, config, begun: 0, done: 0, last: None, failed: None };
        let beacon = Self { dir, status, _lock: lock };
        beacon.write()?;
        Ok(beacon)
    }

    /// A reload begins: the file is not read yet. Its number.
    pub fn begin(&mut self) -> u64 {
        self.status.begun += 1;
        self.tell();
        self.status.begun
    }

    /// The reload is done, and this is served now.
    pub fn finish(&mut self, outcome: Outcome, serves: Vec<String>) {
        self.status.serves = serves;
        self.status.done = outcome.number;
        self.status.last = Some(outcome);
        self.tell();
    }

    /// The process ends, and not everything was as it should be. Whoever had it stop reads that, or the next who looks
    /// which servers run removes it.
    pub fn fail(mut self, why: String) {
        self.status.failed = Some(why);
        self.tell();
    }

    /// Whoever waits for news gets none if they cannot be written; the server goes on.
    fn tell(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, "cannot write {}", status_path(&self.dir, self.status.pid).display());
        }
    }

    fn write(&self) -> io::Result<()> {
        let path = status_path(&self.dir, self.status.pid);
        let new = path.with_extension("json.new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, &self.status)?;
        file.write_all(b"\n")?;
        drop(file);
        os::replace(&new, &path)
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        if self.status.failed.is_none() {
            remove(&self.dir, self.status.pid);
        }
    }
}

/// Makes the lock of this process and takes it. It has its name only then: who found it free before would remove it.
fn lock(dir: &Path, pid: u32) -> io::Result<File> {
    let path = lock_path(dir, pid);
    let new = path.with_extension("new");
    let lock = File::create(&new)?;
    if !os::lock_exclusive(&lock)? {
        return Err(io::Error::other(format!("{} is locked", new.display())));
    }
    os::replace(&new, &path)?;
    Ok(lock)
}

fn status_path(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("serve-{pid}.json"))
}

fn lock_path(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("serve-{pid}.lock"))
}

/// The lock goes last: without it nobody would see that the rest is left over.
fn remove(dir: &Path, pid: u32) {
    let _ = fs::remove_file(status_path(dir, pid));
    let _ = fs::remove_file(lock_path(dir, pid));
}

/// The servers of this user, and their supervisors. What crashed ones left is removed.
///
/// # Errors
/// The directory cannot be made or read.
pub fn running() -> io::Result<Vec<Status>> {
    running_in(&os::runtime_dir("qpair")?)
}

fn running_in(dir: &Path) -> io::Result<Vec<Status>> {
    let mut running = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("serve-")?.strip_suffix(".lock")?.parse().ok());
        let Some(pid) = pid else { continue };
        if lives(dir, pid) {
            running.extend(read(dir, pid).ok());
        } else {
            remove(dir, pid);
        }
    }
    running.sort_by_key(|status| status.pid);
    Ok(running)
}

/// Whether the process still holds its lock.
fn lives(dir: &Path, pid: u32) -> bool {
    File::open(lock_path(dir, pid)).and_then(|file| os::lock_exclusive(&file)).is_ok_and(|free| !free)
}

fn read(dir: &Path, pid: u32) -> io::Result<Status> {
    let mut bytes = Vec::new();
    File::open(status_path(dir, pid))?.take(STATUS_BYTES).read_to_end(&mut bytes)?;
    let status: Status = serde_json::from_slice(&bytes)?;
    if status.schema != SCHEMA || status.pid != pid {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version of qpair"));
    }
    Ok(status)
}

/// Why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be told.
    #[error("cannot reach process {0}: {1}")]
    Unreachable(u32, #[source] io::Error),
    /// It has ended meanwhile.
    #[error("process {0} ended before it had reloaded")]
    Ended(u32),
    /// It is not done in time; it may be later.
    #[error("process {0} is not done with it after {1:?}")]
    Late(u32, Duration),
}

/// A server that runs, to be asked for something. Its number cannot become another process' while this is there.
struct Running {
    dir: PathBuf,
    process: os::Process,
}

impl Running {
    fn find(status: &Status) -> Result<Self, AskError> {
        let pid = status.pid;
        let find = || {
            let running = Self { dir: os::runtime_dir("qpair")?, process: os::Process::open(pid)? };
            // In this order: the process that was opened is the one that has the lock, not a later one of that number.
            if lives(&running.dir, pid) { Ok(running) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
        };
        find().map_err(|error| AskError::Unreachable(pid, error))
    }

    fn ask(&self, status: &Status, wish: Wish) -> Result<(), AskError> {
        self.process.ask(&status.door, wish).map_err(|error| AskError::Unreachable(status.pid, error))
    }

    /// Waits for its end, at most so long.
    fn has_ended(&self, status: &Status, longest: Duration) -> Result<bool, AskError> {
        self.process.wait(longest).map_err(|error| AskError::Unreachable(status.pid, error))
    }
}

/// Has a server reload its file, and waits for the outcome.
///
/// # Errors
/// See [`AskError`]; a file with mistakes is an outcome, not an error.
pub fn reload(status: &Status, limit: Duration) -> Result<Outcome, AskError> {
    let (pid, deadline) = (status.pid, Instant::now() + limit);
    let running = Running::find(status)?;
    let before = read(&running.dir, pid).map_or(status.begun, |status| status.begun);
    running.ask(status, Wish::Reload)?;
    loop {
        if let Ok(Status { done, last: Some(outcome), .. }) = read(&running.dir, pid)
            && done > before
        {
            return Ok(outcome);
        }
        if running.has_ended(status, STATUS_INTERVAL)? {
            return Err(AskError::Ended(pid));
        }
        if Instant::now() >= deadline {
            return Err(AskError::Late(pid, limit));
        }
    }
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All was answered and is durable.
    Stopped,
    /// It stopped, and this went wrong.
    Failed(String),
    /// It was killed or crashed before it was done.
    Crashed,
}

/// Has a server stop, and waits until its process has ended. `asked` is who is told: the server, or its supervisor,
/// whose end is waited for as well.
///
/// # Errors
/// See [`AskError`].
pub fn stop(asked: &Status, server: &Status, limit: Duration) -> Result<Ended, AskError> {
    let deadline = Instant::now() + limit;
    let (told, serving) = (Running::find(asked)?, Running::find(server)?);
    told.ask(asked, Wish::Stop)?;
    for (running, status) in [(&told, asked), (&serving, server)] {
        if !running.has_ended(status, deadline.saturating_duration_since(Instant::now()))? {
            return Err(AskError::Late(status.pid, limit));
        }
    }
    let left = read(&serving.dir, server.pid);
    if left.is_ok() {
        remove(&serving.dir, server.pid);
    }
    Ok(left.map_or(Ended::Stopped, |left| left.failed.map_or(Ended::Crashed, Ended::Failed)))
}

/// What a change has changed, in one sentence each.
#[must_use]
pub fn sentences(changes: &Changes) -> Vec<String> {
    let mut all = Vec::new();
    let mut each = |what: &str, names: &[String]| all.extend(names.iter().map(|name| format!("{what} {name}")));
    each("added subsystem", &changes.subsystems_added);
    each("removed subsystem", &changes.subsystems_removed);
    let named = |changed: &[Changed]| -> Vec<String> {
        changed.iter().map(|it| format!("namespace {} of {}: {}", it.nsid, it.nqn, it.device)).collect()
    };
    each("added", &named(&changes.namespaces_added));
    each("removed", &named(&changes.namespaces_removed));
    each("resized", &named(&changes.namespaces_resized));
    let addresses = |list: &[std::net::SocketAddr]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    each("listening on", &addresses(&changes.listeners_added));
    each("no longer listening on", &addresses(&changes.listeners_removed));
    if changes.controllers_ended > 0 {
        all.push(format!("ended {} controllers", changes.controllers_ended));
    }
    if changes.draining {
        all.push("devices that went still have requests: they are closed when qpair stops".to_owned());
    }
    all.extend(changes.close_errors.iter().cloned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(number: u64) -> Outcome {
        Outcome { number, ok: true, changes: vec!["added namespace 2".into()], mistakes: Vec::new(), error: None }
    }

    #[test]
    fn a_server_is_found_and_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("qpair.toml");
        fs::write(&config, "").expect("it is written");
        let light = || Beacon::light_in(dir.path().to_owned(), "door", vec!["cache".to_owned()], Some(&config));
        let mut beacon = light().expect("it is made");
        let running = || running_in(dir.path()).expect("it is read");
        let [status] = &running()[..] else { panic!("it runs") };
        assert_eq!((status.pid, status.begun, status.done), (std::process::id(), 0, 0));
        assert_eq!(status.config, Some(fs::canonicalize(&config).expect("it is there")));
        assert_eq!((&status.door[..], &status.serves[..]), ("door", &["cache".to_owned()][..]));
        assert_eq!(beacon.begin(), 1);
        assert_eq!((running()[0].begun, running()[0].done), (1, 0));
        beacon.finish(outcome(1), vec!["cache".to_owned()]);
        assert_eq!((running()[0].done, &running()[0].last), (1, &Some(outcome(1))));
        drop(beacon);
        let left = || fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!((running(), left()), (vec![], 1), "only the configuration is left");
        light().expect("it is made").fail("a disk is full".to_owned());
        let said = read(dir.path(), std::process::id()).expect("it is still there");
        assert_eq!(said.failed.as_deref(), Some("a disk is full"));
        assert_eq!((running(), left()), (vec![], 1));
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["serve-4000000.lock", "serve-4000000.json", "serve-x.lock", "other"] {
            fs::write(dir.path().join(name), "{}").expect("it is written");
        }
        assert!(running_in(dir.path()).expect("it is read").is_empty());
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).expect("it is there").flatten().map(|it| it.file_name()).collect();
        left.sort();
        assert_eq!(left, ["other", "serve-x.lock"]);
    }

    #[test]
    fn changes_are_told_one_by_one() {
        assert!(sentences(&Changes::default()).is_empty());
        let listener = "127.0.0.1:4420".parse().expect("an address");
        let changes = Changes {
            subsystems_removed: vec!["nqn.a".into()],
            listeners_added: vec![listener],
            controllers_ended: 2,
            ..Changes::default()
        };
        assert_eq!(
            sentences(&changes),
            ["removed subsystem nqn.a", "listening on 127.0.0.1:4420", "ended 2 controllers"]
        );
    }
}
