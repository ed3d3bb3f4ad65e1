//! Random histories, played on a namespace and on an array of bytes.

use block::{Data, Device, Failure, Op, Range};
use proptest::prelude::*;

use crate::common::Rig;
use crate::device::{self, Model, Step, Way, bounded, config, histories, play, refuses_what_is_wrong};
use crate::remote;

const BLOCKS: u64 = 150;

/// Plays a history on a served device.
fn over_the_wire(name: &str, options: &str, history: &[Step]) {
    let rig = Rig::new(&[name]);
    let served = rig.device(1);
    let device = remote(&rig, 1, options);
    let mut model = Model::new(&device, served.info().kind == "null");
    model.uncorrectable = served.info().features.write_uncorrectable;
    play(&device, &mut model, history);
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn a_ram_disk(history in histories(BLOCKS, 40)) {
        over_the_wire("ram:75KiB,bs=512", "", &history);
    }

    #[test]
    fn a_ram_disk_with_digests_and_flow_control(history in histories(BLOCKS, 40)) {
        over_the_wire("ram:75KiB,bs=512", "&hdgst=1&ddgst=1&sqflow=1", &history);
    }

    #[test]
    fn a_file(history in histories(BLOCKS, 40)) {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        over_the_wire(&format!("{},size=75KiB,bs=512", dir.path().join("disk.img").display()), "", &history);
    }

    #[test]
    fn a_disk_that_forgets(history in histories(BLOCKS, 20)) {
        over_the_wire("null:75KiB,bs=512", "", &history);
    }

    #[test]
    fn a_disk_that_is_slow(history in histories(BLOCKS, 30)) {
        over_the_wire("fault:ram:75KiB,bs=512,rule=any:p=0.2:latency=1us-50us", "&depth=8", &history);
    }
}

#[test]
fn wrong_requests_end_as_on_any_device() {
    let rig = Rig::new(&["ram:75KiB,bs=512", "ram:75KiB,bs=512,ro"]);
    refuses_what_is_wrong(&remote(&rig, 1, ""));
    refuses_what_is_wrong(&remote(&rig, 2, ""));
    bounded(&remote(&rig, 1, ""), 500);
}

/// The host knows from Identify what there is, and of which size.
#[test]
fn features_and_limits_are_those_of_the_device() {
    let rig = Rig::new(&["ram:1MiB,bs=512", "null:1MiB,bs=4096"]);
    for nsid in [1, 2] {
        let (here, far) = (rig.device(nsid).info().features, remote(&rig, nsid, "").info().features);
        assert_eq!((far.compare, far.verify, far.copy), (true, true, here.copy));
    }
}

/// ONCS is of the controller. What a namespace cannot do although its controller can has the same name as elsewhere.
#[test]
fn what_one_namespace_cannot_do_is_not_supported() {
    let rig = Rig::new(&["ram:1MiB", "null:1MiB"]);
    let (one, other) = (remote(&rig, 1, ""), remote(&rig, 2, ""));
    let (mut with, mut without) = (device::Rig::new(&one), device::Rig::new(&other));
    let op = Op::WriteUncorrectable(Range { lba: 0, blocks: 1 });
    assert_eq!(with.run(op, Data::None).0, Ok(()));
    assert_eq!(without.run(op, Data::None).0, Err(Failure::NotSupported));
    assert_eq!(without.read(0, 512, 1, Way::Carried), Ok(vec![0; 512]));
}
