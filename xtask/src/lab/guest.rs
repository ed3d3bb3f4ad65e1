//! lab/vmlab: a real Linux kernel in an emulated machine. Whether it can run here, its setup, one boot.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::shared::Shared;
use crate::report::{Outcome, Report};
use crate::{root, succeeds};

/// Why the lab cannot run.
pub(crate) enum Unready {
    /// This machine is not made for it.
    Unsuited(String),
    /// It should have worked.
    Broken(String),
}

/// Why a scenario did not end as it should.
pub(crate) enum Trouble {
    Failed(String),
    /// In this step the guest's kernel found one of its own pages in a wrong state; nothing failed (lab/README.md).
    BadPage(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// One boot of the guest that runs a script of lab/tests.
pub(crate) struct Boot<'a> {
    /// The script's name without `.sh`.
    pub(crate) script: &'a str,
    /// Of the scenario, in the report.
    pub(crate) name: &'a str,
    /// Environment variables.
    pub(crate) variables: Vec<(&'a str, String)>,
    /// Where the script may ask the host for something.
    pub(crate) shared: Option<&'a Shared>,
    /// Emulated NVMe controllers, as `vmlab run --nvme` has them, and what else it is given.
    pub(crate) machine: Vec<String>,
    /// Whether the kernel joins the controllers of one subsystem, as it usually does.
    pub(crate) multipath: bool,
    /// Whether it ends when QEMU is killed, and not by itself.
    pub(crate) cut: bool,
    /// The guest is killed after this.
    pub(crate) limit: Duration,
}

/// The exit status of vmlab when its QEMU was killed.
const POWER_CUT: i32 = 123;

/// The start of a vmlab command line.
pub(crate) fn vmlab() -> Command {
    let mut command = Command::new("python3");
    command.current_dir(root()).arg("lab/vmlab");
    command
}

/// Downloads what the lab needs unless it is there.
pub(crate) fn set_up() -> Result<(), Unready> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    let ready = cache.is_some_and(|dir| dir.join("vmlab/versions").exists());
    suited(ready).map_err(Unready::Unsuited)?;
    if ready {
        return Ok(());
    }
    println!("setting up the lab: about 200 MB of Debian packages, once");
    match succeeds(vmlab().arg("setup")) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unready::Broken("`lab/vmlab setup` failed, see above".to_owned())),
        Err(why) => Err(Unready::Broken(why)),
    }
}

/// The lab runs Debian's kernel and QEMU, unpacked from packages that apt-get downloads.
fn suited(ready: bool) -> Result<(), String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("the lab is made for x86-64".to_owned());
    }
    if !found("python3") {
        return Err("no python3".to_owned());
    }
    if ready {
        return Ok(());
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        return Err("not Debian".to_owned());
    }
    for tool in ["apt-get", "dpkg-deb", "tar"] {
        if !found(tool) {
            return Err(format!("no {tool}"));
        }
    }
    if package_lists() {
        return Ok(());
    }
    // A fresh container has none, and lets us fetch them.
    let superuser = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if superuser && succeeds(Command::new("apt-get").args(["-qq", "update"]))? && package_lists() {
        return Ok(());
    }
    Err("apt has no package lists: run `sudo apt-get update` once".to_owned())
}

fn package_lists() -> bool {
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.into_iter().any(|file| file.file_name().to_string_lossy().contains("_Packages"))
}

fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

impl Boot<'_> {
    /// Boots, runs the script, notes each of its steps in the report. `tick` is called a few times a second.
    ///
    /// # Errors
    /// Steps that failed are noted and no error. After [`Trouble::BadPage`] nothing is noted.
    pub(crate) fn run(&self, report: &mut Report, tick: impl FnMut() -> Result<(), String>) -> Result<(), Trouble> {
        let mut vmlab = self.command().spawn().map_err(|e| format!("cannot run python3: {e}"))?;
        let output = BufReader::new(vmlab.stdout.take().expect("it was asked for"));
        let (steps, end) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| collect(output));
            let end = attend(&mut vmlab, tick);
            (reader.join().expect("the reader does not panic"), end)
        });
        let failed = steps.iter().any(|step| matches!(step.said, Said::Failed));
        if let Some(step) = steps.iter().find(|step| step.said == Said::BadPage)
            && !failed
            && matches!(&end, Ok(status) if status.success() || self.cut && status.code() == Some(POWER_CUT))
        {
            return Err(Trouble::BadPage(step.name.clone()));
        }
        for Step { name, said, took } in steps {
            let outcome = if said == Said::Passed { Outcome::Passed } else { Outcome::Failed("see above".to_owned()) };
            report.note(&format!("{}: {name}", self.name), outcome, took);
        }
        let status = end?;
        match status.code() {
            Some(POWER_CUT) if self.cut => Ok(()),
            Some(POWER_CUT) => Err("somebody has killed QEMU".to_owned().into()),
            Some(124) => Err(format!("the guest was not done after {} s", self.limit.as_secs()).into()),
            Some(125) => Err("the lab failed".to_owned().into()),
            _ if failed => Ok(()),
            _ if status.success() && !self.cut => Ok(()),
            _ if status.success() => Err("the guest has ended before its power was cut".to_owned().into()),
            _ => Err(format!("lab/tests/{}.sh: {status}", self.script).into()),
        }
    }

    fn command(&self) -> Command {
        let mut command = vmlab();
        command.arg("run");
        if !self.multipath {
            command.args(["--append", "nvme_core.multipath=N"]);
        }
        command.args(["--module", "nvme_tcp", "--timeout", &self.limit.as_secs().to_string()]);
        if let Some(dir) = self.shared.map(Shared::path) {
            command.arg("--rw").arg(dir).arg("--env").arg(format!("SHARED={}", dir.display()));
        }
        command.args(&self.machine);
        for (name, value) in &self.variables {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.args(["--", "sh", &format!("lab/tests/{}.sh", self.script)]).stdout(Stdio::piped());
        command
    }
}

/// Calls `tick` until the guest has ended, or ends it after an error.
fn attend(vmlab: &mut Child, mut tick: impl FnMut() -> Result<(), String>) -> Result<ExitStatus, String> {
    loop {
        if let Some(status) = vmlab.try_wait().map_err(|e| e.to_string())? {
            return Ok(status);
        }
        if let Err(why) = tick() {
            // SIGTERM, so that it takes its QEMU along.
            super::target::terminate(vmlab.id())?;
            vmlab.wait().map_err(|e| e.to_string())?;
            return Err(why);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the guest said about a step.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: String,
    said: Said,
    took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Passed,
    Failed,
    BadPage,
}

/// Prints what the guest says; the steps in it.
fn collect(output: impl BufRead) -> Vec<Step> {
    let lines = output.lines().map_while(Result::ok).inspect(|line| println!("{line}"));
    lines.filter_map(|line| parse_step(&line)).collect()
}

/// `ok NAME (1.5 s)`, `FAIL NAME (0.3 s, status 1)` or `BADPAGE NAME (1.2 s)`, as lab/tests/lib.sh prints them.
fn parse_step(line: &str) -> Option<Step> {
    let starts = [("ok ", Said::Passed), ("FAIL ", Said::Failed), ("BADPAGE ", Said::BadPage)];
    let (rest, said) = starts.iter().find_map(|(start, said)| Some((line.strip_prefix(start)?, *said)))?;
    let (name, took) = rest.rsplit_once(" (")?;
    let seconds: f64 = took.split(" s").next()?.parse().ok()?;
    Some(Step { name: name.to_owned(), said, took: Duration::try_from_secs_f64(seconds).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        let step = parse_step("ok fio (4 KiB) (1.5 s)").expect("a step");
        assert_eq!((step.said, &*step.name, step.took), (Said::Passed, "fio (4 KiB)", Duration::from_millis(1500)));
        let step = parse_step("FAIL discover (0.3 s, status 1)").expect("a step");
        assert_eq!((step.said, &*step.name), (Said::Failed, "discover"));
        assert_eq!(parse_step("BADPAGE reset (0.3 s)").map(|step| step.said), Some(Said::BadPage));
        assert!(parse_step("    | ok is what it says").is_none());
        assert!(parse_step("ok, whatever").is_none());
    }
}
