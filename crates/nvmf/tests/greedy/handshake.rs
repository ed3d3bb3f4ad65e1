//! Connections that never get as far as Connect. No bystander here: this runs beside the tests that measure memory.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wire::nvme::{Sqe, Status};

use crate::common::{self, ANY_CONTROLLER, NO_DIGESTS, Raw, Rig, connect_data_of, pdu};

/// Ten seconds after it came, a connection has shown what it is for or is closed, however busy it looks.
#[test]
fn a_handshake_takes_ten_seconds_at_most() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let started = Instant::now();
    let silent = Raw::new(rig.addr);
    let mut half = Raw::new(rig.addr);
    half.send(&pdu::ic_req(NO_DIGESTS, 0)[..100]);
    let initialized = Raw::open(rig.addr, NO_DIGESTS);
    let mut refused = Raw::open(rig.addr, NO_DIGESTS);
    let stranger = connect_data_of(ANY_CONTROLLER, "nqn.2024-01.test.qpair:other", common::HOST);
    let cqe = refused.connect(Sqe::connect(0, 31, 0, 0), &stranger);
    assert!(cqe.status().same_code(Status::CONNECT_INVALID_PARAMETERS));
    let (mut connected, _) = Raw::admin(&rig, NO_DIGESTS);
    let mut slow = Raw::new(rig.addr);
    for byte in pdu::ic_req(NO_DIGESTS, 0).iter().take(45) {
        slow.stream.write_all(&[*byte]).expect("it is still open");
        std::thread::sleep(Duration::from_millis(200));
    }
    for mut raw in [silent, half, initialized, refused, slow] {
        raw.is_closed();
        let after = started.elapsed();
        assert!(after >= Duration::from_millis(9_900) && after < Duration::from_secs(12), "{after:?}");
    }
    assert_eq!(rig.target.counters.handshake_timeouts.load(Ordering::Relaxed), 5);
    assert!(connected.run(Sqe::get_features(7, 0), &[]).cqe.status().is_success());
}
