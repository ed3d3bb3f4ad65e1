//! Why a connection ends.

use std::fmt;
use std::io;

use wire::tcp::Cause;

use crate::limits::HANDSHAKE;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The host closed it.
    Closed,
    /// The socket failed.
    Socket(io::Error),
    /// A side broke the protocol; the term request is in the outbox.
    Protocol(Cause),
    /// The association is over: reset, shut down, or the admin connection is gone.
    Association,
    /// The host asked for it (Disconnect).
    Disconnect,
    /// ICReq and Connect did not come in time.
    Handshake,
    /// Keep-alives stayed out.
    KeepAlive,
    /// The host does not read its answers, or does not send the data it was asked for.
    Stalled,
    /// The target stops.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "closed by the host"),
            Self::Socket(error) => write!(f, "the socket failed: {error}"),
            Self::Protocol(cause) => write!(f, "protocol error: {cause}"),
            Self::Association => write!(f, "the association has ended"),
            Self::Disconnect => write!(f, "the host disconnected"),
            Self::Handshake => write!(f, "no Connect within {} s", HANDSHAKE.as_secs()),
            Self::KeepAlive => write!(f, "no keep-alive within the time-out"),
            Self::Stopped => write!(f, "the target stops"),
            Self::Stalled => write!(f, "the host did not read or send in time"),
        }
    }
}
