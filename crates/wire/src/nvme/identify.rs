//! Identify Controller: what a controller is and can do.
//!
//! ```text
//!      0  who it is          vid sn mn fr cmic mdts cntlid ver oaes ctratt cntrltype
//!    256  admin commands     oacs acl aerl lpa elpe kas sanicap anacap
//!    512  I/O commands       sqes cqes maxcmd nn oncs vwc sgls
//!    768  name               subnqn
//!   1792  fabrics            ioccsz iorcsz icdoff fcatt msdbd ofcs
//!   2048  power states       psd[32]
//!   3072  vendor             vs
//! ```
//!
//! The fields have the names that `nvme id-ctrl` prints. Bits of a field are constants in a module of the field's name.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_BYTES;

/// CNS: which data structure an Identify command asks for (Base 2.0, Identify: CNS Values).
pub mod cns {
    /// Identify Namespace of the NVM command set.
    pub const NAMESPACE: u8 = 0x00;
    /// Identify Controller.
    pub const CONTROLLER: u8 = 0x01;
    /// Active Namespace ID list.
    pub const ACTIVE_NAMESPACES: u8 = 0x02;
    /// Namespace Identification Descriptor list.
    pub const NAMESPACE_DESCRIPTORS: u8 = 0x03;
    /// NVM set list.
    pub const NVM_SETS: u8 = 0x04;
    /// I/O command set specific Identify Namespace.
    pub const COMMAND_SET_NAMESPACE: u8 = 0x05;
    /// I/O command set specific Identify Controller.
    pub const COMMAND_SET_CONTROLLER: u8 = 0x06;
    /// I/O command set specific Active Namespace ID list.
    pub const COMMAND_SET_ACTIVE_NAMESPACES: u8 = 0x07;
    /// I/O command set independent Identify Namespace.
    pub const INDEPENDENT_NAMESPACE: u8 = 0x08;
    /// Allocated Namespace ID list.
    pub const ALLOCATED_NAMESPACES: u8 = 0x10;
    /// Identify Namespace of an allocated namespace.
    pub const ALLOCATED_NAMESPACE: u8 = 0x11;
    /// List of the controllers that a namespace is attached to.
    pub const NAMESPACE_CONTROLLERS: u8 = 0x12;
    /// List of the subsystem's controllers.
    pub const CONTROLLERS: u8 = 0x13;
    /// Primary Controller Capabilities.
    pub const PRIMARY_CAPABILITIES: u8 = 0x14;
    /// Secondary Controller list.
    pub const SECONDARY_CONTROLLERS: u8 = 0x15;
    /// UUID list.
    pub const UUIDS: u8 = 0x17;
    /// Domain list.
    pub const DOMAINS: u8 = 0x18;
    /// Endurance Group list.
    pub const ENDURANCE_GROUPS: u8 = 0x19;
    /// Identify I/O command set.
    pub const COMMAND_SETS: u8 = 0x1c;
}

/// CSI: the I/O command set.
pub mod csi {
    /// NVM command set: block devices.
    pub const NVM: u8 = 0;
    /// Zoned namespace command set.
    pub const ZNS: u8 = 2;
}

/// Controller multi-path and sharing capabilities.
pub mod cmic {
    /// The subsystem may have several ports.
    pub const MULTI_PORT: u8 = 1 << 0;
    /// The subsystem may have several controllers.
    pub const MULTI_CONTROLLER: u8 = 1 << 1;
    /// Asymmetric namespace access is reported.
    pub const ANA: u8 = 1 << 3;
}

/// Optional asynchronous events supported.
pub mod oaes {
    /// Namespace attribute notices.
    pub const NAMESPACE_ATTRIBUTE: u32 = 1 << 8;
    /// Firmware activation notices.
    pub const FIRMWARE_ACTIVATION: u32 = 1 << 9;
    /// Asymmetric namespace access change notices.
    pub const ANA_CHANGE: u32 = 1 << 11;
    /// Discovery log page change notices.
    pub const DISCOVERY_CHANGE: u32 = 1 << 31;
}

/// Controller attributes.
pub mod ctratt {
    /// Host identifiers have 128 bits; always so on fabrics.
    pub const HOST_ID_128: u32 = 1 << 0;
    /// Traffic based keep alive: any command restarts the timer.
    pub const TRAFFIC_KEEP_ALIVE: u32 = 1 << 6;
    /// The UUID list is supported.
    pub const UUID_LIST: u32 = 1 << 9;
}

/// Controller type.
pub mod cntrltype {
    /// Has namespaces.
    pub const IO: u8 = 1;
    /// Tells where subsystems are.
    pub const DISCOVERY: u8 = 2;
    /// Has neither.
    pub const ADMINISTRATIVE: u8 = 3;
}

/// Log page attributes.
pub mod lpa {
    /// SMART / Health per namespace.
    pub const SMART_PER_NAMESPACE: u8 = 1 << 0;
    /// Commands Supported and Effects.
    pub const COMMAND_EFFECTS: u8 = 1 << 1;
    /// 32-bit NUMD and log page offsets.
    pub const EXTENDED_DATA: u8 = 1 << 2;
    /// Supported Log Pages, Feature Identifiers Supported and Effects, and the scope of each command.
    pub const SUPPORTED_LOGS: u8 = 1 << 5;
}

/// Optional NVM command support.
pub mod oncs {
    /// Compare.
    pub const COMPARE: u16 = 1 << 0;
    /// Write Uncorrectable.
    pub const WRITE_UNCORRECTABLE: u16 = 1 << 1;
    /// Dataset Management.
    pub const DSM: u16 = 1 << 2;
    /// Write Zeroes.
    pub const WRITE_ZEROES: u16 = 1 << 3;
    /// Save in Set Features and Select in Get Features.
    pub const SAVE_FEATURES: u16 = 1 << 4;
    /// Reservations.
    pub const RESERVATIONS: u16 = 1 << 5;
    /// Timestamp.
    pub const TIMESTAMP: u16 = 1 << 6;
    /// Verify.
    pub const VERIFY: u16 = 1 << 7;
    /// Copy.
    pub const COPY: u16 = 1 << 8;
}

/// Fused operation support.
pub mod fuses {
    /// Compare and Write.
    pub const COMPARE_AND_WRITE: u16 = 1 << 0;
}

/// Volatile write cache.
pub mod vwc {
    /// There is one.
    pub const PRESENT: u8 = 1 << 0;
    /// Flush does not take the namespace identifier FFFFFFFFh (bits 2:1 = 10b).
    pub const FLUSH_ALL_UNSUPPORTED: u8 = 0b10 << 1;
    /// Flush takes the namespace identifier FFFFFFFFh (bits 2:1 = 11b).
    pub const FLUSH_ALL_SUPPORTED: u8 = 0b11 << 1;
}

/// SGL support.
pub mod sgls {
    /// Bits 1:0: whether SGLs are supported; 00b is "no", which no fabrics host accepts.
    pub const SUPPORTED_MASK: u32 = 0b11;
    /// SGLs are supported, without alignment (bits 1:0 = 01b).
    pub const SUPPORTED: u32 = 1 << 0;
    /// The address of an in-capsule descriptor is an offset.
    pub const OFFSET: u32 = 1 << 20;
    /// The transport SGL data block descriptor is supported.
    pub const TRANSPORT: u32 = 1 << 21;
}

/// Optional fabrics command support.
pub mod ofcs {
    /// Disconnect, and thereby the deletion of single I/O queues.
    pub const DISCONNECT: u16 = 1 << 0;
}

/// Firmware updates.
pub mod frmw {
    /// Slot 1 is read-only.
    pub const SLOT_1_READ_ONLY: u8 = 1 << 0;

    /// The number of slots (1 to 7), bits 3:1.
    #[must_use]
    pub const fn slots(count: u8) -> u8 {
        assert!(count >= 1 && count <= 7, "a controller has 1 to 7 firmware slots");
        count << 1
    }
}

/// SQES and CQES: the required (bits 3:0) and the largest (bits 7:4) entry size, as powers of two.
pub mod entry_size {
    /// 64-byte commands, no more and no less.
    pub const SQES: u8 = 0x66;
    /// 16-byte completions, no more and no less.
    pub const CQES: u8 = 0x44;
}

/// Unit of IOCCSZ and IORCSZ, in bytes.
pub const CAPSULE_UNIT_BYTES: u32 = 16;
/// Unit of KAS, in milliseconds.
pub const KAS_UNIT_MS: u32 = 100;

/// Identify Controller data structure (Base 2.0, CNS 01h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI vendor ID.
    pub vid: U16,
    /// PCI subsystem vendor ID.
    pub ssvid: U16,
    /// Serial number, see [`ascii`].
    pub sn: [u8; 20],
    /// Model number, see [`ascii`].
    pub mn: [u8; 40],
    /// Firmware revision, see [`ascii`].
    pub fr: [u8; 8],
    /// Recommended arbitration burst: 2^RAB commands.
    pub rab: u8,
    /// IEEE OUI of the vendor.
    pub ieee: [u8; 3],
    /// See [`cmic`].
    pub cmic: u8,
    /// Maximum data transfer size: 2^MDTS x 4 KiB (CAP.MPSMIN); 0 is no limit.
    pub mdts: u8,
    /// Controller ID: that of the Connect response.
    pub cntlid: U16,
    /// Version, as property VS.
    pub ver: U32,
    /// RTD3 resume latency in us.
    pub rtd3r: U32,
    /// RTD3 entry latency in us: also how long a shutdown takes.
    pub rtd3e: U32,
    /// See [`oaes`].
    pub oaes: U32,
    /// See [`ctratt`].
    pub ctratt: U32,
    /// Read recovery levels supported.
    pub rrls: U16,
    /// Reserved.
    pub reserved102: [u8; 9],
    /// See [`cntrltype`].
    pub cntrltype: u8,
    /// FRU globally unique identifier.
    pub fguid: [u8; 16],
    /// Command retry delay time 1, in units of 100 ms.
    pub crdt1: U16,
    /// Command retry delay time 2, in units of 100 ms.
    pub crdt2: U16,
    /// Command retry delay time 3, in units of 100 ms.
    pub crdt3: U16,
    /// Reserved.
    pub reserved134: [u8; 119],
    /// NVM subsystem report.
    pub nvmsr: u8,
    /// VPD write cycle information.
    pub vwci: u8,
    /// Management endpoint capabilities.
    pub mec: u8,
    /// Optional admin command support; none of what it lists is offered here.
    pub oacs: U16,
    /// Abort command limit, 0's based.
    pub acl: u8,
    /// Asynchronous event request limit, 0's based.
    pub aerl: u8,
    /// See [`frmw`].
    pub frmw: u8,
    /// See [`lpa`].
    pub lpa: u8,
    /// Error log page entries, 0's based.
    pub elpe: u8,
    /// Number of power states supported, 0's based.
    pub npss: u8,
    /// Admin vendor specific command configuration.
    pub avscc: u8,
    /// Autonomous power state transition attributes.
    pub apsta: u8,
    /// Warning composite temperature threshold, in kelvin.
    pub wctemp: U16,
    /// Critical composite temperature threshold, in kelvin.
    pub cctemp: U16,
    /// Maximum time for firmware activation, in units of 100 ms.
    pub mtfa: U16,
    /// Host memory buffer preferred size, in units of 4 KiB.
    pub hmpre: U32,
    /// Host memory buffer minimum size, in units of 4 KiB.
    pub hmmin: U32,
    /// Total NVM capacity in bytes.
    pub tnvmcap: U128,
    /// Unallocated NVM capacity in bytes.
    pub unvmcap: U128,
    /// Replay protected memory block support.
    pub rpmbs: U32,
    /// Extended device self-test time in minutes.
    pub edstt: U16,
    /// Device self-test options.
    pub dsto: u8,
    /// Firmware update granularity.
    pub fwug: u8,
    /// Keep alive granularity, in units of 100 ms; 0 is no support, which no host accepts of an I/O controller.
    pub kas: U16,
    /// Host controlled thermal management attributes.
    pub hctma: U16,
    /// Minimum thermal management temperature, in kelvin.
    pub mntmt: U16,
    /// Maximum thermal management temperature, in kelvin.
    pub mxtmt: U16,
    /// Sanitize capabilities.
    pub sanicap: U32,
    /// Host memory buffer minimum descriptor entry size, in units of 4 KiB.
    pub hmminds: U32,
    /// Host memory maximum descriptors entries.
    pub hmmaxd: U16,
    /// NVM set identifier maximum.
    pub nsetidmax: U16,
    /// Endurance group identifier maximum.
    pub endgidmax: U16,
    /// ANA transition time in seconds.
    pub anatt: u8,
    /// ANA capabilities.
    pub anacap: u8,
    /// ANA group identifier maximum.
    pub anagrpmax: U32,
    /// Number of ANA group identifiers.
    pub nanagrpid: U32,
    /// Persistent event log size, in units of 64 KiB.
    pub pels: U32,
    /// Domain identifier.
    pub domainid: U16,
    /// Reserved.
    pub reserved358: [u8; 10],
    /// Max endurance group capacity in bytes.
    pub megcap: U128,
    /// Reserved.
    pub reserved384: [u8; 128],
    /// See [`entry_size`].
    pub sqes: u8,
    /// See [`entry_size`].
    pub cqes: u8,
    /// Maximum outstanding commands of a queue; mandatory on fabrics.
    pub maxcmd: U16,
    /// Number of namespaces: the largest NSID.
    pub nn: U32,
    /// See [`oncs`].
    pub oncs: U16,
    /// See [`fuses`].
    pub fuses: U16,
    /// Format NVM attributes.
    pub fna: u8,
    /// See [`vwc`].
    pub vwc: u8,
    /// Atomic write unit normal, in blocks, 0's based.
    pub awun: U16,
    /// Atomic write unit power fail, in blocks, 0's based.
    pub awupf: U16,
    /// I/O command set vendor specific command configuration.
    pub icsvscc: u8,
    /// Namespace write protection capabilities.
    pub nwpc: u8,
    /// Atomic compare and write unit, in blocks, 0's based.
    pub acwu: U16,
    /// Optional copy formats supported.
    pub ocfs: U16,
    /// See [`sgls`].
    pub sgls: U32,
    /// Maximum number of allowed namespaces.
    pub mnan: U32,
    /// Maximum domain namespace attachments.
    pub maxdna: U128,
    /// Maximum I/O controller namespace attachments.
    pub maxcna: U32,
    /// Reserved.
    pub reserved564: [u8; 204],
    /// NQN of the subsystem: [`super::Nqn::to_field`].
    pub subnqn: [u8; 256],
    /// Reserved.
    pub reserved1024: [u8; 768],
    /// I/O queue command capsule size, in units of 16 bytes: at least 4; what is above 4 is in-capsule data.
    pub ioccsz: U32,
    /// I/O queue response capsule size, in units of 16 bytes: at least 1.
    pub iorcsz: U32,
    /// In-capsule data offset, in units of 16 bytes; 0 on TCP.
    pub icdoff: U16,
    /// Fabrics controller attributes; bit 0 is the static controller model.
    pub fcatt: u8,
    /// Maximum SGL data block descriptors; 1 on TCP.
    pub msdbd: u8,
    /// See [`ofcs`].
    pub ofcs: U16,
    /// Discovery controller type; 0 is not reported.
    pub dctype: u8,
    /// Reserved.
    pub reserved1807: [u8; 241],
    /// Power state descriptors; those beyond NPSS are zero.
    pub psds: [PowerState; 32],
    /// Vendor specific.
    pub vs: [u8; 1024],
}

const _: () = assert!(size_of::<IdentifyController>() == IDENTIFY_BYTES);

impl IdentifyController {
    /// In-capsule data of an I/O queue in bytes: what IOCCSZ leaves after the 64-byte command.
    #[must_use]
    pub const fn in_capsule_bytes(&self) -> u32 {
        self.ioccsz.get().saturating_mul(CAPSULE_UNIT_BYTES).saturating_sub(64)
    }

    /// Sets IOCCSZ for so many bytes of in-capsule data, a multiple of 16.
    pub const fn set_in_capsule_bytes(&mut self, bytes: u32) {
        assert!(bytes.is_multiple_of(CAPSULE_UNIT_BYTES), "in-capsule data comes in units of 16 bytes");
        self.ioccsz = U32::new((64 + bytes) / CAPSULE_UNIT_BYTES);
    }

    /// Largest transfer of a command in bytes, for a controller with CAP.MPSMIN `mpsmin`; `None` is no limit.
    #[must_use]
    pub const fn max_transfer_bytes(&self, mpsmin: u8) -> Option<u64> {
        let shift = 12 + mpsmin as u32 + self.mdts as u32;
        if self.mdts == 0 || shift >= u64::BITS { None } else { Some(1 << shift) }
    }
}

/// A power state descriptor (Base 2.0, Identify: Power State Descriptor), 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PowerState {
    /// Maximum power in the scale of the flags.
    pub mp: U16,
    /// Reserved.
    pub reserved2: u8,
    /// Bit 0: scale of the maximum power (0 is 0.01 W); bit 1: not operational.
    pub flags: u8,
    /// Entry latency in us.
    pub enlat: U32,
    /// Exit latency in us.
    pub exlat: U32,
    /// Relative read throughput.
    pub rrt: u8,
    /// Relative read latency.
    pub rrl: u8,
    /// Relative write throughput.
    pub rwt: u8,
    /// Relative write latency.
    pub rwl: u8,
    /// Idle power.
    pub idlp: U16,
    /// Idle power scale.
    pub ips: u8,
    /// Reserved.
    pub reserved19: u8,
    /// Active power.
    pub actp: U16,
    /// Active power workload and scale.
    pub apws: u8,
    /// Reserved.
    pub reserved23: [u8; 9],
}

const _: () = assert!(size_of::<PowerState>() == 32);

/// I/O command set specific Identify Controller of the NVM command set (NVM Command Set 1.0, CNS 06h, CSI 0), 4,096
/// bytes. All zero is a valid answer: no limits but MDTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmIdentifyController {
    /// Verify size limit: 2^VSL x 4 KiB (CAP.MPSMIN); 0 is no limit.
    pub vsl: u8,
    /// Write Zeroes size limit: 2^WZSL x 4 KiB (CAP.MPSMIN); 0 is no limit.
    pub wzsl: u8,
    /// Write Uncorrectable size limit: 2^WUSL x 4 KiB (CAP.MPSMIN); 0 is no limit.
    pub wusl: u8,
    /// Dataset Management ranges limit.
    pub dmrl: u8,
    /// Dataset Management range size limit, in blocks.
    pub dmrsl: U32,
    /// Dataset Management size limit, in blocks.
    pub dmsl: U64,
    /// Reserved.
    pub reserved16: [u8; 4080],
}

const _: () = assert!(size_of::<NvmIdentifyController>() == IDENTIFY_BYTES);

/// A text as an ASCII field: cut at its size, padded with spaces, what is not printable ASCII replaced by `?`.
#[must_use]
pub fn ascii<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.chars()) {
        *to = if from == ' ' || from.is_ascii_graphic() { from as u8 } else { b'?' };
    }
    field
}

/// The text of an ASCII field: without its padding of spaces or zeros, what is not printable ASCII replaced by `?`.
#[must_use]
pub fn text(field: &[u8]) -> String {
    let end = field.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    let printable = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    field[..end].iter().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn controller_fields_are_where_the_specification_has_them() {
        offsets!(IdentifyController:
            vid 0, sn 4, mn 24, fr 64, rab 72, ieee 73, cmic 76, mdts 77, cntlid 78, ver 80, rtd3r 84, rtd3e 88,
            oaes 92, ctratt 96, rrls 100, cntrltype 111, fguid 112, crdt1 128, nvmsr 253, vwci 254, mec 255,
            oacs 256, acl 258, aerl 259, frmw 260, lpa 261, elpe 262, npss 263, avscc 264, apsta 265, wctemp 266,
            cctemp 268, mtfa 270, hmpre 272, hmmin 276, tnvmcap 280, unvmcap 296, rpmbs 312, edstt 316, dsto 318,
            fwug 319, kas 320, hctma 322, mntmt 324, mxtmt 326, sanicap 328, hmminds 332, hmmaxd 336,
            nsetidmax 338, endgidmax 340, anatt 342, anacap 343, anagrpmax 344, nanagrpid 348, pels 352,
            domainid 356, megcap 368, sqes 512, cqes 513, maxcmd 514, nn 516, oncs 520, fuses 522, fna 524,
            vwc 525, awun 526, awupf 528, icsvscc 530, nwpc 531, acwu 532, ocfs 534, sgls 536, mnan 540,
            maxdna 544, maxcna 560, subnqn 768, ioccsz 1792, iorcsz 1796, icdoff 1800, fcatt 1802, msdbd 1803,
            ofcs 1804, dctype 1806, psds 2048, vs 3072,
        );
        offsets!(NvmIdentifyController: vsl 0, wzsl 1, wusl 2, dmrl 3, dmrsl 4, dmsl 8,);
        offsets!(PowerState: mp 0, flags 3, enlat 4, exlat 8, rrt 12, idlp 16, actp 20,);
    }

    #[test]
    fn fields_are_little_endian_in_the_page() {
        let mut page = IdentifyController::new_zeroed();
        page.cntlid = U16::new(0x0102);
        page.sgls = U32::new(sgls::SUPPORTED | sgls::OFFSET);
        page.sqes = entry_size::SQES;
        let bytes = page.as_bytes();
        assert_eq!(bytes[78..80], [2, 1]);
        assert_eq!(bytes[536..540], [1, 0, 0x10, 0]);
        assert_eq!(IdentifyController::ref_from_bytes(bytes).unwrap(), &page);
        assert!(IdentifyController::ref_from_bytes(&bytes[1..]).is_err());
    }

    #[test]
    fn capsule_sizes() {
        let mut page = IdentifyController::new_zeroed();
        assert_eq!(page.in_capsule_bytes(), 0, "an invalid IOCCSZ of 0 is not a huge capsule");
        page.set_in_capsule_bytes(0);
        assert_eq!((page.ioccsz.get(), page.in_capsule_bytes()), (4, 0));
        page.set_in_capsule_bytes(8192);
        assert_eq!((page.ioccsz.get(), page.in_capsule_bytes()), (516, 8192));
        page.ioccsz = U32::new(u32::MAX);
        assert_eq!(page.in_capsule_bytes(), u32::MAX - 64);
    }

    #[test]
    fn transfer_limits() {
        let mut page = IdentifyController::new_zeroed();
        assert_eq!(page.max_transfer_bytes(0), None);
        page.mdts = 5;
        assert_eq!((page.max_transfer_bytes(0), page.max_transfer_bytes(4)), (Some(128 << 10), Some(2 << 20)));
        page.mdts = u8::MAX;
        assert_eq!(page.max_transfer_bytes(15), None);
    }

    #[test]
    fn ascii_fields_are_padded_cut_and_clean() {
        assert_eq!(&ascii::<8>("qpair"), b"qpair   ");
        assert_eq!(&ascii::<4>("qpair"), b"qpai");
        assert_eq!(&ascii::<6>("a\tb\u{e4}c"), b"a?b?c ");
        assert_eq!(text(&ascii::<8>("q p")), "q p");
        assert_eq!((text(b"127.0.0.1\0\0\0"), text(b"a\x1b b  "), text(b"   "), text(b"")), {
            ("127.0.0.1".into(), "a? b".into(), String::new(), String::new())
        });
    }

    #[test]
    fn firmware_slots_are_in_bits_3_to_1() {
        assert_eq!(frmw::SLOT_1_READ_ONLY | frmw::slots(1), 0b11);
    }
}
