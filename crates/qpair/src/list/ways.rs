//! Which paths lead to a device, and which of them can poll: found out by going them. A device is opened for reading,
//! and a queue on it.

use std::path::Path as FilePath;

use block::path::{Path, Polling};
use block::{OpenOptions, open};
use describe::Object;
use machine::ring::Ring;

/// A path, what of it polls, and why it does not work if it does not.
pub(crate) struct Way {
    path: Path,
    polling: Polling,
    why_not: Option<String>,
}

/// The ways to what has these two nodes in `/dev`.
pub(crate) fn ways(dev: &FilePath, block: Option<&str>, generic: Option<&str>) -> Vec<Way> {
    let polled: &[Polling] = &[
        Polling { iopoll: false, sqpoll: false },
        Polling { iopoll: true, sqpoll: false },
        Polling { iopoll: false, sqpoll: true },
    ];
    let each = Path::ALL.into_iter().flat_map(|path| {
        let polls = matches!(path, Path::Uring | Path::UringCmd);
        polled.iter().filter(move |polling| polls || !polling.any()).map(move |&polling| (path, polling))
    });
    let way = |(path, polling)| Way { path, polling, why_not: go(dev, (path, polling), block, generic).err() };
    each.map(way).collect()
}

/// The option that asks for it, with its comma.
fn option(polling: Polling) -> &'static str {
    match (polling.iopoll, polling.sqpoll) {
        (false, false) => "",
        (true, false) => ",iopoll",
        (false, true) => ",sqpoll",
        (true, true) => ",iopoll,sqpoll",
    }
}

/// # Errors
/// Why it does not work.
fn go(
    dev: &FilePath,
    (path, polling): (Path, Polling),
    block: Option<&str>,
    generic: Option<&str>,
) -> Result<(), String> {
    let node = if path.is_native() { generic } else { block };
    let Some(node) = node else {
        return Err(match path.is_native() {
            true => "it is no NVMe namespace with a character device (/dev/ng..., Linux 5.13 or later)".to_owned(),
            false => "the kernel has no block device for it".to_owned(),
        });
    };
    let node = dev.join(node);
    let name = format!("{},path={path}{}", node.display().to_string().replace(',', ",,"), option(polling));
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let device = open(&name, &options).map_err(|error| error.why)?;
    let mut ring = Ring::new().map_err(|error| format!("there is no ring: {error}"))?;
    let mut queue = device.open_queue(&mut ring).map_err(|error| error.to_string())?;
    queue.close(&mut ring);
    Ok(())
}

impl Way {
    /// For the tree: three keys.
    pub(crate) fn object(&self) -> Object {
        let mut object = Object::new();
        object.text("Path", &format!("{}{}", self.path, option(self.polling)));
        object.flag("Works", self.why_not.is_none());
        object.text("Why", self.why_not.as_deref().unwrap_or_default());
        object
    }
}
