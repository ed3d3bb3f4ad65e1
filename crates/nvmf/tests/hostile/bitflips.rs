//! One bit on the wire is wrong: with digests in use the target always notices, and writes nothing of it. The host's
//! side of this is in `crates/wire/tests/bitflips.rs`.

use wire::nvme::{Sqe, Status};
use wire::tcp::digest::Digests;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, NO_DIGESTS, Raw, Rig, pdu, same};

const BOTH: Digests = ALL_DIGESTS[3];
/// The bystander leaves these blocks alone.
const SLBA: u64 = 600;
/// What is there before and after, and what is sent.
const BEFORE: [u8; 512] = [0x3c; 512];
const SENT: [u8; 512] = [0xa5; 512];
/// Of a command capsule and of H2CData, each with its digest.
const COMMAND_BITS: usize = (72 + 4) * 8;
const H2C_BITS: usize = (24 + 4) * 8;

fn write(cid: u16) -> Sqe {
    Sqe::write(1, SLBA, 1, false).with_cid(cid)
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// A new I/O queue, whose number may be that of one that is just going.
fn queue(rig: &Rig, cntlid: u16, number: usize) -> Raw {
    Raw::io(rig.addr, cntlid, (number % 128) as u16 + 1, 32, 4, BOTH)
}

/// Fills the block, lets `attack` do its work, and looks at the block again.
fn nothing_is_written(attack: impl Fn(&Rig, u16)) {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let status = |reply: crate::common::raw::Reply| assert!(reply.cqe.status().is_success());
        status(queue(rig, cntlid, 126).run(write(1).with_data_in_capsule(512), &BEFORE));
        attack(rig, cntlid);
        let read = Sqe::read(1, SLBA, 1).with_data_by_transport(512);
        same(&queue(rig, cntlid, 127).run(read, &[]).data, &BEFORE, "the block after wrong bits");
    });
}

#[test]
fn every_bit_of_a_command_and_its_digest_ends_the_connection() {
    nothing_is_written(|rig, cntlid| {
        let right = pdu::command(write(7).with_data_in_capsule(512), &SENT, BOTH);
        for bit in 0..COMMAND_BITS {
            let mut io = queue(rig, cntlid, bit % 120);
            io.send(&flipped(&right, bit));
            // A longer PLEN waits for more, which does not come.
            io.finish_sending();
            io.is_closed();
        }
    });
}

#[test]
fn every_bit_of_data_in_a_capsule_and_its_digest_fails_the_command() {
    nothing_is_written(|rig, cntlid| {
        let mut io = queue(rig, cntlid, 0);
        for bit in COMMAND_BITS..COMMAND_BITS + (512 + 4) * 8 {
            let cid = bit as u16;
            io.send(&flipped(&pdu::command(write(cid).with_data_in_capsule(512), &SENT, BOTH), bit));
            let cqe = io.pdu().cqe();
            assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::TRANSIENT_TRANSPORT_ERROR), "bit {bit}");
        }
    });
}

#[test]
fn every_bit_of_the_header_of_asked_data_ends_the_connection() {
    nothing_is_written(|rig, cntlid| {
        for bit in 0..H2C_BITS {
            let mut io = queue(rig, cntlid, bit % 120);
            io.command(write(7).with_data_by_transport(512), &[]);
            let ttag = io.pdu().r2t().ttag.get();
            io.send(&flipped(&pdu::h2c(7, ttag, 0, &SENT, true, BOTH), bit));
            io.finish_sending();
            io.is_closed();
        }
    });
}

#[test]
fn every_bit_of_asked_data_and_its_digest_fails_the_command() {
    nothing_is_written(|rig, cntlid| {
        let mut io = queue(rig, cntlid, 0);
        for bit in H2C_BITS..H2C_BITS + (512 + 4) * 8 {
            let cid = bit as u16;
            io.command(write(cid).with_data_by_transport(512), &[]);
            let ttag = io.pdu().r2t().ttag.get();
            io.send(&flipped(&pdu::h2c(cid, ttag, 0, &SENT, true, BOTH), bit));
            let cqe = io.pdu().cqe();
            assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::TRANSIENT_TRANSPORT_ERROR), "bit {bit}");
        }
    });
}
