//! Controller properties, read and written with Property Get and Property Set.
//!
//! ```text
//!   00h CAP   8 B   what the controller can do          14h CC    4 B   what the host wants of it
//!   08h VS    4 B   the version it claims               1Ch CSTS  4 B   how it is
//!   20h NSSR  4 B   subsystem reset                     68h CRTO  4 B   how long it takes to become ready
//! ```
//!
//! The host writes CC.EN = 1 and waits for CSTS.RDY = 1; to stop it writes CC.SHN and waits for CSTS.SHST = 2.

use std::fmt;

/// Offset of controller capabilities, 8 bytes.
pub const CAP: u32 = 0x00;
/// Offset of the version, 4 bytes.
pub const VS: u32 = 0x08;
/// Offset of the controller configuration, 4 bytes; the only one that a host must be able to write.
pub const CC: u32 = 0x14;
/// Offset of the controller status, 4 bytes.
pub const CSTS: u32 = 0x1c;
/// Offset of the NVM subsystem reset, 4 bytes; optional.
pub const NSSR: u32 = 0x20;
/// Offset of the controller ready timeouts, 4 bytes.
pub const CRTO: u32 = 0x68;

/// Size in bytes of the property at an offset, if there is one on fabrics.
#[must_use]
pub const fn bytes(offset: u32) -> Option<u32> {
    match offset {
        CAP => Some(8),
        VS | CC | CSTS | NSSR | CRTO => Some(4),
        _ => None,
    }
}

const fn get(value: u64, shift: u32, bits: u32) -> u64 {
    value >> shift & ((1 << bits) - 1)
}

const fn set(value: u64, shift: u32, bits: u32, field: u64) -> u64 {
    let mask = ((1 << bits) - 1) << shift;
    assert!(field < 1 << bits, "the value does not fit the field");
    value & !mask | field << shift
}

/// Controller capabilities (Base 2.0, Offset 0h: CAP).
///
/// ```text
///   63:61  60:59  58:56  55:52   51:48   47:46  45   44:37  36     35:32  31:24  18:17  16   15:0
///   0      CRMS   ..     MPSMAX  MPSMIN  CPS    BPS  CSS    NSSRS  DSTRD  TO     AMS    CQR  MQES
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cap(pub u64);

impl Cap {
    /// CSS bit 0: the NVM command set.
    pub const CSS_NVM: u8 = 1 << 0;
    /// CSS bit 6: Identify tells the command sets (and each namespace must have a CSI descriptor).
    pub const CSS_IOCSS: u8 = 1 << 6;
    /// CSS bit 7: no I/O command set: a discovery or administrative controller.
    pub const CSS_ADMIN_ONLY: u8 = 1 << 7;
    /// CRMS bit 0: ready with media (CRWMS).
    pub const CRMS_WITH_MEDIA: u8 = 1 << 0;
    /// CRMS bit 1: ready independent of media (CRIMS).
    pub const CRMS_INDEPENDENT: u8 = 1 << 1;

    /// With the largest queue size, 0's based.
    #[must_use]
    pub const fn with_mqes(self, mqes: u16) -> Self {
        Self(set(self.0, 0, 16, mqes as u64))
    }

    /// With contiguous queues required; always so on fabrics.
    #[must_use]
    pub const fn with_cqr(self) -> Self {
        Self(set(self.0, 16, 1, 1))
    }

    /// With the longest time that CSTS.RDY takes to follow CC.EN, in units of 500 ms.
    #[must_use]
    pub const fn with_to(self, half_seconds: u8) -> Self {
        Self(set(self.0, 24, 8, half_seconds as u64))
    }

    /// With the command sets: see the constants.
    #[must_use]
    pub const fn with_css(self, css: u8) -> Self {
        Self(set(self.0, 37, 8, css as u64))
    }

    /// With the controller ready modes: see the constants.
    #[must_use]
    pub const fn with_crms(self, crms: u8) -> Self {
        Self(set(self.0, 59, 2, crms as u64))
    }

    /// Largest queue size, 0's based.
    #[must_use]
    pub const fn mqes(self) -> u16 {
        get(self.0, 0, 16) as u16
    }

    /// Contiguous queues are required.
    #[must_use]
    pub const fn cqr(self) -> bool {
        get(self.0, 16, 1) != 0
    }

    /// Longest time that CSTS.RDY takes to follow CC.EN, in units of 500 ms.
    #[must_use]
    pub const fn to(self) -> u8 {
        get(self.0, 24, 8) as u8
    }

    /// Doorbell stride; 0 on fabrics.
    #[must_use]
    pub const fn dstrd(self) -> u8 {
        get(self.0, 32, 4) as u8
    }

    /// NVM subsystem reset is supported.
    #[must_use]
    pub const fn nssrs(self) -> bool {
        get(self.0, 36, 1) != 0
    }

    /// Command sets.
    #[must_use]
    pub const fn css(self) -> u8 {
        get(self.0, 37, 8) as u8
    }

    /// Smallest memory page: 2^(12 + MPSMIN) bytes; also the unit of MDTS.
    #[must_use]
    pub const fn mpsmin(self) -> u8 {
        get(self.0, 48, 4) as u8
    }

    /// Largest memory page: 2^(12 + MPSMAX) bytes.
    #[must_use]
    pub const fn mpsmax(self) -> u8 {
        get(self.0, 52, 4) as u8
    }

    /// Controller ready modes.
    #[must_use]
    pub const fn crms(self) -> u8 {
        get(self.0, 59, 2) as u8
    }
}

/// A version (Base 2.0, Offset 8h: VS): major 31:16, minor 15:8, tertiary 7:0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Vs(pub u32);

impl Vs {
    /// 1.3: the first with namespace identification descriptors.
    pub const V1_3: Self = Self::new(1, 3, 0);
    /// 1.4.
    pub const V1_4: Self = Self::new(1, 4, 0);
    /// 2.0.
    pub const V2_0: Self = Self::new(2, 0, 0);
    /// 2.1.
    pub const V2_1: Self = Self::new(2, 1, 0);

    /// A version.
    #[must_use]
    pub const fn new(major: u16, minor: u8, tertiary: u8) -> Self {
        Self((major as u32) << 16 | (minor as u32) << 8 | tertiary as u32)
    }

    /// The first number.
    #[must_use]
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The second number.
    #[must_use]
    pub const fn minor(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The third number.
    #[must_use]
    pub const fn tertiary(self) -> u8 {
        self.0 as u8
    }
}

impl fmt::Display for Vs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())?;
        if self.tertiary() != 0 { write!(f, ".{}", self.tertiary()) } else { Ok(()) }
    }
}

impl fmt::Debug for Vs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What CC.SHN asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// 00b.
    None,
    /// 01b.
    Normal,
    /// 10b.
    Abrupt,
    /// 11b.
    Reserved,
}

/// Controller configuration (Base 2.0, Offset 14h: CC).
///
/// ```text
///   24     23:20   19:16   15:14  13:11  10:7  6:4  3:1  0
///   CRIME  IOCQES  IOSQES  SHN    AMS    MPS   CSS  0    EN
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cc(pub u32);

impl Cc {
    /// CSS 000b: the NVM command set.
    pub const CSS_NVM: u8 = 0;
    /// CSS 110b: all command sets that Identify tells.
    pub const CSS_ALL: u8 = 6;
    /// CSS 111b: admin commands only.
    pub const CSS_ADMIN_ONLY: u8 = 7;

    /// What a host writes to enable a controller for the NVM command set: 64-byte commands, 16-byte completions, 4 KiB
    /// pages.
    #[must_use]
    pub const fn enable() -> Self {
        Self(1 | 6 << 16 | 4 << 20)
    }

    /// With the command set selected: see the constants.
    #[must_use]
    pub const fn with_css(self, css: u8) -> Self {
        Self(set(self.0 as u64, 4, 3, css as u64) as u32)
    }

    /// With or without enable.
    #[must_use]
    pub const fn with_en(self, en: bool) -> Self {
        Self(set(self.0 as u64, 0, 1, en as u64) as u32)
    }

    /// With a normal shutdown asked for.
    #[must_use]
    pub const fn with_normal_shutdown(self) -> Self {
        Self(set(self.0 as u64, 14, 2, 1) as u32)
    }

    /// Enable.
    #[must_use]
    pub const fn en(self) -> bool {
        self.0 & 1 != 0
    }

    /// Command set selected.
    #[must_use]
    pub const fn css(self) -> u8 {
        get(self.0 as u64, 4, 3) as u8
    }

    /// Memory page size: 2^(12 + MPS) bytes.
    #[must_use]
    pub const fn mps(self) -> u8 {
        get(self.0 as u64, 7, 4) as u8
    }

    /// Arbitration mechanism selected.
    #[must_use]
    pub const fn ams(self) -> u8 {
        get(self.0 as u64, 11, 3) as u8
    }

    /// Shutdown notification.
    #[must_use]
    pub const fn shn(self) -> Shutdown {
        match get(self.0 as u64, 14, 2) {
            0 => Shutdown::None,
            1 => Shutdown::Normal,
            2 => Shutdown::Abrupt,
            _ => Shutdown::Reserved,
        }
    }

    /// Size of submission queue entries: 2^IOSQES bytes.
    #[must_use]
    pub const fn iosqes(self) -> u8 {
        get(self.0 as u64, 16, 4) as u8
    }

    /// Size of completion queue entries: 2^IOCQES bytes.
    #[must_use]
    pub const fn iocqes(self) -> u8 {
        get(self.0 as u64, 20, 4) as u8
    }

    /// Ready independent of media is enabled.
    #[must_use]
    pub const fn crime(self) -> bool {
        get(self.0 as u64, 24, 1) != 0
    }
}

/// Controller status (Base 2.0, Offset 1Ch: CSTS).
///
/// ```text
///   6   5   4      3:2   1    0
///   ST  PP  NSSRO  SHST  CFS  RDY
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Csts(pub u32);

impl Csts {
    /// SHST 00b: no shutdown.
    pub const SHST_NONE: u8 = 0;
    /// SHST 01b: the shutdown is going on.
    pub const SHST_OCCURRING: u8 = 1;
    /// SHST 10b: the shutdown is complete.
    pub const SHST_COMPLETE: u8 = 2;

    /// With or without ready.
    #[must_use]
    pub const fn with_rdy(self, rdy: bool) -> Self {
        Self(set(self.0 as u64, 0, 1, rdy as u64) as u32)
    }

    /// With or without controller fatal status.
    #[must_use]
    pub const fn with_cfs(self, cfs: bool) -> Self {
        Self(set(self.0 as u64, 1, 1, cfs as u64) as u32)
    }

    /// With the state of the shutdown: see the constants.
    #[must_use]
    pub const fn with_shst(self, shst: u8) -> Self {
        Self(set(self.0 as u64, 2, 2, shst as u64) as u32)
    }

    /// Ready.
    #[must_use]
    pub const fn rdy(self) -> bool {
        self.0 & 1 != 0
    }

    /// Controller fatal status.
    #[must_use]
    pub const fn cfs(self) -> bool {
        self.0 & 2 != 0
    }

    /// State of the shutdown.
    #[must_use]
    pub const fn shst(self) -> u8 {
        get(self.0 as u64, 2, 2) as u8
    }
}

/// Controller ready timeouts (Base 2.0, Offset 68h: CRTO), in units of 500 ms: CRIMT 31:16, CRWMT 15:0.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Crto(pub u32);

impl Crto {
    /// From the timeouts of ready with media (CRWMT) and ready independent of media (CRIMT).
    #[must_use]
    pub const fn new(crwmt: u16, crimt: u16) -> Self {
        Self((crimt as u32) << 16 | crwmt as u32)
    }

    /// Timeout of ready with media.
    #[must_use]
    pub const fn crwmt(self) -> u16 {
        self.0 as u16
    }

    /// Timeout of ready independent of media.
    #[must_use]
    pub const fn crimt(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cap_bits() {
        let cap = Cap::default().with_mqes(127).with_cqr().with_to(15).with_css(Cap::CSS_NVM);
        assert_eq!(cap.0, 127 | 1 << 16 | 15 << 24 | 1 << 37);
        let cap = cap.with_css(Cap::CSS_NVM | Cap::CSS_IOCSS).with_crms(Cap::CRMS_WITH_MEDIA | Cap::CRMS_INDEPENDENT);
        assert_eq!(cap.0, 127 | 1 << 16 | 15 << 24 | 1 << 37 | 1 << 43 | 3 << 59);
        assert_eq!((cap.mqes(), cap.cqr(), cap.to(), cap.css(), cap.crms()), (127, true, 15, 0x41, 3));
        assert_eq!((cap.mpsmin(), cap.mpsmax(), cap.dstrd(), cap.nssrs()), (0, 0, 0, false));
        assert_eq!((Cap(u64::MAX).mpsmin(), Cap(9 << 52).mpsmax()), (15, 9));
    }

    #[test]
    fn a_kernel_enables_and_shuts_down() {
        // What Linux writes: IOSQES 6, IOCQES 4, then EN; at the end SHN 01b.
        assert_eq!(Cc::enable().0, 0x0046_0001);
        let cc = Cc::enable().with_css(Cc::CSS_ALL);
        assert_eq!((cc.0, cc.en(), cc.css(), cc.iosqes(), cc.iocqes()), (0x0046_0061, true, 6, 6, 4));
        assert_eq!((cc.mps(), cc.ams(), cc.crime(), cc.shn()), (0, 0, false, Shutdown::None));
        assert_eq!(cc.with_normal_shutdown().0, 0x0046_4061);
        assert_eq!((cc.with_normal_shutdown().shn(), Cc(2 << 14).shn()), (Shutdown::Normal, Shutdown::Abrupt));
        assert!(!cc.with_en(false).en());
    }

    #[test]
    fn csts_vs_crto_bits() {
        let csts = Csts::default().with_rdy(true).with_shst(Csts::SHST_COMPLETE);
        assert_eq!((csts.0, csts.rdy(), csts.cfs(), csts.shst()), (0b1001, true, false, 2));
        assert_eq!(csts.with_rdy(false).with_cfs(true).0, 0b1010);
        assert_eq!((Vs::V2_0.0, Vs::V1_4.0, Vs::new(1, 2, 1).0), (0x2_0000, 0x1_0400, 0x1_0201));
        assert_eq!((Vs::V2_1.to_string(), Vs::new(1, 2, 1).to_string()), ("2.1".into(), "1.2.1".into()));
        assert!(Vs::V1_3 < Vs::V1_4 && Vs::V1_4 < Vs::V2_0);
        assert_eq!((Crto::new(20, 10).0, Crto(0x000a_0014).crwmt(), Crto(0x000a_0014).crimt()), (0x000a_0014, 20, 10));
    }

    #[test]
    fn sizes() {
        assert_eq!([CAP, VS, CC, CSTS, CRTO].map(bytes), [Some(8), Some(4), Some(4), Some(4), Some(4)]);
        assert_eq!([4, 0xc, 0x10, 0x24, u32::MAX].map(bytes), [None; 5]);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_value_that_does_not_fit_is_our_bug() {
        let _ = Cap::default().with_crms(4);
    }
}
