//! Features: which there are by name, and what their values mean.
//!
//! nvme-cli 2.3 has no JSON for them. The keys here are the specification's acronyms.

use crate::bits::{self, Bits, bit, code};
use crate::tree::Object;
use crate::units::celsius;

/// A feature that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// FID.
    pub fid: u8,
    /// What the tool calls it.
    pub name: &'static str,
    /// What the specification calls it.
    pub title: &'static str,
    /// Bytes of data that Get Features and Set Features transfer.
    pub data_bytes: usize,
    /// It belongs to a namespace.
    pub of_namespace: bool,
    /// Parts of the result, which are those of dword 11: key, bits, what.
    parts: &'static [(&'static str, u8, u8)],
    /// What bits mean, beside the parts.
    bits: &'static [Bits],
}

const fn feature(
    fid: u8,
    name: &'static str,
    title: &'static str,
    parts: &'static [(&'static str, u8, u8)],
) -> Feature {
    Feature { fid, name, title, data_bytes: 0, of_namespace: false, parts, bits: &[] }
}

impl Feature {
    const fn data(self, data_bytes: usize) -> Self {
        Self { data_bytes, ..self }
    }

    const fn of_namespace(self) -> Self {
        Self { of_namespace: true, ..self }
    }

    const fn bits(self, bits: &'static [Bits]) -> Self {
        Self { bits, ..self }
    }
}

const EVENTS: &[Bits] = &[
    bit(0, "SMART: available spare"),
    bit(1, "SMART: temperature"),
    bit(2, "SMART: reliability"),
    bit(3, "SMART: read-only"),
    bit(4, "SMART: volatile memory backup"),
    bit(5, "SMART: persistent memory region"),
    bit(8, "namespace attribute notices"),
    bit(9, "firmware activation notices"),
    bit(10, "telemetry log notices"),
    bit(11, "asymmetric namespace access change notices"),
    bit(12, "predictable latency event aggregate log change notices"),
    bit(13, "LBA status information notices"),
    bit(14, "endurance group event aggregate log change notices"),
    bit(15, "normal NVM subsystem shutdown events"),
    bit(27, "zone descriptor changed notices"),
    bit(31, "discovery log page change notices"),
];

const NOTIFICATIONS: &[Bits] = &[
    bit(1, "no notice of a registration that is preempted"),
    bit(2, "no notice of a reservation that is released"),
    bit(3, "no notice of a reservation that is preempted"),
];

const PROTECTION: &[Bits] =
    &[code(2, 0, "write protection", &["none", "write protected", "until the next power cycle", "permanent"])];

/// All that are known by name (Base 2.0, Feature Identifiers; NVM Command Set 1.0, Features).
pub const FEATURES: &[Feature] = &[
    feature(0x01, "arbitration", "Arbitration", &[("ab", 2, 0), ("lpw", 15, 8), ("mpw", 23, 16), ("hpw", 31, 24)]),
    feature(0x02, "power", "Power Management", &[("ps", 4, 0), ("wh", 7, 5)]),
    feature(0x03, "lba-ranges", "LBA Range Type", &[("num", 5, 0)]).data(4096).of_namespace(),
    feature(
        0x04,
        "temperature-threshold",
        "Temperature Threshold",
        &[("tmpth", 15, 0), ("tmpsel", 19, 16), ("thsel", 21, 20)],
    ),
    feature(0x05, "error-recovery", "Error Recovery", &[("tler", 15, 0), ("dulbe", 16, 16)]).of_namespace(),
    feature(0x06, "write-cache", "Volatile Write Cache", &[("wce", 0, 0)]).bits(&[code(
        0,
        0,
        "the volatile write cache",
        &["is off", "is on"],
    )]),
    feature(0x07, "queues", "Number of Queues", &[("nsqa", 15, 0), ("ncqa", 31, 16)]),
    feature(0x08, "interrupt-coalescing", "Interrupt Coalescing", &[("thr", 7, 0), ("time", 15, 8)]),
    feature(0x09, "interrupt-vector", "Interrupt Vector Configuration", &[("iv", 15, 0), ("cd", 16, 16)]),
    feature(0x0a, "write-atomicity", "Write Atomicity Normal", &[("dn", 0, 0)]),
    feature(0x0b, "events", "Asynchronous Event Configuration", &[]).bits(EVENTS),
    feature(0x0c, "power-transitions", "Autonomous Power State Transition", &[("apste", 0, 0)]).data(256),
    feature(0x0d, "host-memory-buffer", "Host Memory Buffer", &[("ehm", 0, 0), ("mr", 1, 1)]).data(4096),
    feature(0x0e, "timestamp", "Timestamp", &[]).data(8),
    feature(0x0f, "keep-alive", "Keep Alive Timer", &[("kato", 31, 0)]),
    feature(0x10, "thermal-management", "Host Controlled Thermal Management", &[("tmt2", 15, 0), ("tmt1", 31, 16)]),
    feature(0x11, "non-operational-power", "Non-Operational Power State Config", &[("noppme", 0, 0)]),
    feature(0x12, "read-recovery", "Read Recovery Level Config", &[("rrl", 3, 0)]),
    feature(0x13, "latency-config", "Predictable Latency Mode Config", &[("lpe", 0, 0)]).data(512),
    feature(0x14, "latency-window", "Predictable Latency Mode Window", &[("ws", 2, 0)]),
    feature(0x15, "lba-status", "LBA Status Information Attributes", &[("lsiri", 15, 0), ("lsipi", 31, 16)]),
    feature(0x16, "host-behavior", "Host Behavior Support", &[]).data(512),
    feature(0x17, "sanitize", "Sanitize Config", &[("nodrm", 0, 0)]),
    feature(0x18, "endurance-events", "Endurance Group Event Configuration", &[("endgid", 15, 0), ("egcw", 23, 16)]),
    feature(0x19, "command-sets", "I/O Command Set Profile", &[("iocsci", 8, 0)]),
    feature(0x80, "software-progress", "Software Progress Marker", &[("pbslc", 7, 0)]),
    feature(0x81, "host-id", "Host Identifier", &[("exhid", 0, 0)]).data(16),
    feature(0x82, "reservation-notices", "Reservation Notification Mask", &[]).bits(NOTIFICATIONS).of_namespace(),
    feature(0x83, "reservation-persistence", "Reservation Persistence", &[("ptpl", 0, 0)]).of_namespace(),
    feature(0x84, "write-protection", "Namespace Write Protection Config", &[("wps", 2, 0)])
        .bits(PROTECTION)
        .of_namespace(),
];

/// The feature of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// The feature of this identifier.
#[must_use]
pub fn by_fid(fid: u8) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.fid == fid)
}

/// Which feature it is.
fn head(fid: u8) -> Object {
    let mut page = Object::page();
    page.hex("fid", fid).may_mean(by_fid(fid).map(|feature| feature.title));
    page.text("name", by_fid(fid).map_or("", |feature| feature.name));
    page
}

/// A value of a feature: the result of Get Features, and the data that came with it.
#[must_use]
pub fn value(fid: u8, result: u32, data: &[u8]) -> Object {
    let mut page = head(fid);
    let feature = by_fid(fid);
    page.hex("value", result).notes = feature
        .map(|feature| feature.bits)
        .filter(|table| !table.is_empty())
        .map_or_else(Vec::new, |table| bits::explain(result.into(), table));
    for &(key, high, low) in feature.map_or(&[][..], |feature| feature.parts) {
        let part = u64::from(result) << (63 - high) >> (63 - high + low);
        page.number(key, part).may_mean(meaning(fid, key, part));
    }
    match (fid, data) {
        (0x0e, &[a, b, c, d, e, f, attributes, _]) => {
            let ms = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
            page.number("timestamp", ms).means("ms since 1970-01-01 UTC, or since the last reset");
            page.number("synch", attributes & 1);
            page.number("origin", attributes >> 1 & 7);
        }
        (0x16, &[acre, etdas, lbafee, ..]) => {
            page.number("acre", acre);
            page.number("etdas", etdas);
            page.number("lbafee", lbafee);
        }
        _ => {}
    }
    if !data.is_empty() {
        page.bytes("data", data);
    }
    page
}

/// A part of a value in words.
fn meaning(fid: u8, key: &str, part: u64) -> Option<String> {
    Some(match (fid, key) {
        (0x04, "tmpth") | (0x10, _) => celsius(part as u16),
        (0x04, "thsel") => (*["over temperature", "under temperature"].get(part as usize)?).to_owned(),
        (0x05, "tler") => format!("{} ms", part * 100),
        (0x07, _) => format!("{} queues", part + 1),
        (0x08, "time") => format!("{} us", part * 100),
        (0x08, "thr") => format!("{} entries", part + 1),
        (0x0f, _) => if part == 0 { "no timer" } else { "ms" }.to_owned(),
        _ => return None,
    })
}

/// A feature that was set: the value that was asked for, and the result of Set Features.
#[must_use]
pub fn was_set(fid: u8, value: u32, result: u32) -> Object {
    let mut page = head(fid);
    page.hex("value", value);
    page.hex("result", result);
    page
}

/// What can be done with a feature: the result of Get Features for the supported capabilities.
#[must_use]
pub fn capabilities(fid: u8, result: u32) -> Object {
    let mut page = head(fid);
    page.hex("capabilities", result);
    page.flag("saveable", result & 1 != 0);
    page.flag("namespace_specific", result & 2 != 0);
    page.flag("changeable", result & 4 != 0);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_text;
    use crate::tree::Value;

    #[test]
    fn names_and_identifiers_are_there_once() {
        for (index, feature) in FEATURES.iter().enumerate() {
            assert!(index == 0 || FEATURES[index - 1].fid < feature.fid, "{} is at its place", feature.name);
            assert_eq!(by_name(feature.name).map(|found| found.fid), Some(feature.fid));
        }
    }

    #[test]
    fn values_have_their_parts() {
        let queues = value(0x07, 0x0003_0007, &[]);
        assert_eq!((queues.get("nsqa"), queues.get("ncqa")), (Some(&Value::Number(7)), Some(&Value::Number(3))));
        assert!(to_text(&value(0x0b, 0x100, &[])).contains("bit 8: namespace attribute notices"));
        assert!(to_text(&value(0x0f, 15_000, &[])).ends_with("kato  : 15000  ms\n"));
        let time = value(0x0e, 0, &[1, 0, 0, 0, 0, 1, 3, 0]);
        assert_eq!(time.get("timestamp"), Some(&Value::Number(1 | 1 << 40)));
        assert_eq!((time.get("synch"), time.get("origin")), (Some(&Value::Number(1)), Some(&Value::Number(1))));
        let all = value(0x01, u32::MAX, &[]);
        assert_eq!((all.get("ab"), all.get("hpw")), (Some(&Value::Number(7)), Some(&Value::Number(255))));
        assert_eq!(capabilities(0x0f, 4).get("changeable"), Some(&Value::Flag(true)));
    }
}
