//! Identify Controller, and what the NVM and the zoned namespace command sets add to it.

mod bits;

use wire::nvme::identify::{KAS_UNIT_MS, PowerState};
use wire::nvme::{IdentifyController, NvmIdentifyController};

use crate::tree::Object;
use crate::units::{celsius, count, one_more, size, uuid, version};
use crate::{Short, view};

/// Identify Controller (Base 2.0, CNS 01h): `nvme id-ctrl`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn controller(bytes: &[u8]) -> Result<Object, Short> {
    let id: &IdentifyController = view(bytes)?;
    let mut page = Object::page();
    who(&mut page, id);
    admin(&mut page, id);
    media(&mut page, id);
    io(&mut page, id);
    fabrics(&mut page, id);
    let states = usize::from(id.npss) + 1;
    page.list("psds", id.psds.iter().take(states).map(power_state));
    Ok(page)
}

/// Bytes 0 to 255.
fn who(page: &mut Object, id: &IdentifyController) {
    page.hex("vid", id.vid.get());
    page.hex("ssvid", id.ssvid.get());
    page.ascii("sn", &id.sn);
    page.ascii("mn", &id.mn);
    page.ascii("fr", &id.fr);
    page.number("rab", id.rab).may_mean(1_u64.checked_shl(id.rab.into()).map(|burst| count(burst, "commands")));
    let [low, middle, high] = id.ieee;
    page.hex("ieee", u32::from_le_bytes([low, middle, high, 0]));
    page.bits("cmic", id.cmic, bits::CMIC);
    // CAP.MPSMIN is not on this page; every controller of today has pages of 4 KiB.
    let mdts = match id.max_transfer_bytes(0) {
        None => "no limit".to_owned(),
        Some(bytes) => format!("{}, if CAP.MPSMIN is 0", size(bytes.into())),
    };
    page.number("mdts", id.mdts).means(mdts);
    page.hex("cntlid", id.cntlid.get());
    page.hex("ver", id.ver.get()).means(version(id.ver.get()));
    page.number("rtd3r", id.rtd3r.get()).means("us");
    page.number("rtd3e", id.rtd3e.get()).means("us");
    page.bits("oaes", id.oaes.get(), bits::OAES);
    page.bits("ctratt", id.ctratt.get(), bits::CTRATT);
    page.hex("rrls", id.rrls.get());
    page.number("cntrltype", id.cntrltype).may_mean(bits::CNTRLTYPE.get(usize::from(id.cntrltype)).copied());
    page.text("fguid", &uuid(&id.fguid));
    for (key, delay) in [("crdt1", id.crdt1), ("crdt2", id.crdt2), ("crdt3", id.crdt3)] {
        page.number(key, delay.get()).means(format!("{} ms", u32::from(delay.get()) * 100));
    }
    page.bits("nvmsr", id.nvmsr, bits::NVMSR);
    page.bits("vwci", id.vwci, bits::VWCI);
    page.bits("mec", id.mec, bits::MEC);
}

/// Bytes 256 to 279.
fn admin(page: &mut Object, id: &IdentifyController) {
    page.bits("oacs", id.oacs.get(), bits::OACS);
    page.number("acl", id.acl).means(one_more(id.acl.into(), "Abort commands"));
    page.number("aerl", id.aerl).means(one_more(id.aerl.into(), "Asynchronous Event Requests"));
    page.bits("frmw", id.frmw, bits::FRMW);
    page.bits("lpa", id.lpa, bits::LPA);
    page.number("elpe", id.elpe).means(one_more(id.elpe.into(), "entries"));
    page.number("npss", id.npss).means(one_more(id.npss.into(), "power states"));
    page.bits("avscc", id.avscc, bits::VENDOR_COMMANDS);
    page.bits("apsta", id.apsta, bits::APSTA);
    page.number("wctemp", id.wctemp.get()).means(celsius(id.wctemp.get()));
    page.number("cctemp", id.cctemp.get()).means(celsius(id.cctemp.get()));
    page.number("mtfa", id.mtfa.get()).means(format!("{} ms", u32::from(id.mtfa.get()) * 100));
    page.number("hmpre", id.hmpre.get()).means(size(u128::from(id.hmpre.get()) << 12));
    page.number("hmmin", id.hmmin.get()).means(size(u128::from(id.hmmin.get()) << 12));
}

/// Bytes 280 to 511.
fn media(page: &mut Object, id: &IdentifyController) {
    page.wide("tnvmcap", id.tnvmcap).means(size(id.tnvmcap.get()));
    page.wide("unvmcap", id.unvmcap).means(size(id.unvmcap.get()));
    page.bits("rpmbs", id.rpmbs.get(), bits::RPMBS);
    page.number("edstt", id.edstt.get()).means("minutes");
    page.bits("dsto", id.dsto, bits::DSTO);
    let fwug = match id.fwug {
        0 => "not reported".to_owned(),
        u8::MAX => "any granularity".to_owned(),
        units => size(u128::from(units) << 12),
    };
    page.number("fwug", id.fwug).means(fwug);
    let kas = match id.kas.get() {
        0 => "keep alive is not supported".to_owned(),
        units => format!("{} ms", u32::from(units) * KAS_UNIT_MS),
    };
    page.number("kas", id.kas.get()).means(kas);
    page.bits("hctma", id.hctma.get(), bits::HCTMA);
    page.number("mntmt", id.mntmt.get()).means(celsius(id.mntmt.get()));
    page.number("mxtmt", id.mxtmt.get()).means(celsius(id.mxtmt.get()));
    page.bits("sanicap", id.sanicap.get(), bits::SANICAP);
    page.number("hmminds", id.hmminds.get()).means(size(u128::from(id.hmminds.get()) << 12));
    page.number("hmmaxd", id.hmmaxd.get());
    page.number("nsetidmax", id.nsetidmax.get());
    page.number("endgidmax", id.endgidmax.get());
    page.number("anatt", id.anatt).means("s");
    page.bits("anacap", id.anacap, bits::ANACAP);
    page.number("anagrpmax", id.anagrpmax.get());
    page.number("nanagrpid", id.nanagrpid.get());
    page.number("pels", id.pels.get()).means(size(u128::from(id.pels.get()) << 16));
    page.number("domainid", id.domainid.get());
    page.wide("megcap", id.megcap).means(size(id.megcap.get()));
}

/// Bytes 512 to 1023.
fn io(page: &mut Object, id: &IdentifyController) {
    page.bits("sqes", id.sqes, bits::ENTRY_SIZE);
    page.bits("cqes", id.cqes, bits::ENTRY_SIZE);
    page.number("maxcmd", id.maxcmd.get());
    page.number("nn", id.nn.get());
    page.bits("oncs", id.oncs.get(), bits::ONCS);
    page.bits("fuses", id.fuses.get(), bits::FUSES);
    page.bits("fna", id.fna, bits::FNA);
    page.bits("vwc", id.vwc, bits::VWC);
    let blocks = |units: u16| one_more(units, "blocks");
    page.number("awun", id.awun.get()).means(blocks(id.awun.get()));
    page.number("awupf", id.awupf.get()).means(blocks(id.awupf.get()));
    page.bits("icsvscc", id.icsvscc, bits::VENDOR_COMMANDS);
    page.bits("nwpc", id.nwpc, bits::NWPC);
    page.number("acwu", id.acwu.get()).means(blocks(id.acwu.get()));
    page.bits("ocfs", id.ocfs.get(), bits::OCFS);
    page.bits("sgls", id.sgls.get(), bits::SGLS);
    page.number("mnan", id.mnan.get());
    page.wide("maxdna", id.maxdna);
    page.number("maxcna", id.maxcna.get());
    let end = id.subnqn.iter().position(|&byte| byte == 0).unwrap_or(id.subnqn.len());
    page.ascii("subnqn", &id.subnqn[..end]);
}

/// Bytes 1792 to 2047.
fn fabrics(page: &mut Object, id: &IdentifyController) {
    let capsule = |units: u32| size(u128::from(units) * 16);
    page.number("ioccsz", id.ioccsz.get()).means(capsule(id.ioccsz.get()));
    page.number("iorcsz", id.iorcsz.get()).means(capsule(id.iorcsz.get()));
    page.number("icdoff", id.icdoff.get()).means(capsule(id.icdoff.get().into()));
    page.bits("fcatt", id.fcatt, bits::FCATT);
    page.number("msdbd", id.msdbd);
    page.bits("ofcs", id.ofcs.get(), bits::OFCS);
    page.number("dctype", id.dctype).may_mean(bits::DCTYPE.get(usize::from(id.dctype)).copied());
}

/// A power state descriptor; the numbers are raw, their scales are beside them.
fn power_state(psd: &PowerState) -> Object {
    let mut object = Object::new();
    let max_scale = if psd.flags & 1 == 0 { 2 } else { 1 };
    object.number("max_power", psd.mp.get()).may_mean(watts(psd.mp.get(), max_scale));
    object.bits("flags", psd.flags, bits::PSD_FLAGS);
    object.number("entry_lat", psd.enlat.get()).means("us");
    object.number("exit_lat", psd.exlat.get()).means("us");
    object.number("read_tput", psd.rrt);
    object.number("read_lat", psd.rrl);
    object.number("write_tput", psd.rwt);
    object.number("write_lat", psd.rwl);
    object.number("idle_power", psd.idlp.get()).may_mean(watts(psd.idlp.get(), psd.ips >> 6));
    object.number("idle_scale", psd.ips >> 6);
    object.number("active_power", psd.actp.get()).may_mean(watts(psd.actp.get(), psd.apws >> 6));
    let workload = psd.apws & 7;
    object.number("active_power_work", workload).may_mean(bits::WORKLOAD.get(usize::from(workload)).copied());
    object.number("active_scale", psd.apws >> 6);
    object
}

/// A power in a scale: 1 is 0.0001 W, 2 is 0.01 W; others say nothing.
fn watts(power: u16, scale: u8) -> Option<String> {
    match scale {
        1 => Some(format!("{:.4} W", f64::from(power) / 10_000.0)),
        2 => Some(format!("{:.2} W", f64::from(power) / 100.0)),
        _ => None,
    }
}

/// Identify Controller of the NVM command set (NVM Command Set 1.0, CNS 06h, CSI 00h): `nvme nvm-id-ctrl`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn nvm_controller(bytes: &[u8]) -> Result<Object, Short> {
    let id: &NvmIdentifyController = view(bytes)?;
    let mut page = Object::page();
    for (key, limit) in [("vsl", id.vsl), ("wzsl", id.wzsl), ("wusl", id.wusl)] {
        page.number(key, limit).may_mean(pages(limit));
    }
    let limit = |units: u64, unit: &str| if units == 0 { "no limit".to_owned() } else { unit.to_owned() };
    page.number("dmrl", id.dmrl).means(limit(id.dmrl.into(), "ranges"));
    page.number("dmrsl", id.dmrsl.get()).means(limit(id.dmrsl.get().into(), "blocks of a range"));
    page.number("dmsl", id.dmsl.get()).means(limit(id.dmsl.get(), "blocks"));
    Ok(page)
}

/// A limit of 2^n pages; 0 is none.
pub(crate) fn pages(exponent: u8) -> Option<String> {
    match exponent {
        0 => Some("no limit".to_owned()),
        _ => 4096_u128.checked_shl(exponent.into()).filter(|bytes| *bytes > 0).map(size),
    }
}
