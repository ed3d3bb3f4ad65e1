//! Bytes without any meaning, and valid sessions with some of their bytes changed.

use wire::nvme::Sqe;
use zerocopy::IntoBytes;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, ANY_CONTROLLER, NO_DIGESTS, Raw, connect_data, pattern, pdu};

/// Sends and waits for the target to close; a target that waits for more is told that nothing comes.
fn say(mut raw: Raw, bytes: &[u8]) {
    raw.send(bytes);
    raw.finish_sending();
    // Whatever it answers need not be a PDU of the digests that were asked for.
    let _ = std::io::copy(&mut raw.stream, &mut std::io::sink());
}

#[test]
fn random_bytes_at_every_phase() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        for seed in 0..60 {
            let mut bytes = pattern(seed, 1 + (seed as usize * 97) % 3000);
            say(Raw::new(rig.addr), &bytes);
            // As a PDU type that is expected, so that more than the first byte is looked at.
            bytes[0] = [0, 4, 6, 2][seed as usize % 4];
            say(Raw::new(rig.addr), &bytes);
            let digests = ALL_DIGESTS[seed as usize % 4];
            say(Raw::open(rig.addr, digests), &bytes);
            let qid = 1 + seed as u16 % 100;
            say(Raw::io(rig.addr, cntlid, qid, 32, 4, digests), &bytes);
            // With lengths that are right: random commands.
            let mut commands = Vec::new();
            for (at, sqe) in pattern(seed, 64 * 30).chunks(64).enumerate() {
                let mut sqe: [u8; 64] = sqe.try_into().expect("64 bytes");
                (sqe[0], sqe[1]) = (sqe[0] % 12, 0x40);
                sqe[4..8].copy_from_slice(&1u32.to_le_bytes());
                // Keeps off the blocks of the bystander.
                let slba = 600 + u64::from(sqe[40]);
                sqe[40..48].copy_from_slice(&slba.to_le_bytes());
                let data = if at % 3 == 0 { pattern(seed, 512) } else { Vec::new() };
                // 1 to 4 blocks, or Dataset Management of none of the bystander's: its ranges are the pattern.
                sqe[50..52].fill(0);
                if sqe[0] != 9 {
                    commands.extend(pdu::command(zerocopy::transmute!(sqe), &data, digests));
                }
            }
            let io = Raw::io(rig.addr, cntlid, 101 + seed as u16 % 20, 64, 4, digests);
            say(io, &commands);
        }
    });
}

#[test]
fn valid_sessions_with_wrong_bytes() {
    beside_a_bystander(|rig| {
        let connect = pdu::command(Sqe::connect(0, 31, 0, 0), connect_data(ANY_CONTROLLER).as_bytes(), NO_DIGESTS);
        let mut session = pdu::ic_req(NO_DIGESTS, 0);
        session.extend_from_slice(&connect);
        session.extend(pdu::command(Sqe::property_set(0x14, false, 0x46_0001), &[], NO_DIGESTS));
        session.extend(pdu::command(Sqe::identify(1, 0, 0, 0), &[], NO_DIGESTS));
        // Every header byte and every field of Connect; the rest of its data is names.
        let headers = (0..16).chain(128..220).chain(1224..session.len());
        for at in headers {
            for value in [0x00, 0x01, 0x7f, 0xff] {
                let mut changed = session.clone();
                changed[at] = value;
                say(Raw::new(rig.addr), &changed);
            }
        }
    });
}
