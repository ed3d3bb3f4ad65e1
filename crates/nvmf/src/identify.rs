//! Identify: what the controller and its namespaces are (Base 2.0, 5.17; NVM Command Set 1.0, 4.1.5).

use block::Info;
use wire::nvme::identify::{ascii, cntrltype, csi, ctratt, entry_size, frmw, lpa, ofcs, oncs, sgls, vwc};
use wire::nvme::namespace::{dlfeat, nmic, nsattr, nsfeat, nstat};
use wire::nvme::{
    ActiveNamespaces, IDENTIFY_BYTES, IdDescriptor, IdDescriptorList, IdentifyController, IdentifyNamespace,
    IoCommandSetIndependentNamespace, LbaFormat, NSID_ALL, Nqn, NvmIdentifyController, NvmIdentifyNamespace, Sqe,
    Status, cns,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::answer::Answer;
use crate::controller::{Controller, Kind, VERSION};
use crate::limits::{ASYNC_EVENTS, ERROR_LOG_ENTRIES, KAS, MDTS, QUEUE_ENTRIES};
use crate::session::Session;
use crate::target::Target;

/// The model number that Identify Controller states.
const MODEL: &str = "qpair";

/// Answers an Identify command: always 4,096 bytes.
pub(crate) fn answer(session: &Session, controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    let target = &session.target;
    let nsid = sqe.nsid.get();
    let bytes = match (sqe.cns(), controller.kind) {
        (cns::CONTROLLER, _) => self::controller(target, controller).as_bytes().to_vec(),
        (cns::NAMESPACE, Kind::Io) => match active(target, nsid)? {
            Some(device) => namespace(device.info(), device.blocks(), device.used_blocks()).as_bytes().to_vec(),
            None => inactive(),
        },
        (cns::ACTIVE_NAMESPACES, Kind::Io) => active_namespaces(target, nsid)?,
        (cns::NAMESPACE_DESCRIPTORS, Kind::Io) => descriptors(must_be_active(target, nsid)?).as_bytes().to_vec(),
        (cns::COMMAND_SET_NAMESPACE, Kind::Io) => {
            nvm_command_set(sqe)?;
            match active(target, nsid)? {
                Some(_) => NvmIdentifyNamespace::new_zeroed().as_bytes().to_vec(),
                None => inactive(),
            }
        }
        // No limits beyond MDTS: Write Zeroes and Dataset Management take any range.
        (cns::COMMAND_SET_CONTROLLER, Kind::Io) => {
            nvm_command_set(sqe)?;
            NvmIdentifyController::new_zeroed().as_bytes().to_vec()
        }
        (cns::INDEPENDENT_NAMESPACE, Kind::Io) => match active(target, nsid)? {
            Some(device) => independent(device.info()).as_bytes().to_vec(),
            None => inactive(),
        },
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    Ok(Answer::data(bytes))
}

/// All zeros: what an inactive namespace has.
fn inactive() -> Vec<u8> {
    vec![0; IDENTIFY_BYTES]
}

type Device = std::sync::Arc<dyn block::Device>;

/// The namespace, `None` for a valid but inactive ID, an error for one that cannot be.
fn active(target: &Target, nsid: u32) -> Result<Option<&Device>, Status> {
    match nsid {
        0 | NSID_ALL => Err(Status::INVALID_NAMESPACE.with_dnr()),
        _ if nsid > target.namespace_count() => Err(Status::INVALID_NAMESPACE.with_dnr()),
        _ => Ok(target.device(nsid)),
    }
}

fn must_be_active(target: &Target, nsid: u32) -> Result<&Device, Status> {
    active(target, nsid)?.ok_or(Status::INVALID_NAMESPACE.with_dnr())
}

/// CNS 05h and 06h: the command set asked about must be the NVM one.
fn nvm_command_set(sqe: &Sqe) -> Result<(), Status> {
    if sqe.csi() == csi::NVM { Ok(()) } else { Err(Status::INVALID_FIELD.with_dnr()) }
}

/// CNS 02h: the active IDs above `after`.
fn active_namespaces(target: &Target, after: u32) -> Result<Vec<u8>, Status> {
    if after >= NSID_ALL - 1 {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    let all = target.namespaces().map(|(nsid, _)| nsid);
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
fn controller(target: &Target, controller: &Controller) -> IdentifyController {
    let mut id = IdentifyController::new_zeroed();
    id.sn = ascii(target.serial());
    id.mn = ascii(MODEL);
    id.fr = ascii(env!("CARGO_PKG_VERSION"));
    id.mdts = MDTS;
    id.cntlid = controller.id.into();
    id.ver = VERSION.0.into();
    id.lpa = lpa::COMMAND_EFFECTS | lpa::EXTENDED_DATA | lpa::SUPPORTED_LOGS;
    id.elpe = (ERROR_LOG_ENTRIES - 1) as u8;
    id.aerl = (ASYNC_EVENTS - 1) as u8;
    id.acl = 3;
    id.kas = KAS.into();
    id.ctratt = (ctratt::HOST_ID_128 | ctratt::TRAFFIC_KEEP_ALIVE).into();
    id.maxcmd = QUEUE_ENTRIES.into();
    id.sgls = (sgls::SUPPORTED | sgls::OFFSET | sgls::TRANSPORT).into();
    id.iorcsz = 1.into();
    id.msdbd = 1;
    match controller.kind {
        Kind::Discovery => {
            id.cntrltype = cntrltype::DISCOVERY;
            id.subnqn = Nqn::discovery().to_field();
            id.set_in_capsule_bytes(0);
        }
        Kind::Io => identify_io(target, &mut id),
    }
    id
}

/// What only an I/O controller has.
fn identify_io(target: &Target, id: &mut IdentifyController) {
    id.cntrltype = cntrltype::IO;
    id.subnqn = Nqn::new(target.nqn()).expect("checked when the target was made").to_field();
    id.set_in_capsule_bytes(target.in_capsule_bytes());
    id.cmic = wire::nvme::identify::cmic::MULTI_CONTROLLER;
    id.frmw = frmw::SLOT_1_READ_ONLY | frmw::slots(1);
    (id.sqes, id.cqes) = (entry_size::SQES, entry_size::CQES);
    id.nn = target.namespace_count().into();
    id.mnan = target.namespace_count().into();
    id.oncs = (oncs::DSM | oncs::WRITE_ZEROES).into();
    let cached = target.namespaces().any(|(_, device)| device.info().features.volatile_cache);
    id.vwc = vwc::FLUSH_ALL_UNSUPPORTED | if cached { vwc::PRESENT } else { 0 };
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
    id.nsattr = if info.features.read_only { nsattr::WRITE_PROTECTED } else { 0 };
    id.nguid = info.identity.nguid;
    id
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
