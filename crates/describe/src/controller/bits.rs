//! What the bits of Identify Controller mean (Base 2.0, Identify Controller Data Structure).

use crate::bits::{Bits, bit, code, range};

pub(super) const CMIC: &[Bits] = &[
    bit(0, "the subsystem may have several ports"),
    bit(1, "the subsystem may have several controllers"),
    bit(2, "this is a virtual function of SR-IOV"),
    bit(3, "asymmetric namespace access is reported"),
];

pub(super) const OAES: &[Bits] = &[
    bit(8, "namespace attribute notices"),
    bit(9, "firmware activation notices"),
    bit(11, "asymmetric namespace access change notices"),
    bit(12, "predictable latency event aggregate log change notices"),
    bit(13, "LBA status information notices"),
    bit(14, "endurance group event aggregate log change notices"),
    bit(15, "normal NVM subsystem shutdown events"),
    bit(27, "zone descriptor changed notices"),
    bit(31, "discovery log page change notices"),
];

pub(super) const CTRATT: &[Bits] = &[
    bit(0, "host identifiers of 128 bits"),
    bit(1, "non-operational power states may be exceeded for background work"),
    bit(2, "NVM sets"),
    bit(3, "read recovery levels"),
    bit(4, "endurance groups"),
    bit(5, "predictable latency mode"),
    bit(6, "traffic based keep alive: any command restarts the timer"),
    bit(7, "namespace granularity"),
    bit(8, "submission queue associations"),
    bit(9, "UUID list"),
    bit(10, "multi-domain subsystem"),
    bit(11, "fixed capacity management"),
    bit(12, "variable capacity management"),
    bit(13, "endurance groups can be deleted"),
    bit(14, "NVM sets can be deleted"),
    bit(15, "extended LBA formats"),
];

pub(super) const CNTRLTYPE: &[&str] = &["not reported", "I/O controller", "discovery controller", "administrative"];

pub(super) const NVMSR: &[Bits] = &[bit(0, "part of a storage device"), bit(1, "part of an enclosure")];

pub(super) const VWCI: &[Bits] = &[range(6, 0, "VPD write cycles left"), bit(7, "the number of cycles is valid")];

pub(super) const MEC: &[Bits] =
    &[bit(0, "management endpoint on SMBus or I2C"), bit(1, "management endpoint on a PCIe port")];

pub(super) const OACS: &[Bits] = &[
    bit(0, "Security Send and Security Receive"),
    bit(1, "Format NVM"),
    bit(2, "Firmware Commit and Firmware Image Download"),
    bit(3, "Namespace Management and Namespace Attachment"),
    bit(4, "Device Self-test"),
    bit(5, "Directives"),
    bit(6, "NVMe-MI Send and NVMe-MI Receive"),
    bit(7, "Virtualization Management"),
    bit(8, "Doorbell Buffer Config"),
    bit(9, "Get LBA Status"),
    bit(10, "Command and Feature Lockdown"),
];

pub(super) const FRMW: &[Bits] = &[
    bit(0, "slot 1 is read-only"),
    range(3, 1, "firmware slots"),
    bit(4, "firmware is activated without a reset"),
    bit(5, "overlapping updates are detected"),
];

pub(super) const LPA: &[Bits] = &[
    bit(0, "SMART / Health Information per namespace"),
    bit(1, "Commands Supported and Effects"),
    bit(2, "long transfers and offsets of Get Log Page"),
    bit(3, "telemetry, host and controller initiated"),
    bit(4, "persistent event log"),
    bit(5, "supported log pages, and scopes of commands and features"),
    bit(6, "telemetry data area 4"),
];

pub(super) const VENDOR_COMMANDS: &[Bits] = &[bit(0, "vendor specific commands have the standard format")];

pub(super) const APSTA: &[Bits] = &[bit(0, "autonomous power state transitions")];

pub(super) const RPMBS: &[Bits] = &[
    range(2, 0, "RPMB units"),
    range(5, 3, "authentication method; 0 is HMAC SHA-256"),
    range(23, 16, "size of a unit in 128 KiB, less 1"),
    range(31, 24, "size of an access in 512 bytes, less 1"),
];

pub(super) const DSTO: &[Bits] = &[bit(0, "one self-test of the whole subsystem at a time")];

pub(super) const HCTMA: &[Bits] = &[bit(0, "host controlled thermal management")];

pub(super) const SANICAP: &[Bits] = &[
    bit(0, "crypto erase"),
    bit(1, "block erase"),
    bit(2, "overwrite"),
    bit(29, "No-Deallocate After Sanitize is not supported"),
    code(31, 30, "media changes after sanitize", &["", "none", "some, unless No-Deallocate is honored"]),
];

pub(super) const ANACAP: &[Bits] = &[
    bit(0, "optimized state"),
    bit(1, "non-optimized state"),
    bit(2, "inaccessible state"),
    bit(3, "persistent loss state"),
    bit(4, "change state"),
    bit(6, "a namespace's group does not change while it is attached"),
    bit(7, "group identifiers other than 0 in namespace management"),
];

pub(super) const ENTRY_SIZE: &[Bits] =
    &[range(3, 0, "required entry size, as a power of two"), range(7, 4, "largest entry size, as a power of two")];

pub(super) const ONCS: &[Bits] = &[
    bit(0, "Compare"),
    bit(1, "Write Uncorrectable"),
    bit(2, "Dataset Management"),
    bit(3, "Write Zeroes"),
    bit(4, "Save and Select of features"),
    bit(5, "reservations"),
    bit(6, "Timestamp"),
    bit(7, "Verify"),
    bit(8, "Copy"),
];

pub(super) const FUSES: &[Bits] = &[bit(0, "Compare and Write")];

pub(super) const FNA: &[Bits] = &[
    bit(0, "a format is of all namespaces"),
    bit(1, "an erase by format is of all namespaces"),
    bit(2, "crypto erase"),
    bit(3, "no format of NSID FFFFFFFFh"),
];

pub(super) const VWC: &[Bits] = &[
    bit(0, "there is a volatile write cache"),
    code(2, 1, "Flush of NSID FFFFFFFFh", &["", "reserved", "not supported", "all namespaces"]),
];

pub(super) const NWPC: &[Bits] = &[
    bit(0, "no write protect, and write protect"),
    bit(1, "write protect until power cycle"),
    bit(2, "permanent write protect"),
];

pub(super) const OCFS: &[Bits] =
    &[bit(0, "copy format 0h"), bit(1, "copy format 1h"), bit(2, "copy format 2h"), bit(3, "copy format 3h")];

pub(super) const SGLS: &[Bits] = &[
    code(1, 0, "SGLs", &["not supported", "of any alignment", "of dwords"]),
    bit(2, "keyed SGL data block descriptor"),
    range(15, 8, "descriptors up to which SGLs are best"),
    bit(16, "SGL bit bucket descriptor"),
    bit(17, "byte aligned contiguous metadata buffer"),
    bit(18, "SGLs may be longer than the data"),
    bit(19, "metadata pointer to an SGL"),
    bit(20, "offsets in the address field of descriptors"),
    bit(21, "transport SGL data block descriptor"),
];

pub(super) const FCATT: &[Bits] = &[bit(0, "static controller model")];

pub(super) const OFCS: &[Bits] = &[bit(0, "Disconnect")];

pub(super) const DCTYPE: &[&str] = &["not reported", "direct discovery controller", "central discovery controller"];

pub(super) const PSD_FLAGS: &[Bits] = &[bit(0, "the maximum power counts in 0.0001 W"), bit(1, "not operational")];

pub(super) const WORKLOAD: &[&str] = &["none", "workload #1", "workload #2"];
