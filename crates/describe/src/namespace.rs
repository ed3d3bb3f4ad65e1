//! Identify Namespace, and what command sets add to it.

use wire::nvme::IdentifyNamespace;
use wire::nvme::namespace::{IoCommandSetIndependentNamespace, LbaFormat, NvmIdentifyNamespace};
use zerocopy::little_endian::U32;

use crate::bits::{Bits, bit, code, range};
use crate::tree::Object;
use crate::units::{hex, one_more, size};
use crate::{Short, view};

const NSFEAT: &[Bits] = &[
    bit(0, "thin provisioning"),
    bit(1, "NAWUN, NAWUPF and NACWU hold for this namespace"),
    bit(2, "reading deallocated blocks may fail"),
    bit(3, "NGUID and EUI64 are never used again"),
    bit(4, "NPWG, NPWA, NPDG, NPDA and NOWS hold"),
];

const FLBAS: &[Bits] = &[
    range(3, 0, "format in use, low bits"),
    bit(4, "metadata follows the data of each block"),
    range(6, 5, "format in use, high bits"),
];

const MC: &[Bits] = &[bit(0, "metadata at the end of the data"), bit(1, "metadata in a buffer of its own")];

const DPC: &[Bits] = &[
    bit(0, "protection type 1"),
    bit(1, "protection type 2"),
    bit(2, "protection type 3"),
    bit(3, "protection information first in the metadata"),
    bit(4, "protection information last in the metadata"),
];

const DPS: &[Bits] = &[
    code(2, 0, "protection", &["", "type 1", "type 2", "type 3"]),
    bit(3, "protection information is first in the metadata"),
];

const NMIC: &[Bits] = &[bit(0, "several controllers may have it attached")];

pub(crate) const RESCAP: &[Bits] = &[
    bit(0, "persist through power loss"),
    bit(1, "Write Exclusive"),
    bit(2, "Exclusive Access"),
    bit(3, "Write Exclusive - Registrants Only"),
    bit(4, "Exclusive Access - Registrants Only"),
    bit(5, "Write Exclusive - All Registrants"),
    bit(6, "Exclusive Access - All Registrants"),
    bit(7, "Ignore Existing Key as in version 1.3 and later"),
];

const FPI: &[Bits] = &[range(6, 0, "percent left to format"), bit(7, "the percentage is reported")];

const DLFEAT: &[Bits] = &[
    code(2, 0, "deallocated blocks", &["not reported", "read as 00h", "read as FFh"]),
    bit(3, "Write Zeroes may deallocate"),
    bit(4, "the guard of deallocated blocks is the CRC of what they read as"),
];

const NSATTR: &[Bits] = &[bit(0, "write protected")];

const NSTAT: &[Bits] = &[bit(0, "ready")];

const PIC: &[Bits] = &[
    bit(0, "16-bit guard with storage tags"),
    bit(1, "a storage tag mask is needed"),
    bit(2, "storage tags are checked as reference tags in protection type 3"),
];

/// Identify Namespace of the NVM command set (NVM Command Set 1.0, CNS 00h): `nvme id-ns`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn namespace(bytes: &[u8]) -> Result<Object, Short> {
    let id: &IdentifyNamespace = view(bytes)?;
    let mut page = Object::page();
    let block = id.format().bytes();
    let blocks = |count: u64| match block {
        Some(block) => size(u128::from(count) * u128::from(block)),
        None => "blocks".to_owned(),
    };
    for (key, count) in [("nsze", id.nsze), ("ncap", id.ncap), ("nuse", id.nuse)] {
        page.number(key, count.get()).means(blocks(count.get()));
    }
    page.bits("nsfeat", id.nsfeat, NSFEAT);
    page.number("nlbaf", id.nlbaf).means(one_more(id.nlbaf.into(), "formats"));
    page.bits("flbas", id.flbas, FLBAS);
    page.bits("mc", id.mc, MC);
    page.bits("dpc", id.dpc, DPC);
    page.bits("dps", id.dps, DPS);
    page.bits("nmic", id.nmic, NMIC);
    page.bits("rescap", id.rescap, RESCAP);
    page.bits("fpi", id.fpi, FPI);
    page.bits("dlfeat", id.dlfeat, DLFEAT);
    limits(&mut page, id);
    page.wide("nvmcap", id.nvmcap).means(size(id.nvmcap.get()));
    granules(&mut page, id);
    page.number("mssrl", id.mssrl.get()).means("blocks of a range of Copy");
    page.number("mcl", id.mcl.get()).means("blocks of a Copy");
    page.number("msrc", id.msrc).means(one_more(id.msrc.into(), "ranges"));
    page.number("nulbaf", id.nulbaf);
    page.number("anagrpid", id.anagrpid.get());
    page.bits("nsattr", id.nsattr, NSATTR);
    page.number("nvmsetid", id.nvmsetid.get());
    page.number("endgid", id.endgid.get());
    page.text("nguid", &hex(&id.nguid));
    page.text("eui64", &hex(&id.eui64));
    page.list("lbafs", formats(id).map(|(index, format)| lba_format(format, index == id.format_index())));
    Ok(page)
}

/// The formats that there are (NLBAF, NULBAF), no more than the page has room for.
fn formats(id: &IdentifyNamespace) -> impl Iterator<Item = (usize, &LbaFormat)> {
    id.lbaf.iter().enumerate().take(id.formats())
}

fn lba_format(format: &LbaFormat, in_use: bool) -> Object {
    let mut object = Object::new();
    object.number("ms", format.ms.get());
    let bytes = format.bytes().map(|bytes| size(bytes.into()));
    object.number("ds", format.lbads).may_mean(bytes);
    const PERFORMANCE: [&str; 4] = ["best", "better", "good", "degraded"];
    object.number("rp", format.rp).means(PERFORMANCE[usize::from(format.rp & 3)]);
    object.remark = in_use.then_some("in use");
    object
}

/// Atomic units and boundaries.
fn limits(page: &mut Object, id: &IdentifyNamespace) {
    let counted = |blocks: u16| one_more(blocks, "blocks");
    page.number("nawun", id.nawun.get()).means(counted(id.nawun.get()));
    page.number("nawupf", id.nawupf.get()).means(counted(id.nawupf.get()));
    page.number("nacwu", id.nacwu.get()).means(counted(id.nacwu.get()));
    let boundary = |blocks: u16| if blocks == 0 { "none".to_owned() } else { counted(blocks) };
    page.number("nabsn", id.nabsn.get()).means(boundary(id.nabsn.get()));
    page.number("nabo", id.nabo.get()).means("blocks");
    page.number("nabspf", id.nabspf.get()).means(boundary(id.nabspf.get()));
    page.number("noiob", id.noiob.get()).means(if id.noiob.get() == 0 { "none" } else { "blocks" });
}

/// What it likes best. Without NSFEAT bit 4 these fields are reserved; nvme-cli leaves them out then.
fn granules(page: &mut Object, id: &IdentifyNamespace) {
    let counted = |blocks: u16| one_more(blocks, "blocks");
    let fields = [("npwg", id.npwg), ("npwa", id.npwa), ("npdg", id.npdg), ("npda", id.npda), ("nows", id.nows)];
    for (key, blocks) in fields {
        page.number(key, blocks.get()).means(counted(blocks.get()));
    }
}

/// Identify Namespace of the NVM command set beyond that (NVM Command Set 1.0, CNS 05h, CSI 00h): `nvme nvm-id-ns`.
/// `formats` is how many there are: [`IdentifyNamespace::formats`].
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn nvm_namespace(bytes: &[u8], formats: usize) -> Result<Object, Short> {
    let id: &NvmIdentifyNamespace = view(bytes)?;
    let mut page = Object::page();
    page.hex("lbstm", id.lbstm.get());
    page.bits("pic", id.pic, PIC);
    page.list("elbafs", id.elbaf.iter().take(formats).map(extended_format));
    Ok(page)
}

fn extended_format(format: &U32) -> Object {
    const GUARDS: [&str; 4] = ["16-bit guard", "32-bit guard", "64-bit guard", "reserved"];
    let (sts, pif) = (format.get() & 0x7f, format.get() >> 7 & 3);
    let mut object = Object::new();
    object.number("sts", sts).means("bits of storage tag");
    object.number("pif", pif).means(GUARDS[pif as usize]);
    object
}

/// I/O command set independent Identify Namespace (Base 2.0, CNS 08h): `nvme cmdset-ind-id-ns`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn independent_namespace(bytes: &[u8]) -> Result<Object, Short> {
    let id: &IoCommandSetIndependentNamespace = view(bytes)?;
    let mut page = Object::page();
    page.bits("nsfeat", id.nsfeat, &[bit(3, "identifiers are never used again"), bit(4, "rotational media")]);
    page.bits("nmic", id.nmic, NMIC);
    page.bits("rescap", id.rescap, RESCAP);
    page.bits("fpi", id.fpi, FPI);
    page.number("anagrpid", id.anagrpid.get());
    page.bits("nsattr", id.nsattr, NSATTR);
    page.number("nvmsetid", id.nvmsetid.get());
    page.number("endgid", id.endgid.get());
    page.bits("nstat", id.nstat, NSTAT);
    Ok(page)
}
