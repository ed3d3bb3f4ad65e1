//! Identify: what the controller and its namespaces are (Base 2.0, 5.17; NVM Command Set 1.0, 4.1.5).

use std::sync::Arc;

use block::Info;
use block::limits::BLOCK_BYTES;
use wire::nvme::identify::{ascii, cntrltype, csi, ctratt, entry_size, frmw, fuses, lpa, oaes, ofcs, oncs, sgls, vwc};
use wire::nvme::namespace::{dlfeat, nmic, nsattr, nsfeat, nstat};
use wire::nvme::reservation::rescap;
use wire::nvme::{
    ActiveNamespaces, IDENTIFY_BYTES, IdDescriptor, IdDescriptorList, IdentifyController, IdentifyNamespace,
    IoCommandSetIndependentNamespace, LbaFormat, NSID_ALL, Nqn, NvmIdentifyController, NvmIdentifyNamespace, Sqe,
    Status, cns,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::connection::answer::Answer;
use crate::connection::copy;
use crate::connection::session::Session;
use crate::layout::plan::Served;
use crate::limits::{ABORTS, ASYNC_EVENTS, ERROR_LOG_ENTRIES, KAS, LAST_NSID, MDTS, QUEUE_ENTRIES, TRANSFER_BYTES};
use crate::target::controller::{Controller, VERSION};

/// The model number that Identify Controller states.
const MODEL: &str = "qpair";
/// The serial number of a discovery controller, which belongs to no subsystem of ours.
const DISCOVERY_SERIAL: &str = "QPDISCOVERY";

/// Answers an Identify command: always 4,096 bytes.
pub(crate) fn answer(session: &Session, controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    let plan = session.target.plan();
    let nsid = sqe.nsid.get();
    let Some(id) = controller.subsystem else {
        return match sqe.cns() {
            cns::CONTROLLER => Ok(Answer::data(self::controller(controller, None).as_bytes().to_vec())),
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        };
    };
    // Without its subsystem the controller has ended; its connection is about to see that.
    let served = plan.by_id(id).ok_or(Status::NAMESPACE_NOT_READY)?;
    let bytes = match sqe.cns() {
        cns::CONTROLLER => self::controller(controller, Some(served)).as_bytes().to_vec(),
        cns::NAMESPACE => match active(served, nsid)? {
            Some(device) => {
                let mut id = namespace(device.info(), device.blocks(), device.used_blocks());
                id.rescap = capabilities(session, served, nsid);
                id.as_bytes().to_vec()
            }
            None => inactive(),
        },
        cns::ACTIVE_NAMESPACES => active_namespaces(served, nsid)?,
        cns::NAMESPACE_DESCRIPTORS => descriptors(must_be_active(served, nsid)?).as_bytes().to_vec(),
        cns::COMMAND_SET_NAMESPACE => {
            nvm_command_set(sqe)?;
            match active(served, nsid)? {
                Some(_) => NvmIdentifyNamespace::new_zeroed().as_bytes().to_vec(),
                None => inactive(),
            }
        }
        // No limits beyond MDTS: Write Zeroes and Dataset Management take any range.
        cns::COMMAND_SET_CONTROLLER => {
            nvm_command_set(sqe)?;
            NvmIdentifyController::new_zeroed().as_bytes().to_vec()
        }
        cns::INDEPENDENT_NAMESPACE => match active(served, nsid)? {
            Some(device) => {
                let mut id = independent(device.info());
                id.rescap = capabilities(session, served, nsid);
                id.as_bytes().to_vec()
            }
            None => inactive(),
        },
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    Ok(Answer::data(bytes))
}

/// RESCAP: all types, and persistence where there is a place for it.
fn capabilities(session: &Session, served: &Served, nsid: u32) -> u8 {
    let namespace = served.namespaces().get(&nsid);
    let state = namespace.and_then(|namespace| session.target.reservations.state(namespace.id));
    let persists = state.is_some_and(|state| state.can_persist());
    rescap::ALL_TYPES | rescap::IEKEY_1_3 | if persists { rescap::PTPL } else { 0 }
}

/// All zeros: what an inactive namespace has.
fn inactive() -> Vec<u8> {
    vec![0; IDENTIFY_BYTES]
}

type Device = Arc<dyn block::Device>;

/// The namespace, `None` for a valid but inactive ID, an error for one that cannot be.
fn active(served: &Served, nsid: u32) -> Result<Option<&Device>, Status> {
    match nsid {
        0 | NSID_ALL => Err(Status::INVALID_NAMESPACE.with_dnr()),
        _ if nsid > LAST_NSID => Err(Status::INVALID_NAMESPACE.with_dnr()),
        _ => Ok(served.device(nsid)),
    }
}

fn must_be_active(served: &Served, nsid: u32) -> Result<&Device, Status> {
    active(served, nsid)?.ok_or(Status::INVALID_NAMESPACE.with_dnr())
}

/// CNS 05h and 06h: the command set asked about must be the NVM one.
fn nvm_command_set(sqe: &Sqe) -> Result<(), Status> {
    if sqe.csi() == csi::NVM { Ok(()) } else { Err(Status::INVALID_FIELD.with_dnr()) }
}

/// CNS 02h: the active IDs above `after`.
fn active_namespaces(served: &Served, after: u32) -> Result<Vec<u8>, Status> {
    if after >= NSID_ALL - 1 {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    let all = served.namespaces().keys().copied();
    Ok(ActiveNamespaces::build(all, after).as_bytes().to_vec())
}

/// CNS 03h: NGUID, UUID and the command set.
fn descriptors(device: &Device) -> IdDescriptorList {
    let identity = &device.info().identity;
    IdDescriptorList::build(&[
        IdDescriptor::Nguid(identity.nguid),
        IdDescriptor::Uuid(identity.uuid.into_bytes()),
        IdDescriptor::Csi(csi::NVM),
    ])
}

/// CNS 01h.
fn controller(controller: &Controller, served: Option<&Arc<Served>>) -> IdentifyController {
    let mut id = IdentifyController::new_zeroed();
    id.sn = ascii(served.map_or(DISCOVERY_SERIAL, |served| served.serial()));
    id.mn = ascii(MODEL);
    id.fr = ascii(env!("CARGO_PKG_VERSION"));
    id.mdts = MDTS;
    id.cntlid = controller.id.into();
    id.ver = VERSION.0.into();
    id.lpa = lpa::COMMAND_EFFECTS | lpa::EXTENDED_DATA | lpa::SUPPORTED_LOGS;
    id.elpe = (ERROR_LOG_ENTRIES - 1) as u8;
    id.aerl = (ASYNC_EVENTS - 1) as u8;
    id.acl = (ABORTS - 1) as u8;
    id.kas = KAS.into();
    id.ctratt = (ctratt::HOST_ID_128 | ctratt::TRAFFIC_KEEP_ALIVE).into();
    id.maxcmd = QUEUE_ENTRIES.into();
    id.sgls = (sgls::SUPPORTED | sgls::OFFSET | sgls::TRANSPORT).into();
    id.iorcsz = 1.into();
    id.msdbd = 1;
    match served {
        None => {
            id.cntrltype = cntrltype::DISCOVERY;
            id.subnqn = Nqn::discovery().to_field();
            id.set_in_capsule_bytes(0);
            id.oaes = oaes::DISCOVERY_CHANGE.into();
        }
        Some(served) => identify_io(controller, served, &mut id),
    }
    id
}

/// The optional commands: those that [`crate::connection::io`] knows.
const ONCS: u16 = oncs::COMPARE
    | oncs::WRITE_UNCORRECTABLE
    | oncs::DSM
    | oncs::WRITE_ZEROES
    | oncs::RESERVATIONS
    | oncs::VERIFY
    | oncs::COPY;

/// What only an I/O controller has.
fn identify_io(controller: &Controller, served: &Served, id: &mut IdentifyController) {
    id.cntrltype = cntrltype::IO;
    id.subnqn = Nqn::new(served.nqn()).expect("checked with the layout").to_field();
    id.set_in_capsule_bytes(controller.in_capsule_bytes);
    id.cmic = wire::nvme::identify::cmic::MULTI_CONTROLLER;
    id.frmw = frmw::SLOT_1_READ_ONLY | frmw::slots(1);
    (id.sqes, id.cqes) = (entry_size::SQES, entry_size::CQES);
    id.oaes = oaes::NAMESPACE_ATTRIBUTE.into();
    // Namespaces come and go below these.
    id.nn = LAST_NSID.into();
    id.mnan = LAST_NSID.into();
    // Of every controller, whatever its namespaces are: one whose device cannot do it says so command by command.
    id.oncs = ONCS.into();
    id.ocfs = copy::OCFS.into();
    id.fuses = fuses::COMPARE_AND_WRITE.into();
    // Of all namespaces: those with the largest blocks have the fewest of them.
    id.acwu = compare_and_write_blocks(BLOCK_BYTES[BLOCK_BYTES.len() - 1]).into();
    // Hosts read this once, and a namespace with a volatile cache may come later.
    id.vwc = vwc::FLUSH_ALL_UNSUPPORTED | vwc::PRESENT;
    id.ofcs = ofcs::DISCONNECT.into();
}

/// CNS 00h, with the size and the use of now. No metadata, one format: the device's.
fn namespace(info: &Info, blocks: u64, used: u64) -> IdentifyNamespace {
    let mut id = IdentifyNamespace::new_zeroed();
    id.nsze = blocks.into();
    id.ncap = blocks.into();
    id.nuse = used.min(blocks).into();
    id.nsfeat = nsfeat::OPTIMAL_IO | if info.features.thin { nsfeat::THIN } else { 0 };
    id.lbaf[0] = LbaFormat::of_bytes(info.block_bytes);
    id.nmic = nmic::SHARED;
    if info.features.zeros_after_deallocate {
        id.dlfeat = dlfeat::READ_ZEROS | dlfeat::WRITE_ZEROES_DEALLOCATES;
    }
    // 0's based, in blocks.
    let preferred = (info.preferred_blocks - 1) as u16;
    (id.npwg, id.npwa, id.npdg, id.npda, id.nows) =
        (preferred.into(), preferred.into(), preferred.into(), preferred.into(), preferred.into());
    atomics(info, &mut id);
    if let Some(limits) = copy::limits(info) {
        // MSRC counts from 0.
        id.mssrl = (limits.source_blocks as u16).into();
        (id.mcl, id.msrc) = (limits.blocks.into(), (limits.sources - 1) as u8);
    }
    id.nsattr = if info.features.read_only { nsattr::WRITE_PROTECTED } else { 0 };
    id.nguid = info.identity.nguid;
    id
}

/// What is written as a whole or not at all. The controller's own values (AWUN, AWUPF) are a single block, as they hold
/// for every namespace.
fn atomics(info: &Info, id: &mut IdentifyNamespace) {
    if info.features.compare {
        id.nsfeat |= nsfeat::ATOMICS;
        id.nacwu = compare_and_write_blocks(info.block_bytes).into();
    }
    if info.atomic_blocks > 1 {
        // 0's based. What a loss of power leaves of a larger write is not promised: NAWUPF is a single block.
        let blocks = (info.atomic_blocks - 1) as u16;
        id.nsfeat |= nsfeat::ATOMICS;
        (id.nawun, id.nabsn) = (blocks.into(), blocks.into());
    }
}

/// ACWU and NACWU, 0's based: a fused pair has its blocks to itself, however many one command transfers. So no other
/// command sees a part of it; what a loss of power leaves is as of any write (NAWUPF).
fn compare_and_write_blocks(block_bytes: u32) -> u16 {
    (TRANSFER_BYTES / block_bytes - 1) as u16
}

/// CNS 08h.
fn independent(info: &Info) -> IoCommandSetIndependentNamespace {
    let mut id = IoCommandSetIndependentNamespace::new_zeroed();
    id.nsfeat = 0;
    id.nmic = nmic::SHARED;
    id.nsattr = if info.features.read_only { nsattr::WRITE_PROTECTED } else { 0 };
    id.nstat = nstat::READY;
    id
}
