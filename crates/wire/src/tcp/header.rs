//! What every received header must fulfil, and how a refused one is answered.
//!
//! The first 8 bytes decide, with a few compares, whether the PDU can exist at all: [`layout`] checks hlen, flags, pdo
//! and plen against each other and against the digests in use, so that no later step meets a length it did not expect.
//! Then the header's own digest is checked ([`verify`]), then the type's own fields, by the machine that receives it.

use std::fmt;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::digest::{Crc32c, Digests};
use super::limits::{DIGEST_BYTES, MAX_QUOTED_BYTES};
use super::pdu::{CommonHeader, Fes, TermReq, flags, kind};

/// A rule that the peer broke. Fatal to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What the term request says.
    pub fes: Fes,
    /// Fatal error information of the term request: the offset of the wrong field or the wrong header digest.
    pub fei: u32,
    /// The rule, for a log line.
    pub what: &'static str,
    /// How many bytes of the offending header had to be there to see it. The term request quotes so many, however the
    /// bytes were cut on their way.
    seen: usize,
}

impl Violation {
    /// A wrong value of the field at `offset`.
    pub(super) const fn field(offset: u32, what: &'static str) -> Self {
        Self { fes: Fes::InvalidHeaderField, fei: offset, what, seen: size_of::<CommonHeader>() }
    }

    /// A value of the field at `offset` that we do not support.
    pub(super) const fn unsupported(offset: u32, what: &'static str) -> Self {
        Self { fes: Fes::UnsupportedParameter, ..Self::field(offset, what) }
    }

    /// An error without further information.
    pub(super) const fn of(fes: Fes, what: &'static str) -> Self {
        Self { fes, ..Self::field(0, what) }
    }

    /// A PDU that is not expected now.
    pub(super) const fn sequence(what: &'static str) -> Self {
        Self::of(Fes::SequenceError, what)
    }

    /// The same, found in a header of `hlen` bytes that is all there.
    pub(super) const fn in_header(self, hlen: usize) -> Self {
        Self { seen: hlen, ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (information {:08x}h)", Fes::name(self.fes as u16), self.what, self.fei)
    }
}

impl std::error::Error for Violation {}

/// Whether a type of PDU has data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Nothing,
    Maybe,
    Always,
}

/// How a received PDU is laid out, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The header and its digest: where the data starts.
    pub(super) header: usize,
    /// The data.
    pub(super) data: u32,
    /// All of it, with the data's digest.
    pub(super) total: usize,
}

/// The common header at the start of `bytes`, if it is all there.
pub(super) fn common(bytes: &[u8]) -> Option<&CommonHeader> {
    CommonHeader::ref_from_prefix(bytes).ok().map(|(header, _)| header)
}

/// Checks the common header of a PDU whose header has `hlen` bytes. The data is unbounded here (up to 4 GiB): the
/// caller knows the limit. We advertise an alignment of 0 in both directions, so the data starts right behind the
/// header and its digest.
#[inline]
pub(super) fn layout(ch: &CommonHeader, hlen: usize, carries: Carries, digests: Digests) -> Result<Layout, Violation> {
    if usize::from(ch.hlen) != hlen {
        return Err(Violation::field(2, "hlen is not the length of this header"));
    }
    let header = hlen + digests.header_bytes();
    let Some(rest) = (ch.plen.get() as usize).checked_sub(header) else {
        return Err(Violation::field(4, "plen is shorter than the header"));
    };
    let digest_flags = ch.flags & (flags::HEADER_DIGEST | flags::DATA_DIGEST);
    if rest == 0 && carries != Carries::Always {
        if digest_flags != (Digests { data: false, ..digests }).bits() {
            return Err(Violation::field(1, "digest flags do not match the digests in use"));
        }
        // Without data the offset means nothing: some write 0, some where data would start.
        if ch.pdo != 0 && (carries == Carries::Nothing || usize::from(ch.pdo) != header) {
            return Err(Violation::field(3, "pdo of a PDU without data"));
        }
        return Ok(Layout { header, data: 0, total: header });
    }
    if carries == Carries::Nothing || rest <= digests.data_bytes() {
        return Err(Violation::field(4, "plen does not fit this type of PDU"));
    }
    if digest_flags != digests.bits() {
        return Err(Violation::field(1, "digest flags do not match the digests in use"));
    }
    if usize::from(ch.pdo) != header {
        return Err(Violation::field(3, "pdo is not where the data starts"));
    }
    Ok(Layout { header, data: (rest - digests.data_bytes()) as u32, total: header + rest })
}

/// Checks the digest of a header of type `T` at the start of `bytes`, which has at least `layout.header` bytes, and
/// returns the header.
#[inline]
pub(super) fn verify<T>(bytes: &[u8], digests: Digests) -> Result<&T, Violation>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    if digests.header {
        let (header, digest) = bytes[..size_of::<T>() + DIGEST_BYTES].split_at(size_of::<T>());
        let digest: [u8; DIGEST_BYTES] = digest.try_into().expect("cut to this length");
        if Crc32c::of(header) != digest {
            let wrong = Violation::of(Fes::HeaderDigestError, "the header digest is wrong");
            return Err(Violation { fei: u32::from_le_bytes(digest), ..wrong }.in_header(size_of::<T>()));
        }
    }
    Ok(T::ref_from_prefix(bytes).expect("the header is all there").0)
}

/// Bytes of a term request's header, which is all that is read of one.
pub(super) const TERM_REQ_BYTES: usize = size_of::<TermReq>();

/// Reads the header of a peer's term request, which never has digests and of which nothing else matters.
pub(super) fn term_req(bytes: &[u8]) -> Result<Option<&TermReq>, Violation> {
    const HLEN: usize = TERM_REQ_BYTES;
    let Some(ch) = common(bytes) else { return Ok(None) };
    if usize::from(ch.hlen) != HLEN {
        return Err(Violation::field(2, "hlen is not the length of this header"));
    }
    if !(HLEN..=HLEN + MAX_QUOTED_BYTES).contains(&(ch.plen.get() as usize)) {
        return Err(Violation::field(4, "plen of a term request is not 24 to 152"));
    }
    if ch.flags & (flags::HEADER_DIGEST | flags::DATA_DIGEST) != 0 {
        return Err(Violation::field(1, "a term request has no digests"));
    }
    Ok(TermReq::ref_from_prefix(bytes).ok().map(|(header, _)| header))
}

/// The violation that a PDU of type `received` is, where none of that type may come.
#[cold]
pub(super) fn unexpected(received: u8) -> Violation {
    match received {
        kind::IC_REQ..=kind::C2H_DATA | kind::R2T => Violation::sequence("a PDU of this type may not come now"),
        _ => Violation::field(0, "unknown type of PDU"),
    }
}

/// Appends a header and, if in use, its digest.
#[inline]
pub(super) fn append(header: &(impl IntoBytes + Immutable), digests: Digests, out: &mut Vec<u8>) {
    let bytes = header.as_bytes();
    out.extend_from_slice(bytes);
    if digests.header {
        out.extend_from_slice(&Crc32c::of(bytes));
    }
}

/// Appends the term request (of type `kind`) for a header that starts with `offending`.
#[cold]
pub(super) fn append_term_req(kind: u8, violation: &Violation, offending: &[u8], out: &mut Vec<u8>) {
    let quoted = &offending[..offending.len().min(violation.seen).min(MAX_QUOTED_BYTES)];
    let hlen = size_of::<TermReq>();
    let header = TermReq {
        ch: CommonHeader { kind, flags: 0, hlen: hlen as u8, pdo: 0, plen: U32::new((hlen + quoted.len()) as u32) },
        fes: U16::new(violation.fes as u16),
        fei: U32::new(violation.fei),
        reserved: [0; 10],
    };
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(quoted);
}
