//! Commands as the kernel takes them, and its answers as ours.

use std::io::ErrorKind;
use std::time::Duration;

use machine::os::IO_ERROR;
use machine::passthru::{self, Fault};
use wire::nvme::io;
use wire::nvme::opcode::Transfer;
use wire::nvme::opcode::zns::ZONE_APPEND;
use wire::nvme::{Fuse, IDENTIFY_BYTES, Sqe, Status, opcode};

use crate::limits::MAX_PIECES;
use crate::nvme::namespace::Namespace;
use crate::{Command, Failure, Info};

/// What the kernel is given of a command; `timeout` is rounded up to milliseconds.
///
/// # Errors
/// [`Failure::NotSupported`]: the kernel passes no fused command through.
pub(super) fn passed(sqe: &Sqe, timeout: Option<Duration>) -> Result<passthru::Command, Failure> {
    if sqe.fuse() != Fuse::Normal {
        return Err(Failure::NotSupported);
    }
    let dwords = [sqe.cdw10, sqe.cdw11, sqe.cdw12, sqe.cdw13, sqe.cdw14, sqe.cdw15];
    Ok(passthru::Command {
        opcode: sqe.opcode,
        nsid: sqe.nsid.get(),
        cdw2: sqe.cdw2.get(),
        cdw3: sqe.cdw3.get(),
        cdw10: dwords.map(|dword| dword.get()),
        timeout_ms: timeout.map_or(0, |timeout| timeout.as_micros().div_ceil(1000).clamp(1, u32::MAX.into()) as u32),
    })
}

/// Whether a native command may go to the namespace.
///
/// A device moves as much as the command says, whatever the buffers hold; the kernel does not look. So the commands
/// that move blocks are checked here. For others, whoever builds them answers.
///
/// # Errors
/// Why not.
pub(super) fn check(command: &Command, namespace: &Namespace) -> Result<(), Failure> {
    let sqe = &command.sqe;
    let (data, pieces) = (command.data.len() as u64, command.data.pieces().len());
    let metadata = command.metadata.as_ref().map_or(0, |buf| buf.len() as u64);
    if data > u64::from(namespace.max_transfer_bytes) || pieces > MAX_PIECES {
        return Err(Failure::BadTransfer);
    }
    match Transfer::of(sqe.opcode) {
        Transfer::None if data + metadata > 0 => return Err(Failure::BadTransfer),
        Transfer::Bidirectional => return Err(Failure::NotSupported),
        Transfer::ControllerToHost => {}
        _ if namespace.read_only => return Err(Failure::ReadOnly),
        _ => {}
    }
    if !matches!(sqe.opcode, io::READ | io::WRITE | io::COMPARE | ZONE_APPEND) {
        return Ok(());
    }
    let (block, beside) = namespace.bytes_of_block(sqe);
    let blocks = u64::from(sqe.nlb());
    if data < blocks * block || metadata < blocks * beside { Err(Failure::BadTransfer) } else { Ok(()) }
}

/// Whether a native command may go to a controller's admin queue. Of the commands whose length the controller goes by
/// what they say, whatever their buffer holds, the common ones are checked.
///
/// # Errors
/// Why not.
pub(super) fn check_admin(command: &Command, info: &Info) -> Result<(), Failure> {
    let sqe = &command.sqe;
    let (data, pieces) = (command.data.len() as u64, command.data.pieces().len());
    if data > u64::from(info.max_transfer_bytes) || pieces > MAX_PIECES || command.metadata.is_some() {
        return Err(Failure::BadTransfer);
    }
    match Transfer::of(sqe.opcode) {
        Transfer::None if data > 0 => return Err(Failure::BadTransfer),
        Transfer::Bidirectional => return Err(Failure::NotSupported),
        Transfer::ControllerToHost => {}
        _ if info.features.read_only => return Err(Failure::ReadOnly),
        _ => {}
    }
    let moved = match sqe.opcode {
        opcode::admin::IDENTIFY => IDENTIFY_BYTES as u64,
        opcode::admin::GET_LOG_PAGE => sqe.log_bytes(),
        _ => 0,
    };
    if data < moved { Err(Failure::BadTransfer) } else { Ok(()) }
}

/// A status as the kernel has it: the field of the completion without its phase bit.
pub(super) fn status_of(status: u16) -> Status {
    Status::from_field(status << 1)
}

/// Why a native command failed. A command that the kernel gave up after its time, or for a reset, is `EINTR`. What this
/// system has no way for has no number, nor has a buffer that is too small.
pub(super) fn failure(fault: &Fault) -> Failure {
    match fault {
        Fault::Status { status, .. } => Failure::Device(status_of(*status)),
        Fault::Host(error) if error.raw_os_error().is_none() && error.kind() == ErrorKind::Unsupported => {
            Failure::NotSupported
        }
        Fault::Host(error) if error.raw_os_error().is_none() && error.kind() == ErrorKind::InvalidInput => {
            Failure::BadTransfer
        }
        Fault::Host(error) => Failure::Host(error.raw_os_error().unwrap_or(IO_ERROR)),
    }
}

#[cfg(test)]
mod tests {
    use machine::region::{Buf, Pool};
    use wire::nvme::LogRequest;
    use zerocopy::FromZeros;

    use super::*;
    use crate::nvme::namespace::{Format, tests::NAMESPACE};
    use crate::{Features, Identity};

    fn buf(bytes: usize) -> Option<Buf> {
        (bytes > 0).then(|| Pool::anonymous(bytes, 1).expect("memory").take().expect("the first one"))
    }

    fn command(sqe: Sqe, data: usize, metadata: usize) -> Command {
        Command { tag: 0, sqe, data: buf(data).into(), metadata: buf(metadata), timeout: None }
    }

    #[test]
    fn every_dword_passes_and_fused_commands_do_not() {
        let mut sqe = Sqe::read(3, 0x1_0000_0002, 8);
        (sqe.cdw2, sqe.cdw3, sqe.cdw13, sqe.cdw14, sqe.cdw15) = (4.into(), 5.into(), 13.into(), 14.into(), 15.into());
        let command = passed(&sqe, Some(Duration::from_micros(1001))).expect("not fused");
        let expected =
            passthru::Command { opcode: 2, nsid: 3, cdw2: 4, cdw3: 5, cdw10: [2, 1, 7, 13, 14, 15], timeout_ms: 2 };
        assert_eq!(command, expected);
        assert_eq!(passed(&sqe, None).expect("not fused").timeout_ms, 0);
        sqe.flags |= 1;
        assert_eq!(passed(&sqe, None), Err(Failure::NotSupported));
    }

    #[test]
    fn a_command_does_not_reach_beyond_its_buffers() {
        let check = |format: Format, sqe, data, metadata| {
            super::check(&command(sqe, data, metadata), &Namespace { format, ..NAMESPACE })
        };
        let bare = Format::default();
        let (read, bad) = (Sqe::read(3, 0, 4), Err(Failure::BadTransfer));
        assert_eq!(check(bare, read, 2048, 0), Ok(()));
        assert_eq!(check(bare, read, 4096, 0), Ok(()), "more room than it needs");
        assert_eq!((check(bare, read, 2047, 0), check(bare, read, 0, 0)), (bad, bad));
        let apart = Format { metadata_bytes: 8, interleaved: false, protection: 1 };
        assert_eq!((check(apart, read, 2048, 32), check(apart, read, 2048, 31)), (Ok(()), bad));
        let inside = Format { interleaved: true, ..apart };
        assert_eq!((check(inside, read, 2080, 0), check(inside, read, 2079, 0)), (Ok(()), bad));
        let stripped = read.with_protection_by_controller(true);
        assert_eq!((check(apart, stripped, 2048, 0), check(inside, stripped, 2048, 0)), (Ok(()), Ok(())));
        let append = Sqe::zone_append(3, 0, 4);
        assert_eq!((check(bare, append, 2048, 0), check(bare, append, 512, 0)), (Ok(()), bad));
        assert_eq!(check(bare, Sqe::flush(3), 512, 0), bad, "bytes for a command that has none");
        assert_eq!(check(bare, Sqe { opcode: 0x83, ..Sqe::new_zeroed() }, 0, 0), Err(Failure::NotSupported));
    }

    #[test]
    fn a_namespace_that_is_read_only_takes_what_brings_data() {
        let frozen = Namespace { read_only: true, ..NAMESPACE };
        assert_eq!(check(&command(Sqe::read(3, 0, 1), 512, 0), &frozen), Ok(()));
        for sqe in [Sqe::flush(3), Sqe::write(3, 0, 1, false), Sqe::dsm(3, 1, true)] {
            assert_eq!(check(&command(sqe, if sqe.opcode == 0 { 0 } else { 512 }, 0), &frozen), Err(Failure::ReadOnly));
        }
    }

    #[test]
    fn admin_commands_do_not_reach_beyond_their_buffers_either() {
        let info = |read_only| Info {
            name: String::new(),
            kind: "controller",
            block_bytes: 512,
            blocks: 0,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes: 8192,
            piece_bytes: 1,
            features: Features { read_only, ..Features::default() },
            identity: Identity::from_uuid(uuid::Uuid::nil()),
        };
        let check = |sqe, data, metadata| check_admin(&command(sqe, data, metadata), &info(false));
        let (identify, bad) = (Sqe::identify(1, 0, 0, 0), Err(Failure::BadTransfer));
        assert_eq!((check(identify, 4096, 0), check(identify, 4095, 0), check(identify, 0, 0)), (Ok(()), bad, bad));
        assert_eq!((check(identify, 8193, 0), check(identify, 4096, 8)), (bad, bad));
        let log = LogRequest { lid: 2, lsp: 0, rae: true, offset: 0, bytes: 512, nsid: 0 };
        assert_eq!((check(Sqe::get_log(log), 512, 0), check(Sqe::get_log(log), 508, 0)), (Ok(()), bad));
        assert_eq!((check(Sqe::async_event(), 0, 0), check(Sqe::async_event(), 8, 0)), (Ok(()), bad));
        assert_eq!(check(Sqe { opcode: opcode::FABRICS, ..Sqe::new_zeroed() }, 0, 0), Err(Failure::NotSupported));
        let frozen = |sqe, data| check_admin(&command(sqe, data, 0), &info(true));
        assert_eq!((frozen(identify, 4096), frozen(Sqe::set_features(4, 0, 0), 0)), (Ok(()), Err(Failure::ReadOnly)));
    }

    #[test]
    fn answers_of_the_device_keep_their_status_and_errors_of_the_host_their_number() {
        let answered = failure(&Fault::Status { status: 0x4000 | 0x0281, result: 0 });
        assert_eq!(answered, Failure::Device(Status::new(2, 0x81).with_dnr()));
        assert_eq!(failure(&Fault::Host(std::io::Error::from_raw_os_error(13))), Failure::Host(13));
        let unnumbered = |kind: ErrorKind| failure(&Fault::Host(std::io::Error::new(kind, "why")));
        assert_eq!(unnumbered(ErrorKind::Unsupported), Failure::NotSupported);
        assert_eq!(unnumbered(ErrorKind::InvalidInput), Failure::BadTransfer);
        assert_eq!(unnumbered(ErrorKind::Other), Failure::Host(IO_ERROR));
    }
}
