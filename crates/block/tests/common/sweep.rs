//! A workload that is played again and again, each time with another request of it that fails: what each must end with,
//! and what the device must hold afterwards.

use qpair_block::{Data, Device, Failure, Op, Range};

use super::{Rig, Way, pattern};

/// Blocks of the device.
pub const BLOCKS: u64 = 64;
/// Bytes of a block.
pub const BLOCK: usize = 4096;

fn one(lba: u64) -> Range {
    Range { lba, blocks: 1 }
}

/// A workload of all kinds of requests, each on blocks of its own choice.
pub fn workload() -> Vec<(Op, u8)> {
    let mut ops = Vec::new();
    for round in 0..4 {
        let range = Range { lba: round * 16, blocks: 4 };
        let next = Range { lba: round * 16 + 4, blocks: 4 };
        ops.extend([
            (Op::Write { range, fua: false }, round as u8 + 1),
            (Op::Read(range), 0),
            (Op::Write { range: Range { lba: range.lba + 2, blocks: 3 }, fua: true }, round as u8 + 11),
            (Op::Compare(range), 0),
            (Op::Copy { range: Range { lba: range.lba + 8, ..next }, fua: false }, 0),
            (Op::WriteZeroes { range: one(range.lba + 1), fua: false, deallocate: true }, 0),
            (Op::Flush, 0),
            (Op::Verify(range), 0),
            (Op::Deallocate(one(range.lba + 9)), 0),
        ]);
    }
    ops
}

/// Does `op` on the model; the outcome without a fault is success, as the workload is made for that.
fn apply(model: &mut [u8], op: Op, seed: u8) {
    let bytes = |range: Range| range.lba as usize * BLOCK..(range.lba + range.blocks) as usize * BLOCK;
    match op {
        Op::Write { range, .. } => model[bytes(range)].copy_from_slice(&pattern(seed, bytes(range).len())),
        Op::WriteZeroes { range, .. } | Op::Deallocate(range) => model[bytes(range)].fill(0),
        Op::Copy { range, .. } => model.copy_within(bytes(source_of(range)), bytes(range).start),
        _ => {}
    }
}

/// Where the workload's copies copy from.
fn source_of(range: Range) -> Range {
    Range { lba: range.lba - 8, ..range }
}

/// Does a request of the workload on the device.
fn act(rig: &mut Rig, model: &[u8], op: Op, seed: u8) -> Result<(), Failure> {
    let bytes = |range: Range| range.lba as usize * BLOCK..(range.lba + range.blocks) as usize * BLOCK;
    match op {
        Op::Read(range) => {
            let found = rig.read(range.lba, bytes(range).len(), range.blocks, Way::Carried)?;
            assert!(found == model[bytes(range)], "{op:?} reads something else");
            Ok(())
        }
        Op::Write { range, fua } => {
            let new = pattern(seed, bytes(range).len());
            rig.write(range.lba, range.blocks, &new, fua, Way::Carried)
        }
        Op::Compare(range) => {
            let data = rig.carried(&model[bytes(range)]);
            rig.run(op, data).0
        }
        Op::Copy { range, .. } => rig.run(op, Data::Sources(&[source_of(range)])).0,
        _ => rig.run(op, Data::None).0,
    }
}

/// The rule by which the request `at` of the workload meets `what`; `None` if that is not for requests of its kind.
pub fn rule(ops: &[(Op, u8)], at: usize, what: &str) -> Option<String> {
    let writes_only = what.starts_with("torn") || what.starts_with("short");
    let fits = |op: &Op| !writes_only || matches!(op, Op::Write { .. });
    let number = ops[..=at].iter().filter(|(op, _)| fits(op)).count();
    let kinds = if writes_only { "write" } else { "any" };
    fits(&ops[at].0).then(|| format!("{kinds}:nth={number}:{what}"))
}

/// Plays the workload on a device with one rule, which the request `meets` meets and ends with `end`.
pub fn play(device: &dyn Device, ops: &[(Op, u8)], meets: usize, rule: &str, end: Result<(), Failure>) {
    let mut rig = Rig::new(device);
    let mut model = vec![0; BLOCKS as usize * BLOCK];
    for (at, (op, seed)) in ops.iter().enumerate() {
        let outcome = act(&mut rig, &model, *op, *seed);
        let expected = if at == meets { end } else { Ok(()) };
        assert_eq!(outcome, expected, "{rule}: request {at}, {op:?}");
        if expected.is_ok() {
            // A file without holes keeps what it has.
            if !matches!(op, Op::Deallocate(_)) || device.info().features.zeros_after_deallocate {
                apply(&mut model, *op, *seed);
            }
            continue;
        }
        if let (Op::Write { range, .. }, true) = (op, rule.contains("short") || rule.contains("torn")) {
            // Each sector is old or new; the first block is new if the write was short.
            let mut new = model.clone();
            apply(&mut new, *op, *seed);
            let from = range.lba as usize * BLOCK;
            let found = rig.read(range.lba, range.blocks as usize * BLOCK, range.blocks, Way::Carried).expect("a read");
            for (sector, found) in found.chunks(512).enumerate() {
                let at = from + sector * 512;
                let is_new = *found == new[at..at + 512];
                assert!(is_new || *found == model[at..at + 512], "{rule}: sector {sector} of {op:?}");
                assert!(!rule.contains("short") || is_new == (sector < BLOCK / 512), "{rule}: sector {sector}");
                model[at..at + 512].copy_from_slice(found);
            }
        }
    }
    assert_eq!((rig.queue.in_flight(), rig.pool.free()), (0, 300), "{rule}");
    for lba in (0..BLOCKS).step_by(32) {
        let found = rig.read(lba, 32 * BLOCK, 32, Way::Carried).expect("a read");
        assert!(found == model[lba as usize * BLOCK..][..32 * BLOCK], "{rule}: at the end");
    }
}
