//! The words of a command, and what they may do.

use wire::nvme::Sqe;
use wire::nvme::opcode::io;

use crate::data::number;

/// The fields of a submission queue entry that are the asker's.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Words {
    /// What to do, 0 to 0xff
    #[arg(long, value_name = "N", value_parser = byte)]
    pub(super) opcode: u8,

    /// The namespace [default: that of the device; 0 for admin commands]
    #[arg(long, value_name = "N", value_parser = dword)]
    nsid: Option<u32>,

    /// Command dword 2; numbers are decimal, or hexadecimal with 0x
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw2: u32,

    /// Command dword 3
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw3: u32,

    /// Command dword 10
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw10: u32,

    /// Command dword 11
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw11: u32,

    /// Command dword 12
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw12: u32,

    /// Command dword 13
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw13: u32,

    /// Command dword 14
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw14: u32,

    /// Command dword 15
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = dword)]
    cdw15: u32,
}

fn byte(text: &str) -> Result<u8, String> {
    u8::try_from(number(text)?).map_err(|_| format!("`{text}` is more than 0xff"))
}

fn dword(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| format!("`{text}` is more than 0xffffffff"))
}

/// Admin opcodes that may destroy data (Base 2.0, Opcodes for Admin Commands); vendor specific ones may do anything.
const DESTROYING_ADMIN: [u8; 6] = [
    0x0d, // Namespace Management
    0x10, // Firmware Commit
    0x15, // Namespace Attachment
    0x80, // Format NVM
    0x81, // Security Send
    0x84, // Sanitize
];
/// The first vendor specific admin opcode.
const VENDOR_ADMIN: u8 = 0xc0;
/// I/O opcodes that leave all blocks as they are; of the others nobody knows.
const HARMLESS_IO: [u8; 6] = [
    io::FLUSH,
    io::READ,
    io::COMPARE,
    io::VERIFY,
    io::RESERVATION_REPORT,
    0x7a, // Zone Management Receive
];

impl Words {
    /// The command; `nsid` is its namespace if the asker does not say.
    pub(super) fn sqe(&self, nsid: Option<u32>) -> Sqe {
        Sqe {
            opcode: self.opcode,
            nsid: self.nsid.or(nsid).unwrap_or(0).into(),
            cdw2: self.cdw2.into(),
            cdw3: self.cdw3.into(),
            cdw10: self.cdw10.into(),
            cdw11: self.cdw11.into(),
            cdw12: self.cdw12.into(),
            cdw13: self.cdw13.into(),
            cdw14: self.cdw14.into(),
            cdw15: self.cdw15.into(),
            ..Sqe::default()
        }
    }

    /// Whether something may be lost by it.
    pub(super) fn may_destroy(&self, is_admin: bool) -> bool {
        let opcode = self.opcode;
        match is_admin {
            true => DESTROYING_ADMIN.contains(&opcode) || opcode >= VENDOR_ADMIN,
            false => !HARMLESS_IO.contains(&opcode),
        }
    }
}
