//! How the resources of a subsystem are divided: NVM sets, queues and interrupts of virtual controllers.

use wire::nvme::resources::{NvmSet, NvmSets, PrimaryCapabilities};

use crate::bits::{Bits, bit};
use crate::tree::Object;
use crate::units::size;
use crate::{Short, view};

const CRT: &[Bits] = &[bit(0, "queues can be given away"), bit(1, "interrupts can be given away")];

/// A list of NVM sets (Base 2.0, CNS 04h): `nvme id-nvmset`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn nvm_sets(bytes: &[u8]) -> Result<Object, Short> {
    let list: &NvmSets = view(bytes)?;
    let mut page = Object::page();
    page.number("nid", list.number);
    page.list("NVMSet", list.iter().map(nvm_set));
    Ok(page)
}

fn nvm_set(set: &NvmSet) -> Object {
    let mut object = Object::new();
    object.number("nvmset_id", set.nvmsetid.get());
    object.number("endurance_group_id", set.endgid.get());
    let time = set.r4krt.get();
    object.number("random_4k_read_typical", time).means(format!("{}.{} us", time / 10, time % 10));
    object.number("optimal_write_size", set.ows.get()).means(size(set.ows.get().into()));
    object.wide("total_nvmset_cap", set.tnvmsetcap).means(size(set.tnvmsetcap.get()));
    object.wide("unalloc_nvmset_cap", set.unvmsetcap).means(size(set.unvmsetcap.get()));
    object
}

/// Primary Controller Capabilities (Base 2.0, CNS 14h): `nvme primary-ctrl-caps`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn primary(bytes: &[u8]) -> Result<Object, Short> {
    let caps: &PrimaryCapabilities = view(bytes)?;
    let mut page = Object::page();
    page.hex("cntlid", caps.cntlid.get());
    page.hex("portid", caps.portid.get());
    page.bits("crt", caps.crt, CRT);
    page.number("vqfrt", caps.vqfrt.get()).means("queues that can be given away");
    page.number("vqrfa", caps.vqrfa.get()).means("given to secondary controllers");
    page.number("vqrfap", caps.vqrfap.get()).means("given to the primary controller");
    page.number("vqprt", caps.vqprt.get()).means("the primary controller's own");
    page.number("vqfrsm", caps.vqfrsm.get()).means("most of a secondary controller");
    page.number("vqgran", caps.vqgran.get()).means("at a time");
    page.number("vifrt", caps.vifrt.get()).means("interrupts that can be given away");
    page.number("virfa", caps.virfa.get()).means("given to secondary controllers");
    page.number("virfap", caps.virfap.get()).means("given to the primary controller");
    page.number("viprt", caps.viprt.get()).means("the primary controller's own");
    page.number("vifrsm", caps.vifrsm.get()).means("most of a secondary controller");
    page.number("vigran", caps.vigran.get()).means("at a time");
    Ok(page)
}
