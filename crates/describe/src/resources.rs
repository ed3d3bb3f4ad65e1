//! How the resources of a subsystem are divided: NVM sets, domains, endurance groups, queues and interrupts of virtual
//! controllers.

use wire::nvme::resources::{
    Domain, Domains, EnduranceGroups, NvmSet, NvmSets, PrimaryCapabilities, SecondaryController, SecondaryControllers,
};

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

/// A list of secondary controllers (Base 2.0, CNS 15h): `nvme list-secondary`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn secondary(bytes: &[u8]) -> Result<Object, Short> {
    let list: &SecondaryControllers = view(bytes)?;
    let mut page = Object::page();
    page.number("num", list.number);
    page.list("secondary-controllers", list.iter().map(secondary_controller));
    Ok(page)
}

fn secondary_controller(controller: &SecondaryController) -> Object {
    let mut object = Object::new();
    object.number("secondary-controller-identifier", controller.scid.get());
    object.number("primary-controller-identifier", controller.pcid.get());
    let online = if controller.scs & 1 == 0 { "offline" } else { "online" };
    object.number("secondary-controller-state", controller.scs).means(online);
    object.number("virtual-function-number", controller.vfn.get());
    object.number("num-virtual-queues", controller.nvq.get());
    object.number("num-virtual-interrupts", controller.nvi.get());
    object
}

/// A list of domains (Base 2.0, CNS 18h): `nvme id-domain`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn domains(bytes: &[u8]) -> Result<Object, Short> {
    let list: &Domains = view(bytes)?;
    let mut page = Object::page();
    page.number("num_dom_entries", list.number);
    page.list("domain_list", list.iter().map(domain));
    Ok(page)
}

fn domain(domain: &Domain) -> Object {
    let mut object = Object::new();
    object.number("dom_id", domain.domid.get());
    object.wide("dom_cap", domain.dcap).means(size(domain.dcap.get()));
    object.wide("unalloc_dom_cap", domain.udcap).means(size(domain.udcap.get()));
    object.wide("max_egrp_dom_cap", domain.megdcap).means(size(domain.megdcap.get()));
    object
}

/// A list of endurance groups (Base 2.0, CNS 19h): `nvme list-endgrp`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn endurance_groups(bytes: &[u8]) -> Result<Object, Short> {
    let list: &EnduranceGroups = view(bytes)?;
    let mut page = Object::page();
    page.number("num_endgrp_id", list.number.get());
    let group = |endgid| {
        let mut object = Object::new();
        object.number("endgrp_id", endgid);
        object
    };
    page.list("endgrp_list", list.iter().map(group));
    Ok(page)
}
