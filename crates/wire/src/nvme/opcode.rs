//! Opcodes: byte 0 of a command, and the fabrics command type in byte 4.

/// Opcode of every fabrics command; the command is then [`super::Sqe::fctype`].
pub const FABRICS: u8 = 0x7f;

/// Admin commands (Base 2.0, Opcodes for Admin Commands).
pub mod admin {
    /// Delete I/O Submission Queue; prohibited on fabrics.
    pub const DELETE_IO_SQ: u8 = 0x00;
    /// Create I/O Submission Queue; prohibited on fabrics.
    pub const CREATE_IO_SQ: u8 = 0x01;
    /// Get Log Page.
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Delete I/O Completion Queue; prohibited on fabrics.
    pub const DELETE_IO_CQ: u8 = 0x04;
    /// Create I/O Completion Queue; prohibited on fabrics.
    pub const CREATE_IO_CQ: u8 = 0x05;
    /// Identify.
    pub const IDENTIFY: u8 = 0x06;
    /// Abort.
    pub const ABORT: u8 = 0x08;
    /// Set Features.
    pub const SET_FEATURES: u8 = 0x09;
    /// Get Features.
    pub const GET_FEATURES: u8 = 0x0a;
    /// Asynchronous Event Request.
    pub const ASYNC_EVENT_REQUEST: u8 = 0x0c;
    /// Keep Alive.
    pub const KEEP_ALIVE: u8 = 0x18;
}

/// I/O commands of the NVM command set (NVM Command Set 1.0, Opcodes for NVM Commands).
pub mod io {
    /// Flush.
    pub const FLUSH: u8 = 0x00;
    /// Write.
    pub const WRITE: u8 = 0x01;
    /// Read.
    pub const READ: u8 = 0x02;
    /// Write Uncorrectable.
    pub const WRITE_UNCORRECTABLE: u8 = 0x04;
    /// Compare.
    pub const COMPARE: u8 = 0x05;
    /// Write Zeroes.
    pub const WRITE_ZEROES: u8 = 0x08;
    /// Dataset Management.
    pub const DSM: u8 = 0x09;
    /// Verify.
    pub const VERIFY: u8 = 0x0c;
    /// Reservation Register.
    pub const RESERVATION_REGISTER: u8 = 0x0d;
    /// Reservation Report.
    pub const RESERVATION_REPORT: u8 = 0x0e;
    /// Reservation Acquire.
    pub const RESERVATION_ACQUIRE: u8 = 0x11;
    /// Reservation Release.
    pub const RESERVATION_RELEASE: u8 = 0x15;
    /// Copy.
    pub const COPY: u8 = 0x19;
}

/// I/O commands that only the zoned namespace command set has (ZNS 1.1, Opcodes).
pub mod zns {
    /// Zone Management Send.
    pub const ZONE_MANAGEMENT_SEND: u8 = 0x79;
    /// Zone Management Receive.
    pub const ZONE_MANAGEMENT_RECEIVE: u8 = 0x7a;
    /// Zone Append.
    pub const ZONE_APPEND: u8 = 0x7d;
}

/// Fabrics command types, byte 4 of a command with opcode [`FABRICS`].
pub mod fabrics {
    /// Property Set.
    pub const PROPERTY_SET: u8 = 0x00;
    /// Connect.
    pub const CONNECT: u8 = 0x01;
    /// Property Get.
    pub const PROPERTY_GET: u8 = 0x04;
    /// Authentication Send.
    pub const AUTHENTICATION_SEND: u8 = 0x05;
    /// Authentication Receive.
    pub const AUTHENTICATION_RECEIVE: u8 = 0x06;
    /// Disconnect.
    pub const DISCONNECT: u8 = 0x08;
}

/// What an admin command is called, for logs and messages.
#[must_use]
pub const fn admin_name(opcode: u8) -> &'static str {
    match opcode {
        admin::DELETE_IO_SQ => "Delete I/O Submission Queue",
        admin::CREATE_IO_SQ => "Create I/O Submission Queue",
        admin::GET_LOG_PAGE => "Get Log Page",
        admin::DELETE_IO_CQ => "Delete I/O Completion Queue",
        admin::CREATE_IO_CQ => "Create I/O Completion Queue",
        admin::IDENTIFY => "Identify",
        admin::ABORT => "Abort",
        admin::SET_FEATURES => "Set Features",
        admin::GET_FEATURES => "Get Features",
        admin::ASYNC_EVENT_REQUEST => "Asynchronous Event Request",
        admin::KEEP_ALIVE => "Keep Alive",
        FABRICS => "Fabrics",
        _ => "unknown admin command",
    }
}

/// What an I/O command of the NVM or the zoned namespace command set is called, for logs and messages.
#[must_use]
pub const fn io_name(opcode: u8) -> &'static str {
    match opcode {
        io::FLUSH => "Flush",
        io::WRITE => "Write",
        io::READ => "Read",
        io::WRITE_UNCORRECTABLE => "Write Uncorrectable",
        io::COMPARE => "Compare",
        io::WRITE_ZEROES => "Write Zeroes",
        io::DSM => "Dataset Management",
        io::VERIFY => "Verify",
        io::RESERVATION_REGISTER => "Reservation Register",
        io::RESERVATION_REPORT => "Reservation Report",
        io::RESERVATION_ACQUIRE => "Reservation Acquire",
        io::RESERVATION_RELEASE => "Reservation Release",
        io::COPY => "Copy",
        zns::ZONE_MANAGEMENT_SEND => "Zone Management Send",
        zns::ZONE_MANAGEMENT_RECEIVE => "Zone Management Receive",
        zns::ZONE_APPEND => "Zone Append",
        FABRICS => "Fabrics",
        _ => "unknown I/O command",
    }
}

/// Direction of the data of a command, from the two low bits of an opcode or, for [`FABRICS`], of the command type
/// (Base 2.0, Opcode: Data Transfer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// 00b: no data.
    None,
    /// 01b: from host to controller.
    HostToController,
    /// 10b: from controller to host.
    ControllerToHost,
    /// 11b: both ways; no command that we know.
    Bidirectional,
}

impl Transfer {
    /// The direction that an opcode or a fabrics command type declares.
    #[must_use]
    pub const fn of(opcode: u8) -> Self {
        match opcode & 3 {
            0 => Self::None,
            1 => Self::HostToController,
            2 => Self::ControllerToHost,
            _ => Self::Bidirectional,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_declare_their_direction() {
        for opcode in [io::WRITE, io::COMPARE, io::DSM, io::COPY, admin::SET_FEATURES, fabrics::CONNECT] {
            assert_eq!(Transfer::of(opcode), Transfer::HostToController);
        }
        for opcode in [io::READ, admin::IDENTIFY, admin::GET_LOG_PAGE, admin::GET_FEATURES] {
            assert_eq!(Transfer::of(opcode), Transfer::ControllerToHost);
        }
        for opcode in [io::FLUSH, io::WRITE_ZEROES, io::VERIFY, admin::ABORT, admin::KEEP_ALIVE] {
            assert_eq!(Transfer::of(opcode), Transfer::None);
        }
    }

    #[test]
    fn names() {
        assert_eq!((admin_name(0x18), admin_name(0xc0)), ("Keep Alive", "unknown admin command"));
        assert_eq!(
            (io_name(0x09), io_name(0x7f), io_name(0xff)),
            ("Dataset Management", "Fabrics", "unknown I/O command")
        );
    }
}
