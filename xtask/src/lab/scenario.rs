//! What the host does for each script of lab/tests: the target that it needs, and what the script asks for meanwhile.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Ring;
use super::guest::{Boot, Trouble};
use super::metrics::Counts;
use super::pools::pools;
use super::scratch::Scratch;
use super::shared::Shared;
use super::system::Program;
use super::target::Target;
use crate::report::Report;

/// A script and its other half.
pub(crate) struct Scenario {
    /// The script's name without `.sh`.
    pub(super) script: &'static str,
    /// The kinds of rings that it runs on; the ordinary command takes the first.
    pub(super) rings: &'static [Ring],
    pub(super) run: fn(&mut Lab) -> Result<(), Trouble>,
}

const URING_FIRST: &[Ring] = &[Ring::Uring, Ring::Portable];
const PORTABLE_FIRST: &[Ring] = &[Ring::Portable, Ring::Uring];
/// The program for Windows takes it by itself.
const IN_WINE: &[Ring] = &[Ring::Iocp, Ring::Portable];
/// Of what does no I/O on files by rings.
const PORTABLE_ONLY: &[Ring] = &[Ring::Portable];

pub(super) const SCENARIOS: [Scenario; 13] = [
    Scenario { script: "blocks", rings: URING_FIRST, run: blocks },
    Scenario { script: "controller", rings: PORTABLE_FIRST, run: controller },
    Scenario { script: "data", rings: URING_FIRST, run: data },
    Scenario { script: "describe", rings: PORTABLE_FIRST, run: describe },
    Scenario { script: "devices", rings: URING_FIRST, run: devices },
    Scenario { script: "kill", rings: PORTABLE_FIRST, run: kill },
    Scenario { script: "passthru", rings: URING_FIRST, run: passthru },
    Scenario { script: "pools", rings: PORTABLE_ONLY, run: pools },
    Scenario { script: "reload", rings: URING_FIRST, run: reload },
    Scenario { script: "reservations", rings: PORTABLE_FIRST, run: reservations },
    Scenario { script: "vanish", rings: URING_FIRST, run: vanish },
    Scenario { script: "windows", rings: IN_WINE, run: windows },
    Scenario { script: "zones", rings: URING_FIRST, run: zones },
];

/// What a scenario works with.
pub(super) struct Lab<'a> {
    pub(super) report: &'a mut Report,
    pub(super) program: &'a Program,
    pub(super) full: bool,
    pub(super) ring: Ring,
    /// Of the scenario, in the report.
    pub(super) name: &'a str,
}

const NQN: &str = "nqn.2026-01.io.qpair:lab";
const GUARDED_NQN: &str = "nqn.2026-01.io.qpair:guarded";
const ALLOWED_HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-0000-4000-8000-000000000001";

/// On small machines there would be one.
const REACTORS: &str = "2";
/// How long a target stays away between its death and its return.
const ABSENCE: Duration = Duration::from_secs(1);
/// A target has let go of a host by then. Far above its keep-alive time-out: the machine may be busy.
const FORGET_LIMIT: Duration = Duration::from_secs(40);

impl<'a> Lab<'a> {
    /// `qpair serve` with the ring of this run, and with reactors that have to agree on something.
    fn serve(&self, arguments: &[&str], log: &Path) -> Result<Target, String> {
        let machine = ["--ring", self.ring.name(), "--reactors", REACTORS];
        Target::start(self.program, &[arguments, &machine].concat(), log)
    }

    /// A boot of this script. The guest is killed after `limit_s`.
    fn boot(&self, script: &'static str, target: &Target, limit_s: u64) -> Boot<'a> {
        let mut boot = self.boot_alone(script, limit_s);
        // The guest's 10.0.2.2 is the host's loopback.
        let port = target.port().to_string();
        boot.variables.extend([("ADDR", "10.0.2.2".to_owned()), ("PORT", port), ("NQN", NQN.to_owned())]);
        boot
    }

    /// The same of a script that needs no target.
    pub(super) fn boot_alone(&self, script: &'static str, limit_s: u64) -> Boot<'a> {
        let limit = Duration::from_secs(limit_s);
        let (variables, machine) = (Vec::new(), Vec::new());
        Boot { script, name: self.name, variables, shared: None, machine, multipath: true, cut: false, limit }
    }

    fn stop(&mut self, target: Target) {
        self.report.step(&format!("{}: the target ends when asked to", self.name), || target.stop());
    }
}

/// What the scripts expect: 1 a file, 2 memory with another block size, 3 read-only. The image of 3 is returned too.
fn three_namespaces(lab: &Lab, scratch: &Scratch) -> Result<(Target, PathBuf), String> {
    let fixed = scratch.file("read-only.img");
    noise(&fixed, 8 << 20)?;
    let read_only = format!("{},ro", fixed.display());
    let arguments = [&image(scratch), "ram:64MiB,bs=512", &read_only, "--nqn", NQN];
    Ok((lab.serve(&arguments, &scratch.file("qpair.log"))?, fixed))
}

/// A file of 128 MiB with blocks of 4096 bytes.
fn image(scratch: &Scratch) -> String {
    format!("{},bs=4096,size=128MiB", scratch.file("disk.img").display())
}

fn controller(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("controller")?;
    let (mut target, _) = three_namespaces(lab, &scratch)?;
    let guarded = ["ram:16MiB", "--nqn", GUARDED_NQN, "--allow-host", ALLOWED_HOST];
    let mut guard = lab.serve(&guarded, &scratch.file("guard.log"))?;
    let mut boot = lab.boot("controller", &target, 240);
    boot.variables.push(("GUARD_PORT", guard.port().to_string()));
    boot.variables.push(("GUARD_NQN", GUARDED_NQN.to_owned()));
    boot.variables.push(("ALLOWED", ALLOWED_HOST.to_owned()));
    boot.run(lab.report, || target.check_alive().and_then(|()| guard.check_alive()))?;
    lab.stop(target);
    lab.stop(guard);
    Ok(())
}

fn data(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("data")?;
    let (mut target, fixed) = three_namespaces(lab, &scratch)?;
    let mut boot = lab.boot("data", &target, if lab.full { 1800 } else { 300 });
    boot.variables.push(("READONLY", fixed.display().to_string()));
    boot.variables.push(("FULL", if lab.full { "1".to_owned() } else { String::new() }));
    boot.run(lab.report, || target.check_alive())?;
    lab.stop(target);
    Ok(())
}

fn kill(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("kill")?;
    let mut target = lab.serve(&[&image(&scratch), "--nqn", NQN], &scratch.file("qpair.log"))?;
    let shared = Shared::new(&scratch)?;
    let mut boot = lab.boot("kill", &target, if lab.full { 1200 } else { 240 });
    boot.variables.push(("KILLS", if lab.full { "20" } else { "3" }.to_owned()));
    boot.shared = Some(&shared);
    boot.run(lab.report, || {
        target.check_alive()?;
        shared.answer(|_| target.kill_and_restart(ABSENCE))
    })?;
    lab.stop(target);
    Ok(())
}

/// Drives that QEMU emulates: two plain namespaces; protection information, metadata; a zoned one.
const DRIVES: [&str; 3] = [
    "size=64M,bs=512+size=64M,bs=4096",
    "size=32M,bs=4096,ms=8,pi=1+size=32M,bs=4096,ms=64,mset=1",
    "size=64M,bs=4096,zoned=on,zoned.zone_size=4M",
];

/// Protection information in metadata of 64 bytes: at its end and at its beginning, apart and interleaved.
const PROTECTED: &str = "size=16M,bs=4096,ms=64,pi=1+size=16M,bs=4096,ms=64,pi=1,pil=1\
                         +size=16M,bs=4096,ms=64,pi=1,mset=1+size=16M,bs=4096,ms=64,pi=1,pil=1,mset=1";

/// The program in the guest, beside nvme-cli, on such drives and on a target.
fn describe(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("describe")?;
    let mut target = lab.serve(&[&image(&scratch), "--nqn", NQN], &scratch.file("qpair.log"))?;
    let mut boot = lab.boot("describe", &target, 300);
    boot.machine.extend(DRIVES.iter().flat_map(|drive| ["--nvme".to_owned(), (*drive).to_owned()]));
    boot.multipath = false;
    boot.variables.push(("QPAIR", lab.program.path().display().to_string()));
    boot.run(lab.report, || target.check_alive())?;
    lab.stop(target);
    Ok(())
}

/// The program in the guest, on block devices that the guest's kernel makes up.
fn blocks(lab: &mut Lab) -> Result<(), Trouble> {
    let mut boot = lab.boot_alone("blocks", 300);
    boot.variables.push(("QPAIR", lab.program.path().display().to_string()));
    boot.variables.push(("COMMANDS", lab.program.path().with_file_name("examples/commands").display().to_string()));
    boot.variables.push(("RING", lab.ring.name().to_owned()));
    boot.run(lab.report, || Ok(()))
}

/// The program itself in the guest, on such drives.
fn passthru(lab: &mut Lab) -> Result<(), Trouble> {
    let mut boot = lab.boot_alone("passthru", 300);
    boot.machine.extend(DRIVES.iter().flat_map(|drive| ["--nvme".to_owned(), (*drive).to_owned()]));
    let more = ["--nvme-pair", "size=64M,bs=4096", "--append", "nvme.poll_queues=1"];
    boot.machine.extend(more.map(str::to_owned));
    boot.variables.push(("QPAIR", lab.program.path().display().to_string()));
    boot.variables.push(("COMMANDS", lab.program.path().with_file_name("examples/commands").display().to_string()));
    boot.variables.push(("PROTECTION", lab.program.path().with_file_name("examples/protection").display().to_string()));
    boot.variables.push(("RING", lab.ring.name().to_owned()));
    boot.run(lab.report, || Ok(()))
}

/// The program in the guest, for what is beside reads and writes of a drive.
fn devices(lab: &mut Lab) -> Result<(), Trouble> {
    let mut boot = lab.boot_alone("devices", 300);
    let drives = [DRIVES[0], DRIVES[1], PROTECTED];
    boot.machine.extend(drives.iter().flat_map(|drive| ["--nvme".to_owned(), (*drive).to_owned()]));
    boot.machine.extend(["--nvme-pair", "size=64M,bs=4096"].map(str::to_owned));
    boot.variables.push(("QPAIR", lab.program.path().display().to_string()));
    boot.variables.push(("RING", lab.ring.name().to_owned()));
    boot.variables.push(("ADMIN", lab.program.path().with_file_name("examples/admin").display().to_string()));
    boot.variables.push(("PROTECTION", lab.program.path().with_file_name("examples/protection").display().to_string()));
    boot.run(lab.report, || Ok(()))
}

/// The program in the guest, on a zoned namespace and on a zoned block device that the script makes.
fn zones(lab: &mut Lab) -> Result<(), Trouble> {
    let mut boot = lab.boot_alone("zones", 300);
    let drive = "size=64M,bs=4096,zoned=on,zoned.zone_size=4M,zoned.max_active=6,zoned.max_open=4";
    boot.machine.extend(["--nvme", drive].map(str::to_owned));
    boot.variables.push(("QPAIR", lab.program.path().display().to_string()));
    boot.variables.push(("RING", lab.ring.name().to_owned()));
    boot.run(lab.report, || Ok(()))
}

/// The target follows a file that the guest has changed while it is connected.
fn reload(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("reload")?;
    let config = scratch.file("qpair.toml");
    let (ring, disk) = (lab.ring, scratch.file("disk.img"));
    let configure = |name: &str| {
        let text = configuration(name, ring, &disk);
        std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))
    };
    configure("start")?;
    let mut target = Target::follow(lab.program, &config, &scratch.file("qpair.log"))?;
    let shared = Shared::new(&scratch)?;
    let mut boot = lab.boot("reload", &target, 300);
    (boot.shared, boot.multipath) = (Some(&shared), false);
    boot.run(lab.report, || {
        target.check_alive()?;
        shared.answer(|name| {
            configure(name)?;
            let taken = target.reload()?;
            if taken == (name == "bad") {
                return Err(format!("the reload of `{name}` ended otherwise than it should"));
            }
            Ok(())
        })
    })?;
    lab.stop(target);
    Ok(())
}

/// The configurations of lab/tests/reload.sh.
fn configuration(name: &str, ring: Ring, image: &Path) -> String {
    let (size, more) = match name {
        "start" => ("size = \"64MiB\"", ""),
        "more" => ("", "device = \"ram:16MiB\""),
        "grown" => ("size = \"96MiB\"", ""),
        _ => ("", "device = \"rma:16MiB\""),
    };
    let more = if more.is_empty() { String::new() } else { format!("[[subsystem.namespace]]\nnsid = 2\n{more}\n") };
    // Without a size, the image keeps the one it has.
    format!(
        "ring = \"{}\"\nreactors = {REACTORS}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[subsystem]]\nnqn = \"{NQN}\"\n[[subsystem.namespace]]\nnsid = 1\ndevice = \"{}\"\n{size}\n{more}",
        ring.name(),
        image.display()
    )
}

fn reservations(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("reservations")?;
    // With its identity told, the kernel takes the memory for the same namespace after a kill.
    let memory = "ram:64MiB,uuid=0c7b5a2e-5f0d-4b8e-9a51-3d2f60c4e7a9";
    let mut target = lab.serve(&[&image(&scratch), memory, "--nqn", NQN], &scratch.file("qpair.log"))?;
    let shared = Shared::new(&scratch)?;
    let mut boot = lab.boot("reservations", &target, 300);
    (boot.shared, boot.multipath) = (Some(&shared), false);
    boot.run(lab.report, || {
        target.check_alive()?;
        shared.answer(|_| target.kill_and_restart(ABSENCE))
    })?;
    lab.stop(target);
    Ok(())
}

/// Hosts that are not heard of any more, and one that leaves: the target must have nothing of them.
fn vanish(lab: &mut Lab) -> Result<(), Trouble> {
    let scratch = Scratch::new("vanish")?;
    let arguments = [&image(&scratch), "ram:64MiB", "--nqn", NQN, "--metrics", "127.0.0.1:0"];
    let mut target = lab.serve(&arguments, &scratch.file("qpair.log"))?;
    let metrics = target.said().metrics().ok_or("the target does not say where its metrics are".to_owned())?;
    let fresh = Counts::read(metrics)?;
    let shared = Shared::new(&scratch)?;
    let mut boot = lab.boot("vanish", &target, 360);
    boot.shared = Some(&shared);
    let mut last = fresh.clone();
    boot.run(lab.report, || {
        target.check_alive()?;
        shared.answer(|how| {
            let now = quiet(metrics, &fresh)?;
            let timed_out = now.keep_alive_timeouts > last.keep_alive_timeouts;
            if timed_out != (how == "forgotten") || now.stalled > last.stalled {
                return Err(format!("`{how}`: not for the reason expected: before {last:?}, now {now:?}"));
            }
            last = now;
            Ok(())
        })
    })?;
    lab.stop(target);
    Ok(())
}

/// The target is the program for Windows, in Wine.
fn windows(lab: &mut Lab) -> Result<(), Trouble> {
    let Some(program) = crate::windows::program(lab.report, lab.name)? else { return Ok(()) };
    let scratch = Scratch::new("windows")?;
    let image = format!("{},bs=4096,size=128MiB", program.names(&scratch.file("disk.img")));
    let arguments = [&image, "ram:64MiB", "--nqn", NQN, "--ring", lab.ring.name(), "--reactors", REACTORS];
    let mut target = Target::start(&program, &arguments, &scratch.file("qpair.log"))?;
    let shared = Shared::new(&scratch)?;
    let mut boot = lab.boot("windows", &target, 300);
    boot.shared = Some(&shared);
    boot.run(lab.report, || {
        target.check_alive()?;
        shared.answer(|how| match how {
            "stop" => target.stop_and_restart(ABSENCE),
            _ => target.kill_and_restart(ABSENCE),
        })
    })?;
    lab.stop(target);
    Ok(())
}

/// Waits until the target is as it was before it saw a host.
fn quiet(metrics: std::net::SocketAddr, fresh: &Counts) -> Result<Counts, String> {
    let begun = Instant::now();
    loop {
        let now = Counts::read(metrics)?;
        if now.is_quiet(fresh) {
            return Ok(now);
        }
        if begun.elapsed() > FORGET_LIMIT {
            return Err(format!("something is left after {FORGET_LIMIT:?}: at first {fresh:?}, now {now:?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A file of bytes that nothing else holds.
fn noise(path: &Path, bytes: u64) -> Result<(), String> {
    use std::io::Read as _;
    let copy = || -> std::io::Result<()> {
        let mut source = std::fs::File::open("/dev/urandom")?.take(bytes);
        std::io::copy(&mut source, &mut std::fs::File::create(path)?)?;
        Ok(())
    };
    copy().map_err(|e| format!("{}: {e}", path.display()))
}
