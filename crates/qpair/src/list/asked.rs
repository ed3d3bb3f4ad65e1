//! What sysfs does not tell: the size of a namespace that has no block device, or one without blocks, because the
//! kernel cannot carry its metadata or its command set. The controller is asked, by users who may.

use std::path::Path;

use block::nvme::kernel::Controller;
use block::{Nvme, Transfer};
use wire::nvme::{IdentifyNamespace, Sqe, cns};
use zerocopy::{FromZeros, IntoBytes};

use super::sysfs::{Machine, Namespace};

/// Fills in what can be found out.
pub(super) fn fill_in(machine: &mut Machine, dev: &Path) {
    for subsystem in &mut machine.subsystems {
        let own = subsystem.controllers.iter_mut().flat_map(|one| &mut one.namespaces);
        for namespace in subsystem.namespaces.iter_mut().chain(own) {
            if matches!(namespace.bytes, None | Some(0))
                && let Some((generic, nsid)) = namespace.generic.as_ref().zip(namespace.nsid)
                && let Some(id) = identify(&dev.join(generic), nsid)
            {
                note(namespace, &id);
            }
        }
    }
}

fn identify(generic: &Path, nsid: u64) -> Option<Box<IdentifyNamespace>> {
    let mut id = IdentifyNamespace::new_box_zeroed().ok()?;
    let sqe = Sqe::identify(cns::NAMESPACE, u32::try_from(nsid).ok()?, 0, 0);
    Controller::open(generic).ok()?.admin(sqe, Transfer::In(id.as_mut_bytes())).ok()?;
    Some(id)
}

/// Takes over sizes that are ones.
fn note(namespace: &mut Namespace, id: &IdentifyNamespace) {
    let Some(block_bytes) = id.format().bytes().map(u64::from) else { return };
    if let Some(bytes) = id.nsze.get().checked_mul(block_bytes) {
        (namespace.bytes, namespace.block_bytes) = (Some(bytes), Some(block_bytes));
        namespace.used_blocks = Some(id.nuse.get());
    }
}

#[cfg(test)]
mod tests {
    use wire::nvme::LbaFormat;

    use super::*;

    #[test]
    fn sizes_that_are_none_are_left_out() {
        let empty = Namespace { bytes: Some(0), block_bytes: Some(512), used_blocks: Some(7), ..Namespace::default() };
        let mut id = IdentifyNamespace::new_zeroed();
        (id.nsze, id.nuse, id.lbaf[0]) = (100.into(), 90.into(), LbaFormat::of_bytes(4096));
        let noted = |id: &IdentifyNamespace| {
            let mut namespace = empty.clone();
            note(&mut namespace, id);
            (namespace.bytes, namespace.block_bytes, namespace.used_blocks)
        };
        assert_eq!(noted(&id), (Some(409_600), Some(4096), Some(90)));
        id.nsze = u64::MAX.into();
        assert_eq!(noted(&id), (Some(0), Some(512), Some(7)));
        (id.nsze, id.lbaf[0].lbads) = (100.into(), 200);
        assert_eq!(noted(&id), (Some(0), Some(512), Some(7)));
    }
}
