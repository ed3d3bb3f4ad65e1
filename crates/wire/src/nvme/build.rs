//! The commands that a host sends, built.
//!
//! Every builder leaves the CID 0, because the connection assigns it, and describes the data as moved by the transport;
//! the connection replaces [`Sqe::dptr`] where the data goes in the capsule.

use zerocopy::little_endian::{U16, U32, U64};

use super::command::{DEAC, DSM_AD, FUA, PRINFO, PSDT_SGL};
use super::copy::CopySource;
use super::dsm::DsmRange;
use super::fabrics::{ConnectCommand, ConnectData, PropertyCommand};
use super::opcode::{FABRICS, admin, fabrics, io, zns};
use super::protection::prinfo;
use super::{IDENTIFY_BYTES, SglDescriptor, Sqe};

/// What to read of a log page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Which log: see [`super::lid`].
    pub lid: u8,
    /// Log specific parameter, 7 bits.
    pub lsp: u8,
    /// Retain the asynchronous event that announced a change of this log.
    pub rae: bool,
    /// Where to start, in bytes: a multiple of 4.
    pub offset: u64,
    /// How much to read, in bytes: a multiple of 4, not 0.
    pub bytes: u32,
    /// Namespace identifier; 0 or [`super::NSID_ALL`] for the controller's own.
    pub nsid: u32,
}

impl Sqe {
    /// A command without data.
    const fn bare(opcode: u8, nsid: u32) -> Self {
        Self::with_data(opcode, nsid, 0)
    }

    /// A command whose data the transport moves.
    pub(super) const fn with_data(opcode: u8, nsid: u32, bytes: u32) -> Self {
        Self {
            opcode,
            flags: PSDT_SGL,
            cid: U16::ZERO,
            nsid: U32::new(nsid),
            cdw2: U32::ZERO,
            cdw3: U32::ZERO,
            mptr: U64::ZERO,
            dptr: SglDescriptor::transport(bytes),
            cdw10: U32::ZERO,
            cdw11: U32::ZERO,
            cdw12: U32::ZERO,
            cdw13: U32::ZERO,
            cdw14: U32::ZERO,
            cdw15: U32::ZERO,
        }
    }

    /// The same command with its data in the capsule.
    #[must_use]
    pub const fn with_data_in_capsule(self, bytes: u32) -> Self {
        Self { dptr: SglDescriptor::in_capsule(bytes), ..self }
    }

    /// The same command with its data moved by the transport.
    #[must_use]
    pub const fn with_data_by_transport(self, bytes: u32) -> Self {
        Self { dptr: SglDescriptor::transport(bytes), ..self }
    }

    /// The same command with another identifier.
    #[must_use]
    pub const fn with_cid(self, cid: u16) -> Self {
        Self { cid: U16::new(cid), ..self }
    }

    /// A command on `nlb` blocks from `slba`. The length of the data is not known here (it depends on the format of the
    /// namespace): set it with [`Sqe::with_data_by_transport`] or [`Sqe::with_data_in_capsule`].
    const fn on_blocks(opcode: u8, nsid: u32, slba: u64, nlb: u32, control: u32) -> Self {
        assert!(nlb >= 1 && nlb <= 1 << 16, "a command has 1 to 65,536 blocks");
        Self {
            cdw10: U32::new(slba as u32),
            cdw11: U32::new((slba >> 32) as u32),
            cdw12: U32::new((nlb - 1) | control),
            ..Self::bare(opcode, nsid)
        }
    }

    /// Read `nlb` blocks (1 to 65,536) from `slba`. Set the length of the data afterwards, in bytes.
    #[must_use]
    pub const fn read(nsid: u32, slba: u64, nlb: u32) -> Self {
        Self::on_blocks(io::READ, nsid, slba, nlb, 0)
    }

    /// Write `nlb` blocks (1 to 65,536) from `slba`. Set the length of the data afterwards, in bytes.
    #[must_use]
    pub const fn write(nsid: u32, slba: u64, nlb: u32, fua: bool) -> Self {
        Self::on_blocks(io::WRITE, nsid, slba, nlb, if fua { FUA } else { 0 })
    }

    /// Write Zeroes to `nlb` blocks (1 to 65,536) from `slba`; with `deac` the controller may deallocate them.
    #[must_use]
    pub const fn write_zeroes(nsid: u32, slba: u64, nlb: u32, deac: bool, fua: bool) -> Self {
        let control = if deac { DEAC } else { 0 } | if fua { FUA } else { 0 };
        Self::on_blocks(io::WRITE_ZEROES, nsid, slba, nlb, control)
    }

    /// The same Read, Write or Write Zeroes on a namespace with protection information that the controller makes,
    /// checks and takes away by itself (PRACT): the guard is checked, and with `reference` the reference tag, which is
    /// the low half of the block's number (types 1 and 2).
    #[must_use]
    pub const fn with_protection_by_controller(self, reference: bool) -> Self {
        let reference_check = if reference { prinfo::CHECK_REFERENCE } else { 0 };
        self.with_protection(prinfo::ACTION | prinfo::CHECK_GUARD | reference_check, self.cdw10.get())
    }

    /// The same command on blocks with protection information: `prinfo` says who checks what (see
    /// [`super::protection::prinfo`]), `reference` is the reference tag of the first block.
    #[must_use]
    pub const fn with_protection(self, prinfo: u8, reference: u32) -> Self {
        let control = self.cdw12.get() & !PRINFO | (prinfo as u32) << PRINFO.trailing_zeros();
        Self { cdw12: U32::new(control), cdw14: U32::new(reference), ..self }
    }

    /// The same command on blocks, durable before it completes (force unit access).
    #[must_use]
    pub const fn with_fua(self) -> Self {
        Self { cdw12: U32::new(self.cdw12.get() | FUA), ..self }
    }

    /// Zone Append of `nlb` blocks (1 to 65,536) to the zone that begins at `zslba`: where they went is the result. Set
    /// the length of the data afterwards, in bytes.
    #[must_use]
    pub const fn zone_append(nsid: u32, zslba: u64, nlb: u32) -> Self {
        Self::on_blocks(zns::ZONE_APPEND, nsid, zslba, nlb, 0)
    }

    /// Zone Management Send: an action (see [`super::zns::action`]) on the zone that begins at `zslba`, or on all.
    #[must_use]
    pub const fn zone_management_send(nsid: u32, zslba: u64, action: u8, all: bool) -> Self {
        const SELECT_ALL: u32 = 1 << 8;
        Self {
            cdw10: U32::new(zslba as u32),
            cdw11: U32::new((zslba >> 32) as u32),
            cdw13: U32::new(action as u32 | if all { SELECT_ALL } else { 0 }),
            ..Self::bare(zns::ZONE_MANAGEMENT_SEND, nsid)
        }
    }

    /// Zone Management Receive: a report of the zones from the one with `slba` on, of `bytes` (a multiple of 4, not 0);
    /// with `partial` its count is of the zones that it has room for.
    #[must_use]
    pub const fn zone_report(nsid: u32, slba: u64, bytes: u32, partial: bool) -> Self {
        const PARTIAL: u32 = 1 << 16;
        assert!(bytes > 0 && bytes.is_multiple_of(4), "reports are read in dwords");
        Self {
            cdw10: U32::new(slba as u32),
            cdw11: U32::new((slba >> 32) as u32),
            cdw12: U32::new(bytes / 4 - 1),
            cdw13: U32::new(if partial { PARTIAL } else { 0 }),
            ..Self::with_data(zns::ZONE_MANAGEMENT_RECEIVE, nsid, bytes)
        }
    }

    /// Compare `nlb` blocks (1 to 65,536) from `slba` with the data. Set its length afterwards, in bytes.
    #[must_use]
    pub const fn compare(nsid: u32, slba: u64, nlb: u32) -> Self {
        Self::on_blocks(io::COMPARE, nsid, slba, nlb, 0)
    }

    /// Verify `nlb` blocks (1 to 65,536) from `slba`.
    #[must_use]
    pub const fn verify(nsid: u32, slba: u64, nlb: u32) -> Self {
        Self::on_blocks(io::VERIFY, nsid, slba, nlb, 0)
    }

    /// Write Uncorrectable to `nlb` blocks (1 to 65,536) from `slba`.
    #[must_use]
    pub const fn write_uncorrectable(nsid: u32, slba: u64, nlb: u32) -> Self {
        Self::on_blocks(io::WRITE_UNCORRECTABLE, nsid, slba, nlb, 0)
    }

    /// Copy to the blocks from `slba` on, with `sources` (1 to 256) of [`CopySource`] as data.
    #[must_use]
    pub const fn copy(nsid: u32, slba: u64, sources: u32, fua: bool) -> Self {
        assert!(sources >= 1 && sources <= 256, "Copy has 1 to 256 source ranges");
        Self {
            cdw10: U32::new(slba as u32),
            cdw11: U32::new((slba >> 32) as u32),
            cdw12: U32::new((sources - 1) | if fua { FUA } else { 0 }),
            ..Self::with_data(io::COPY, nsid, sources * size_of::<CopySource>() as u32)
        }
    }

    /// Flush the namespace.
    #[must_use]
    pub const fn flush(nsid: u32) -> Self {
        Self::bare(io::FLUSH, nsid)
    }

    /// Dataset Management with `ranges` (1 to 256) of [`DsmRange`] as data.
    #[must_use]
    pub const fn dsm(nsid: u32, ranges: u32, deallocate: bool) -> Self {
        assert!(ranges >= 1 && ranges <= 256, "Dataset Management has 1 to 256 ranges");
        Self {
            cdw10: U32::new(ranges - 1),
            cdw11: U32::new(if deallocate { DSM_AD } else { 0 }),
            ..Self::with_data(io::DSM, nsid, ranges * size_of::<DsmRange>() as u32)
        }
    }

    /// Identify: structure `cns` (see [`super::cns`]) of the namespace, the I/O command set or the controller.
    #[must_use]
    pub const fn identify(cns: u8, nsid: u32, csi: u8, cntid: u16) -> Self {
        Self {
            cdw10: U32::new(cns as u32 | (cntid as u32) << 16),
            cdw11: U32::new((csi as u32) << 24),
            ..Self::with_data(admin::IDENTIFY, nsid, IDENTIFY_BYTES as u32)
        }
    }

    /// Get Log Page.
    #[must_use]
    pub const fn get_log(log: LogRequest) -> Self {
        assert!(
            log.bytes > 0 && log.bytes.is_multiple_of(4) && log.offset.is_multiple_of(4),
            "logs are read in dwords"
        );
        let numd = log.bytes / 4 - 1;
        let rae = if log.rae { 1 << 15 } else { 0 };
        Self {
            cdw10: U32::new(log.lid as u32 | (log.lsp as u32 & 0x7f) << 8 | rae | (numd & 0xffff) << 16),
            cdw11: U32::new(numd >> 16),
            cdw12: U32::new(log.offset as u32),
            cdw13: U32::new((log.offset >> 32) as u32),
            ..Self::with_data(admin::GET_LOG_PAGE, log.nsid, log.bytes)
        }
    }

    /// The same Get Log Page, of one of several (LSI: an endurance group, for example) and of an I/O command set (CSI).
    #[must_use]
    pub const fn with_log_of(self, lsi: u16, csi: u8) -> Self {
        let cdw11 = U32::new(self.cdw11.get() & 0xffff | (lsi as u32) << 16);
        Self { cdw11, cdw14: U32::new((csi as u32) << 24), ..self }
    }

    /// The same Get Features, of another value than the current one: see [`super::feature::select`].
    #[must_use]
    pub const fn with_select(self, select: u8) -> Self {
        Self { cdw10: U32::new(self.cdw10.get() & 0xff | (select as u32 & 7) << 8), ..self }
    }

    /// The same Set Features, saved: the value is there after a power cycle (SV).
    #[must_use]
    pub const fn with_save(self) -> Self {
        Self { cdw10: U32::new(self.cdw10.get() | 1 << 31), ..self }
    }

    /// Get Features: the current value of `fid` (see [`super::feature`]).
    #[must_use]
    pub const fn get_features(fid: u8, nsid: u32) -> Self {
        Self { cdw10: U32::new(fid as u32), ..Self::bare(admin::GET_FEATURES, nsid) }
    }

    /// Set Features: `fid` to the value that its dword 11 holds; not saved.
    #[must_use]
    pub const fn set_features(fid: u8, nsid: u32, cdw11: u32) -> Self {
        Self { cdw10: U32::new(fid as u32), cdw11: U32::new(cdw11), ..Self::bare(admin::SET_FEATURES, nsid) }
    }

    /// Keep Alive.
    #[must_use]
    pub const fn keep_alive() -> Self {
        Self::bare(admin::KEEP_ALIVE, 0)
    }

    /// Asynchronous Event Request.
    #[must_use]
    pub const fn async_event() -> Self {
        Self::bare(admin::ASYNC_EVENT_REQUEST, 0)
    }

    /// Abort the command `cid` of the submission queue `sqid`.
    #[must_use]
    pub const fn abort(sqid: u16, cid: u16) -> Self {
        Self { cdw10: U32::new(sqid as u32 | (cid as u32) << 16), ..Self::bare(admin::ABORT, 0) }
    }

    /// Connect a queue of `sqsize + 1` entries, with its 1,024 bytes of [`ConnectData`] in the capsule. `kato_ms`
    /// counts on the admin queue only; `cattr` is [`super::fabrics::CATTR_DISABLE_SQ_FLOW_CONTROL`] or 0.
    #[must_use]
    pub const fn connect(qid: u16, sqsize: u16, kato_ms: u32, cattr: u8) -> Self {
        zerocopy::transmute!(ConnectCommand {
            opcode: FABRICS,
            flags: PSDT_SGL,
            cid: U16::ZERO,
            fctype: fabrics::CONNECT,
            reserved5: [0; 19],
            dptr: SglDescriptor::in_capsule(size_of::<ConnectData>() as u32),
            recfmt: U16::ZERO,
            qid: U16::new(qid),
            sqsize: U16::new(sqsize),
            cattr,
            reserved47: 0,
            kato: U32::new(kato_ms),
            reserved52: [0; 12],
        })
    }

    /// Property Get: `eight` bytes or four, at `offset` (see [`super::property`]).
    #[must_use]
    pub const fn property_get(offset: u32, eight: bool) -> Self {
        Self::property(fabrics::PROPERTY_GET, offset, eight, 0)
    }

    /// Property Set: `eight` bytes or four, at `offset` (see [`super::property`]).
    #[must_use]
    pub const fn property_set(offset: u32, eight: bool, value: u64) -> Self {
        Self::property(fabrics::PROPERTY_SET, offset, eight, value)
    }

    const fn property(fctype: u8, offset: u32, eight: bool, value: u64) -> Self {
        zerocopy::transmute!(PropertyCommand {
            opcode: FABRICS,
            flags: PSDT_SGL,
            cid: U16::ZERO,
            fctype,
            reserved5: [0; 19],
            dptr: SglDescriptor::transport(0),
            attrib: eight as u8,
            reserved41: [0; 3],
            ofst: U32::new(offset),
            value: U64::new(value),
            reserved56: [0; 8],
        })
    }

    /// Disconnect: the controller ends this I/O queue.
    #[must_use]
    pub const fn disconnect() -> Self {
        Self::bare(FABRICS, fabrics::DISCONNECT as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;
    use crate::nvme::{NSID_ALL, cns, feature, lid, property};

    /// The command as its first 8 bytes, the type and length of its descriptor, and dwords 10 to 15.
    fn parts(sqe: Sqe) -> ([u8; 8], (u8, u32), [u32; 6]) {
        let bytes = sqe.as_bytes();
        assert!(bytes[8..32].iter().chain(&bytes[36..39]).all(|&byte| byte == 0), "what is not used is zero");
        let dwords = [sqe.cdw10, sqe.cdw11, sqe.cdw12, sqe.cdw13, sqe.cdw14, sqe.cdw15].map(|dword| dword.get());
        (bytes[..8].try_into().unwrap(), (sqe.dptr.kind, sqe.dptr.length.get()), dwords)
    }

    #[test]
    fn io_commands() {
        let read = Sqe::read(1, 0x1_0000_0002, 8).with_data_by_transport(4096).with_cid(0x0a0b);
        assert_eq!(parts(read), ([2, 0x40, 0x0b, 0x0a, 1, 0, 0, 0], (0x5a, 4096), [2, 1, 7, 0, 0, 0]));
        let write = Sqe::write(2, 5, 65_536, true).with_data_in_capsule(512);
        assert_eq!(parts(write), ([1, 0x40, 0, 0, 2, 0, 0, 0], (0x01, 512), [5, 0, 0x4000_ffff, 0, 0, 0]));
        let zeroes = Sqe::write_zeroes(1, 0, 1, true, false);
        assert_eq!(parts(zeroes), ([8, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 0), [0, 0, 1 << 25, 0, 0, 0]));
        let compare = Sqe::compare(1, 0x1_0000_0002, 8).with_data_in_capsule(4096);
        assert_eq!(parts(compare), ([5, 0x40, 0, 0, 1, 0, 0, 0], (0x01, 4096), [2, 1, 7, 0, 0, 0]));
        assert_eq!(parts(Sqe::verify(1, 2, 3)), ([0x0c, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 0), [2, 0, 2, 0, 0, 0]));
        let bad = Sqe::write_uncorrectable(1, 2, 3);
        assert_eq!(parts(bad), ([4, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 0), [2, 0, 2, 0, 0, 0]));
        let copy = Sqe::copy(1, 0x1_0000_0002, 3, true);
        assert_eq!(parts(copy), ([0x19, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 96), [2, 1, 0x4000_0002, 0, 0, 0]));
        assert_eq!((copy.copy_sources(), copy.copy_format(), copy.fua(), copy.slba()), (3, 0, true, 0x1_0000_0002));
        assert_eq!(parts(Sqe::flush(1)), ([0, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 0), [0; 6]));
        assert_eq!(parts(Sqe::dsm(1, 3, true)), ([9, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 48), [2, 4, 0, 0, 0, 0]));
    }

    #[test]
    fn zones_and_protection() {
        let append = Sqe::zone_append(1, 0x1_0000_0002, 8).with_data_by_transport(4096);
        assert_eq!(parts(append), ([0x7d, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 4096), [2, 1, 7, 0, 0, 0]));
        let reset = Sqe::zone_management_send(1, 0x1_0000_0002, 4, true);
        assert_eq!(parts(reset), ([0x79, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 0), [2, 1, 0, 0x104, 0, 0]));
        let report = Sqe::zone_report(1, 0x1_0000_0002, 4096, true);
        assert_eq!(parts(report), ([0x7a, 0x40, 0, 0, 1, 0, 0, 0], (0x5a, 4096), [2, 1, 1023, 0x1_0000, 0, 0]));
        let checked = Sqe::write(1, 7, 1, true).with_protection(prinfo::CHECK_GUARD | prinfo::CHECK_REFERENCE, 9);
        assert_eq!(parts(checked).2, [7, 0, 0x5400_0000, 0, 9, 0]);
        assert_eq!((checked.prinfo(), checked.fua()), (0b0101, true));
        let made = Sqe::read(1, 7, 1).with_protection_by_controller(true);
        assert_eq!((made.prinfo(), made.cdw14.get()), (0b1101, 7));
    }

    #[test]
    fn admin_commands() {
        let identify = Sqe::identify(cns::COMMAND_SET_CONTROLLER, 0, 2, 0x0102);
        let expected = ([6, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 4096), [0x0102_0006, 0x0200_0000, 0, 0, 0, 0]);
        assert_eq!(parts(identify), expected);
        let kato = Sqe::set_features(feature::fid::KATO, 0, 5000);
        assert_eq!(parts(kato), ([9, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [0x0f, 5000, 0, 0, 0, 0]));
        let get = Sqe::get_features(feature::fid::NUMBER_OF_QUEUES, 0);
        assert_eq!(parts(get), ([10, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [7, 0, 0, 0, 0, 0]));
        assert_eq!(parts(Sqe::keep_alive()), ([0x18, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [0; 6]));
        assert_eq!(parts(Sqe::async_event()), ([0x0c, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [0; 6]));
        assert_eq!(parts(Sqe::abort(2, 7)), ([8, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [0x0007_0002, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn logs() {
        let log = LogRequest { lid: lid::SMART, lsp: 0, rae: false, offset: 0, bytes: 512, nsid: NSID_ALL };
        let expected = ([2, 0x40, 0, 0, 0xff, 0xff, 0xff, 0xff], (0x5a, 512), [0x007f_0002, 0, 0, 0, 0, 0]);
        assert_eq!(parts(Sqe::get_log(log)), expected);
        let log = LogRequest { lid: 0x70, lsp: 0x7f, rae: true, offset: 0x1_0000_0400, bytes: 1 << 20, nsid: 0 };
        let sqe = Sqe::get_log(log);
        assert_eq!(parts(sqe).2, [0xffff_ff70, 3, 0x400, 1, 0, 0]);
        assert_eq!((sqe.lid(), sqe.lsp(), sqe.rae(), sqe.lsi()), (0x70, 0x7f, true, 0));
        assert_eq!((sqe.log_bytes(), sqe.log_offset(), sqe.log_offset_is_index()), (1 << 20, 0x1_0000_0400, false));
    }

    #[test]
    fn admin_commands_about_one_of_several() {
        let log = LogRequest { lid: lid::ENDURANCE, lsp: 0, rae: true, offset: 0, bytes: 1 << 20, nsid: 0 };
        let log = Sqe::get_log(log).with_log_of(0x1234, 2);
        assert_eq!(parts(log).2, [0xffff_8009, 0x1234_0003, 0, 0, 2 << 24, 0]);
        assert_eq!(log.log_bytes(), 1 << 20);
        let get = Sqe::get_features(feature::fid::KATO, 0).with_select(feature::select::SAVED);
        assert_eq!((parts(get).2, get.select(), get.fid()), ([0x20f, 0, 0, 0, 0, 0], 2, feature::fid::KATO));
        let set = Sqe::set_features(feature::fid::KATO, 0, 7).with_save();
        assert_eq!((parts(set).2, set.save(), set.fid()), ([0x8000_000f, 7, 0, 0, 0, 0], true, feature::fid::KATO));
    }

    #[test]
    fn fabrics_commands() {
        // A Connect as Linux sends it: queue 1, sqsize 127, data in the capsule.
        let connect = Sqe::connect(1, 127, 5000, 4);
        let expected = [0x0001_0000, 0x0004_007f, 5000, 0, 0, 0];
        assert_eq!(parts(connect), ([0x7f, 0x40, 0, 0, 1, 0, 0, 0], (0x01, 1024), expected));
        let view = ConnectCommand::view(&connect);
        assert_eq!((view.recfmt.get(), view.qid.get(), view.sqsize.get(), view.kato.get()), (0, 1, 127, 5000));
        assert_eq!((view.flow_control_disabled(), view.depth(), connect.fctype()), (true, 128, fabrics::CONNECT));
        let get = Sqe::property_get(property::CAP, true);
        assert_eq!(parts(get), ([0x7f, 0x40, 0, 0, 4, 0, 0, 0], (0x5a, 0), [1, 0, 0, 0, 0, 0]));
        let set = Sqe::property_set(property::CC, false, 0x46_0001);
        assert_eq!(parts(set), ([0x7f, 0x40, 0, 0, 0, 0, 0, 0], (0x5a, 0), [0, 0x14, 0x46_0001, 0, 0, 0]));
        let view = PropertyCommand::view(&set);
        assert_eq!((view.bytes(), view.ofst.get(), view.value.get()), (Some(4), property::CC, 0x46_0001));
        assert_eq!(parts(Sqe::disconnect()), ([0x7f, 0x40, 0, 0, 8, 0, 0, 0], (0x5a, 0), [0; 6]));
    }

    #[test]
    #[should_panic(expected = "1 to 65,536")]
    fn an_empty_read_is_our_bug() {
        let _ = Sqe::read(1, 0, 0);
    }

    proptest! {
        #[test]
        fn what_a_host_builds_a_target_reads(
            nsid: u32, slba: u64, nlb in 1u32..=65_536, fua: bool, flag: bool, ranges in 1u32..=256
        ) {
            let write = Sqe::write(nsid, slba, nlb, fua);
            prop_assert_eq!((write.nsid.get(), write.slba(), write.nlb(), write.fua()), (nsid, slba, nlb, fua));
            prop_assert!(!write.deac() && write.prinfo() == 0 && write.check_flags().is_ok());
            let zeroes = Sqe::write_zeroes(nsid, slba, nlb, flag, fua);
            prop_assert_eq!((zeroes.slba(), zeroes.nlb(), zeroes.deac(), zeroes.fua()), (slba, nlb, flag, fua));
            let dsm = Sqe::dsm(nsid, ranges, flag);
            prop_assert_eq!((dsm.dsm_ranges(), dsm.dsm_deallocate()), (ranges, flag));
        }

        #[test]
        fn admin_fields_survive(a: u8, b: u8, c: u16, d: u16, dwords in 1u32..=1 << 30, offset: u64) {
            let identify = Sqe::identify(a, 1, b, c);
            prop_assert_eq!((identify.cns(), identify.csi(), identify.cntid()), (a, b, c));
            let abort = Sqe::abort(c, d);
            prop_assert_eq!((abort.abort_sqid(), abort.abort_cid()), (c, d));
            let set = Sqe::set_features(a, 0, dwords);
            prop_assert_eq!((set.fid(), set.cdw11.get(), set.save(), set.select()), (a, dwords, false, 0));
            let bytes = dwords.saturating_mul(4) & !3;
            let log = LogRequest { lid: a, lsp: b & 0x7f, rae: c & 1 != 0, offset: offset & !3, bytes, nsid: 0 };
            let get = Sqe::get_log(log);
            let read = LogRequest {
                lid: get.lid(),
                lsp: get.lsp(),
                rae: get.rae(),
                offset: get.log_offset(),
                bytes: u32::try_from(get.log_bytes()).unwrap(),
                nsid: get.nsid.get(),
            };
            prop_assert_eq!(read, log);
        }
    }
}
