//! The devices that are open, and which of them a new configuration goes on to use.
//!
//! ```text
//!   a namespace of the new configuration
//!     the same device at the same place (subsystem and ID) was there   it stays
//!     a file that was served somewhere else, in the same way           it moves: the same device, with its lock
//!     a file that was served in another way (ro, bs, uuid)             refused: its lock is ours until it has gone
//!     anything else                                                    opened
//! ```
//!
//! Memory never moves: the next owner of its place must not read what another one wrote. Sizes are no part of what a
//! device is: those that stay are looked at again, and grow.

use std::fs;
use std::sync::Arc;

use block::spec::{Defaults, Spec};
use block::{Device, OpenError, Zoned};
use wire::nvme::Nqn;

use crate::config::{Config, Namespace, Problem, Source};

/// A device that is open, and where it is served.
#[derive(Clone)]
pub(super) struct Open {
    nqn: Option<Nqn>,
    nsid: u32,
    /// Without its size.
    spec: Spec,
    pub(super) device: Arc<dyn Device>,
}

/// The devices of a configuration, subsystem by subsystem, in its order.
#[derive(Clone, Default)]
pub(super) struct Devices(pub(super) Vec<Vec<Open>>);

impl Devices {
    /// The devices for `config`: those of `self` that stay, and new ones. Nothing is different for those that stay
    /// before [`Devices::refresh`]; if it fails, what was opened is closed again.
    ///
    /// # Errors
    /// What cannot be opened, all of it.
    pub(super) fn next(&self, config: &Config, source: Source) -> Result<Self, Vec<Problem>> {
        let (mut next, mut problems) = (Vec::new(), Vec::new());
        for (at, subsystem) in config.subsystems.iter().enumerate() {
            let mut open = Vec::new();
            for (index, namespace) in subsystem.namespaces.iter().enumerate() {
                let wanted = Wanted::new(subsystem.nqn, namespace);
                match self.find(&wanted).unwrap_or_else(|| self.open(namespace, source)) {
                    Ok(device) => open.push(wanted.open(device)),
                    Err((key, error)) => problems.push(problem(at, index, key, error)),
                }
            }
            next.push(open);
        }
        if problems.is_empty() { Ok(Self(next)) } else { Err(problems) }
    }

    fn all(&self) -> impl Iterator<Item = &Open> {
        self.0.iter().flatten()
    }

    /// The device that is open already; none if it has to be opened.
    fn find(&self, wanted: &Wanted) -> Option<Opened> {
        let there =
            self.all().find(|open| (open.nqn, open.nsid, &open.spec) == (wanted.nqn, wanted.nsid, &wanted.spec));
        let path = wanted.spec.target.path();
        let moved = || self.all().find(|open| path.is_some() && open.spec == wanted.spec);
        if let Some(open) = there.or_else(moved) {
            return Some(Ok(open.device.clone()));
        }
        let other = self.all().find(|open| path.is_some() && open.spec.target.path() == path)?;
        let error = OpenError {
            device: other.spec.name.clone(),
            why: "it is served with other options, and these cannot change meanwhile".to_owned(),
            hint: "Take the namespace out and reload; then put it in as it is to be, and reload again.".to_owned(),
            source: None,
        };
        Some(Err(("device", error)))
    }

    fn open(&self, namespace: &Namespace, source: Source) -> Opened {
        let mut spec = namespace.spec.clone();
        // A file says what is wanted: an image that is smaller grows, as it would while it is served. Flags are for one
        // time: there a size that does not fit is more likely a mistake.
        let smaller = spec.target.path().and_then(|path| fs::metadata(path).ok()).is_some_and(|found| found.len() > 0);
        let want = spec.options.size.take_if(|_| source == Source::File && smaller);
        let device = spec.open(&Defaults::default()).map_err(|error| ("device", error))?;
        if let Some(why) = device.waits() {
            return Err(("device", would_wait(&spec, &why)));
        }
        if is_zoned(&*device) {
            return Err(("device", in_sequence_only(&spec)));
        }
        if want.is_some() {
            device.refresh(want).map_err(|error| ("size", error))?;
        }
        if let Some(remark) = device.remark() {
            tracing::warn!("{}: {remark}", spec.name);
        }
        Ok(device)
    }

    /// Looks at the devices that stay: they have grown, or are to grow.
    ///
    /// # Errors
    /// Those that cannot. Others may have grown nevertheless; hosts are not told before the configuration is in force.
    pub(super) fn refresh(&self, config: &Config) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, (subsystem, open)) in config.subsystems.iter().zip(&self.0).enumerate() {
            for (index, (namespace, open)) in subsystem.namespaces.iter().zip(open).enumerate() {
                if let Err(error) = open.device.refresh(namespace.spec.options.size) {
                    problems.push(problem(at, index, "size", error));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// A device, or the key that is to blame and why.
type Opened = Result<Arc<dyn Device>, (&'static str, OpenError)>;

/// A namespace as it is looked for.
struct Wanted {
    nqn: Option<Nqn>,
    nsid: u32,
    spec: Spec,
}

impl Wanted {
    fn new(nqn: Option<Nqn>, namespace: &Namespace) -> Self {
        let mut spec = namespace.spec.clone();
        spec.options.size = None;
        Self { nqn, nsid: namespace.nsid, spec }
    }

    fn open(self, device: Arc<dyn Device>) -> Open {
        Open { nqn: self.nqn, nsid: self.nsid, spec: self.spec, device }
    }
}

/// The configuration knows of paths that always wait; of others it depends on the device.
fn would_wait(spec: &Spec, why: &str) -> OpenError {
    OpenError {
        device: spec.name.clone(),
        why: format!("{why}, and all hosts of a reactor would wait with it"),
        hint: "Leave path= out, or choose one that does not wait.".to_owned(),
        source: None,
    }
}

/// Whether the device has zones. One that does not answer the question is served like any other.
fn is_zoned(device: &dyn Device) -> bool {
    Zoned::open(device).is_ok_and(|zones| zones.is_some())
}

/// Hosts of a target without zones write where they like.
fn in_sequence_only(spec: &Spec) -> OpenError {
    OpenError {
        device: spec.name.clone(),
        why: "it has zones, which are written in sequence only, and hosts would not know".to_owned(),
        hint: "Zones are for qpair zones, write, copy and bench on this machine.".to_owned(),
        source: None,
    }
}

fn problem(subsystem: usize, namespace: usize, key: &str, error: OpenError) -> Problem {
    let OpenError { device, why, hint, .. } = error;
    Problem::new(format!("subsystem[{subsystem}].namespace[{namespace}].{key}"), format!("{device}: {why}"), hint)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// One subsystem with these lines of namespaces.
    fn config(subsystems: &[&[&str]]) -> Config {
        let mut text = String::new();
        for (index, devices) in subsystems.iter().enumerate() {
            text += &format!("[[subsystem]]\nnqn = \"nqn.{index}\"\n");
            for device in *devices {
                text += &format!("[[subsystem.namespace]]\n{device}\n");
            }
        }
        Config::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    fn next(devices: &Devices, config: &Config) -> Result<Devices, Vec<Problem>> {
        let next = devices.next(config, Source::File)?;
        next.refresh(config)?;
        Ok(next)
    }

    fn same(a: &Open, b: &Open) -> bool {
        Arc::ptr_eq(&a.device, &b.device)
    }

    /// As a string of TOML has it, where a backslash is written twice.
    fn image(dir: &Path, name: &str) -> String {
        dir.join(name).display().to_string().replace('\\', "\\\\")
    }

    /// A path that waits on this device only is found when the device is there.
    #[test]
    fn a_device_that_would_wait_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = config(&[&[&format!("device = \"{},size=1MiB\"", image(dir.path(), "a"))]]);
        config.subsystems[0].namespaces[0].spec.options.path = Some(block::path::Path::Sync);
        let problems = next(&Devices::default(), &config).err().expect("it waits");
        let said = format!("{:?}", problems[0]);
        assert!(said.contains("namespace[0].device") && said.contains("all hosts of a reactor would wait"), "{said}");
    }

    #[test]
    fn what_is_the_same_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = format!("device = \"{},size=1MiB\"", image(dir.path(), "a"));
        let memory = "device = \"ram:1MiB\"\nnsid = 7";
        let first = next(&Devices::default(), &config(&[&[&file, memory]])).expect("they open");
        let second = next(&first, &config(&[&[memory, &file, "device = \"ram:1MiB\""]])).expect("they open");
        assert!(same(&first.0[0][0], &second.0[0][1]) && same(&first.0[0][1], &second.0[0][0]));
        assert!(!same(&first.0[0][1], &second.0[0][2]), "another disk of memory");
    }

    #[test]
    fn files_move_and_memory_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = format!("device = \"{},size=1MiB\"", image(dir.path(), "a"));
        let first = next(&Devices::default(), &config(&[&[&file, "device = \"ram:1MiB\""], &[]])).expect("they open");
        let second = next(&first, &config(&[&[], &[&file, "device = \"ram:1MiB\""]])).expect("they open");
        assert!(same(&first.0[0][0], &second.0[1][0]));
        assert!(!same(&first.0[0][1], &second.0[1][1]), "the other hosts must not see what was written there");
    }

    #[test]
    fn other_options_are_refused_while_the_file_is_served() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = image(dir.path(), "a");
        let first =
            next(&Devices::default(), &config(&[&[&format!("device = \"{file},size=1MiB\"")]])).expect("it opens");
        let Err(problems) = next(&first, &config(&[&[&format!("device = \"{file}\"\nread-only = true")]])) else {
            panic!("it cannot change")
        };
        assert_eq!(problems[0].field, "subsystem[0].namespace[0].device");
        assert!(problems[0].why.contains("other options"), "{problems:?}");
    }

    #[test]
    fn all_that_cannot_be_opened_is_told() {
        let Err(problems) =
            next(&Devices::default(), &config(&[&["device = \"/nowhere/a\"", "device = \"/nowhere/b\""]]))
        else {
            panic!("they are not there")
        };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["subsystem[0].namespace[0].device", "subsystem[0].namespace[1].device"]);
        assert!(problems[0].why.starts_with("/nowhere/a: there is no such file"), "{problems:?}");
    }

    #[test]
    fn sizes_grow_while_served_and_at_the_start_and_never_shrink() {
        let dir = tempfile::tempdir().expect("a directory");
        let sized = |size: &str| config(&[&[&format!("device = \"{}\"\nsize = \"{size}\"", image(dir.path(), "a"))]]);
        let bytes = |devices: &Devices| devices.0[0][0].device.blocks() * 512;
        let first = next(&Devices::default(), &sized("1MiB")).expect("it is made");
        let second = next(&first, &sized("2MiB")).expect("it grows");
        assert!(same(&first.0[0][0], &second.0[0][0]));
        assert_eq!(bytes(&second), 2 << 20);
        let Err(problems) = next(&second, &sized("1MiB")) else { panic!("it cannot shrink") };
        assert_eq!(problems[0].field, "subsystem[0].namespace[0].size");
        drop((first, second));
        let third = next(&Devices::default(), &sized("3MiB")).expect("it grows at the start, too");
        assert_eq!(bytes(&third), 3 << 20);
        fs::File::options()
            .write(true)
            .open(dir.path().join("a"))
            .and_then(|file| file.set_len(4 << 20))
            .expect("longer");
        let extended = config(&[&[&format!("device = \"{}\"", image(dir.path(), "a"))]]);
        assert_eq!(bytes(&next(&third, &extended).expect("it was extended")), 4 << 20);
    }
}
