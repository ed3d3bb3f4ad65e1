//! Admin commands of the kernel's controllers, and what they say of themselves. All of it waits.

use std::fs::File;
use std::io;

use machine::passthru::{self, Bytes, Fault};
use wire::nvme::identify::csi;
use wire::nvme::nsid::Identifiers;
use wire::nvme::{IdDescriptorList, IdentifyController, IdentifyNamespace, NvmIdentifyController, Sqe, Vs, cns};
use zerocopy::{FromBytes, FromZeros, IntoBytes, KnownLayout};

use super::command::{self, status_of};
use crate::{NvmeError, Transfer};

/// Carries out an admin command.
pub(super) fn admin(file: &File, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
    let command = command::passed(&sqe, None).map_err(|_| unsupported("the kernel passes no fused command through"))?;
    let bytes = match data {
        Transfer::None => Bytes::None,
        Transfer::In(bytes) => Bytes::Mutable(bytes),
        Transfer::Out(bytes) => Bytes::Fixed(bytes),
    };
    passthru::admin(file, &command, bytes).map_err(|fault| match fault {
        Fault::Status { status, result } => NvmeError::Status { status: status_of(status), result },
        Fault::Host(error) => NvmeError::Host(error),
    })
}

fn unsupported(why: &str) -> NvmeError {
    NvmeError::Host(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Identify, into a page of that kind.
fn identify<T>(file: &File, sqe: Sqe) -> Result<Box<T>, NvmeError>
where
    T: FromBytes + FromZeros + IntoBytes + KnownLayout,
{
    let mut page = T::new_box_zeroed().map_err(|_| NvmeError::Host(io::ErrorKind::OutOfMemory.into()))?;
    admin(file, sqe, Transfer::In(page.as_mut_bytes()))?;
    Ok(page)
}

/// Identify Controller.
pub(super) fn identify_controller(file: &File) -> Result<Box<IdentifyController>, NvmeError> {
    identify(file, Sqe::identify(cns::CONTROLLER, 0, 0, 0))
}

/// Identify Namespace.
pub(super) fn identify_namespace(file: &File, nsid: u32) -> Result<Box<IdentifyNamespace>, NvmeError> {
    identify(file, Sqe::identify(cns::NAMESPACE, nsid, 0, 0))
}

/// What the controller says of its limits for the NVM command set; all zeros from one that says nothing (before 2.0),
/// or that cannot be asked, as on Windows.
pub(super) fn nvm_limits(file: &File) -> Result<Box<NvmIdentifyController>, NvmeError> {
    match identify(file, Sqe::identify(cns::COMMAND_SET_CONTROLLER, 0, csi::NVM, 0)) {
        Err(error) if matches!(error, NvmeError::Status { .. }) || is_unsupported(&error) => {
            NvmIdentifyController::new_box_zeroed().map_err(|_| NvmeError::Host(io::ErrorKind::OutOfMemory.into()))
        }
        answer => answer,
    }
}

/// Whether the system has no way for a command.
fn is_unsupported(error: &NvmeError) -> bool {
    matches!(error, NvmeError::Host(error) if error.kind() == io::ErrorKind::Unsupported)
}

/// The namespace's identification descriptors. `None`: the controller has none (before 1.3, or it refuses), or the
/// system has no way to ask for them, or does not let this user.
///
/// # Errors
/// The list is not one, or the way to the controller is broken.
pub(super) fn identifiers(file: &File, ver: u32, nsid: u32) -> Result<Option<Identifiers>, NvmeError> {
    if Vs(ver) < Vs::V1_3 {
        return Ok(None);
    }
    match identify::<IdDescriptorList>(file, Sqe::identify(cns::NAMESPACE_DESCRIPTORS, nsid, 0, 0)) {
        Ok(list) => {
            let bad = |error| io::Error::new(io::ErrorKind::InvalidData, format!("its descriptors are none: {error}"));
            Ok(Some(list.parse().map_err(bad)?))
        }
        Err(NvmeError::Status { .. }) => Ok(None),
        Err(NvmeError::Host(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) if is_unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
