//! `qpair zones open, close, finish, reset, offline`: one verb each, and the same for all of them.

use block::{Device, WhichZone, ZoneAction, Zoned};

use super::{Cut, Said, not_native, report, start, trouble, words, zoned};
use crate::data::guard::{self, Force};
use crate::data::trouble::{Trouble, help};
use crate::data::{Way, close, number, open, stopped};

/// Which zones of which device.
#[derive(clap::Args, Clone, Debug)]
struct Which {
    /// A zoned namespace (/dev/ngXnY, nvme-tcp://HOST/NQN?ns=N) or block device
    #[arg(value_name = "DEVICE")]
    device: String,

    /// The zone that starts with this logical block; 0x before it makes the number hexadecimal
    #[arg(long, value_name = "LBA", value_parser = number, required_unless_present = "all")]
    zone: Option<u64>,

    /// So many zones from that one on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "zone")]
    count: Option<u64>,

    /// All zones, by one command: those whose state allows it
    #[arg(long, conflicts_with = "zone")]
    all: bool,
}

/// A verb: its name and help, and what it does.
macro_rules! verb {
    ($name:ident, $action:expr, $destroys:expr, $help:expr) => {
        #[doc = $help]
        #[derive(clap::Args, Clone, Debug)]
        #[command(after_long_help = EXAMPLES)]
        pub(super) struct $name {
            #[command(flatten)]
            which: Which,

            #[command(flatten)]
            force: Force,
        }

        impl $name {
            /// Runs the verb.
            pub(super) fn run(&self) -> Said {
                change(&Change { which: &self.which, force: &self.force, action: $action, destroys: $destroys })
            }
        }
    };
}

const EXAMPLES: &str = help!(
    "\
What destroys - finish, reset, offline - refuses a device that is mounted, in use or partitioned without --force.
Several zones are done one after the other; after an error or Ctrl-C it says which are.

Examples:
  qpair zones open /dev/ng0n1 --zone 0x8000
  qpair zones finish /dev/ng0n1 --zone 0 --count 4 --dry-run
  qpair zones reset /dev/nvme0n1 --all"
);

verb!(Open, ZoneAction::Open, false, "Open zones, so that they stay open until they are closed");
verb!(Close, ZoneAction::Close, false, "Close zones: what an open one takes is free for others");
verb!(Finish, ZoneAction::Finish, true, "Finish zones: nothing more can be written until a reset");
verb!(Reset, ZoneAction::Reset, true, "Reset zones: DESTROYS what they hold, and they are empty");
verb!(Offline, ZoneAction::Offline, true, "Take read-only zones offline: DESTROYS what they hold, for good");

struct Change<'a> {
    which: &'a Which,
    force: &'a Force,
    action: ZoneAction,
    /// What the zones hold, or that they can be written to.
    destroys: bool,
}

fn change(change: &Change<'_>) -> Said {
    let &Change { which, force, destroys, .. } = change;
    if destroys {
        guard::check(&which.device, force)?;
    }
    // What destroys nothing is for those who use the device, too.
    let in_use = force.force || !destroys;
    let device = open(&which.device, Way { read_only: force.dry_run, in_use, ..Way::default() })?;
    let text = change.on(&*device)?;
    close(&*device)?;
    Ok(text)
}

impl Change<'_> {
    fn on(&self, device: &dyn Device) -> Said {
        let &Self { which, force, action, .. } = self;
        let mut zoned = zoned(device)?;
        let name = &device.info().name;
        if zoned.nsid().is_none() && action == ZoneAction::Offline {
            return Err(not_native(&which.device, "zones that are taken offline").into());
        }
        let (first, count) = match which.zone {
            Some(lba) => (start(&zoned, device, lba)?, which.count.unwrap_or(1)),
            None => (0, zoned.facts().zones),
        };
        let left = zoned.facts().zones - first / zoned.facts().zone_blocks;
        if count > left {
            let why = format!("{count} zones from block {first:#x} on are more than the {left} that {name} has there");
            return Err(Trouble::usage(why, format!("Write --count {left} at most, or --all.")).into());
        }
        if force.dry_run {
            return self.planned(&mut zoned, first, count, name);
        }
        let verb = verb(action);
        if which.all {
            let done = zoned.act(action, WhichZone::All);
            done.map_err(|error| trouble(format!("{verb} all zones of {name}"), error))?;
            return Ok(String::new());
        }
        crate::signals::watch(|| {}).map_err(|source| Trouble::host("listen for signals", source))?;
        let size = zoned.facts().zone_blocks;
        for done in 0..count {
            let lba = first + done * size;
            let what = || format!("{verb} {} of {name}", words(&zoned, lba, 1));
            let what = what();
            let failed = if stopped() {
                Some(Trouble::Stopped)
            } else {
                zoned.act(action, WhichZone::At(lba)).err().map(|error| trouble(what, error))
            };
            if let Some(trouble) = failed {
                return Err(self.after(trouble, &zoned, first, done));
            }
        }
        Ok(String::new())
    }

    /// What is done of several, before something went wrong.
    fn after(&self, trouble: Trouble, zoned: &Zoned<'_>, first: u64, done: u64) -> Cut {
        match done {
            0 => trouble.into(),
            _ => trouble.after(format!("Done before that: {}.", words(zoned, first, done))).into(),
        }
    }

    /// What would be done.
    fn planned(&self, zoned: &mut Zoned<'_>, first: u64, count: u64, name: &str) -> Said {
        let found = zoned.report(first, count);
        let zones = found.map_err(|error| trouble(format!("read the zones of {name}"), error))?;
        let mut text = format!("would {} {} of {name}", verb(self.action), words(zoned, first, count));
        if self.which.all {
            text += ", those whose state allows it";
        }
        text.push('\n');
        for zone in &zones {
            text += &format!("  {:#x}  {}\n", zone.zslba.get(), report::short(zone));
        }
        Ok(text)
    }
}

/// What is done, in sentences.
fn verb(action: ZoneAction) -> &'static str {
    match action {
        ZoneAction::Open => "open",
        ZoneAction::Close => "close",
        ZoneAction::Finish => "finish",
        ZoneAction::Reset => "reset",
        ZoneAction::Offline => "take offline",
    }
}
