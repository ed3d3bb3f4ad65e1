//! lab/vmlab: a real Linux kernel in an emulated machine. Whether it can run here, its setup, one boot.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
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
    /// Whether the kernel joins the controllers of one subsystem, as it usually does.
    pub(crate) multipath: bool,
    /// The guest is killed after this.
    pub(crate) limit: Duration,
}

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
    pub(crate) fn run(&self, report: &mut Report, mut tick: impl FnMut() -> Result<(), String>) -> Result<(), String> {
        let mut command = vmlab();
        command.arg("run");
        if !self.multipath {
            command.args(["--append", "nvme_core.multipath=N"]);
        }
        command.args(["--module", "nvme_tcp", "--timeout", &self.limit.as_secs().to_string()]);
        if let Some(dir) = self.shared.map(Shared::path) {
            command.arg("--rw").arg(dir).arg("--env").arg(format!("SHARED={}", dir.display()));
        }
        for (name, value) in &self.variables {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.args(["--", "sh", &format!("lab/tests/{}.sh", self.script)]).stdout(Stdio::piped());
        let mut vmlab = command.spawn().map_err(|e| format!("cannot run python3: {e}"))?;
        let output = BufReader::new(vmlab.stdout.take().expect("it was asked for"));
        let (failed, status) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.collect(report, output));
            let status = loop {
                if let Some(status) = vmlab.try_wait().map_err(|e| e.to_string())? {
                    break status;
                }
                if let Err(why) = tick() {
                    // SIGTERM, so that it takes its QEMU along.
                    super::target::terminate(vmlab.id())?;
                    vmlab.wait().map_err(|e| e.to_string())?;
                    return Err(why);
                }
                std::thread::sleep(Duration::from_millis(100));
            };
            Ok((reader.join().expect("the reader does not panic"), status))
        })?;
        match status.code() {
            Some(0) if failed == 0 => Ok(()),
            Some(124) => Err(format!("the guest was not done after {} s", self.limit.as_secs())),
            Some(125) => Err("the lab failed".to_owned()),
            _ if failed > 0 => Ok(()), // already noted, step by step
            _ => Err(format!("lab/tests/{}.sh: {status}", self.script)),
        }
    }

    /// Prints what the guest says and notes the steps; returns how many failed.
    fn collect(&self, report: &mut Report, output: impl BufRead) -> usize {
        let mut failed = 0;
        for line in output.lines().map_while(Result::ok) {
            println!("{line}");
            let Some((outcome, name, took)) = parse_step(&line) else { continue };
            failed += usize::from(matches!(outcome, Outcome::Failed(_)));
            report.note(&format!("{}: {name}", self.name), outcome, took);
        }
        failed
    }
}

/// `ok NAME (1.5 s)` or `FAIL NAME (0.3 s, status 1)`, as lab/tests/lib.sh prints them.
fn parse_step(line: &str) -> Option<(Outcome, &str, Duration)> {
    let (outcome, rest) = if let Some(rest) = line.strip_prefix("ok ") {
        (Outcome::Passed, rest)
    } else {
        (Outcome::Failed("see above".to_owned()), line.strip_prefix("FAIL ")?)
    };
    let (name, took) = rest.rsplit_once(" (")?;
    let seconds: f64 = took.split(" s").next()?.parse().ok()?;
    Some((outcome, name, Duration::try_from_secs_f64(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        let (outcome, name, took) = parse_step("ok fio (4 KiB) (1.5 s)").expect("a step");
        assert_eq!((outcome, name, took), (Outcome::Passed, "fio (4 KiB)", Duration::from_millis(1500)));
        let (outcome, name, _) = parse_step("FAIL discover (0.3 s, status 1)").expect("a step");
        assert_eq!((outcome, name), (Outcome::Failed("see above".to_owned()), "discover"));
        assert!(parse_step("    | ok is what it says").is_none());
        assert!(parse_step("ok, whatever").is_none());
    }
}
