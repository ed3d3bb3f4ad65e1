//! Pages of bytes that no device would send, but that tell every field from every other; and [`harness`].

#![allow(dead_code, unreachable_pub, reason = "tests and fuzz targets use a part of it each")]

pub mod harness;

/// Printable ASCII from a generator. Numbers made of such bytes have their highest bit clear, so that nvme-cli, which
/// takes some for signed, shows them as they are.
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        0x21 + ((state >> 33) % 94) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// A pattern with some bytes put in their places.
pub fn page(seed: u64, bytes: usize, places: &[(usize, &[u8])]) -> Vec<u8> {
    let mut page = pattern(seed, bytes);
    for (at, with) in places {
        page[*at..at + with.len()].copy_from_slice(with);
    }
    page
}

/// Identify Controller with three power states.
pub fn controller() -> Vec<u8> {
    page(1, 4096, &[(4, b"QP0123              "), (263, &[2]), (1023, &[0])])
}

/// Identify Namespace with four formats.
pub fn namespace() -> Vec<u8> {
    page(2, 4096, &[(24, &[0x5a]), (25, &[3]), (26, &[2]), (82, &[0])])
}

/// Identification descriptors of all types.
pub fn descriptors() -> Vec<u8> {
    let mut page = Vec::new();
    for (nidt, nid) in [(1, pattern(6, 8)), (2, pattern(7, 16)), (3, pattern(8, 16)), (4, vec![0])] {
        page.extend([nidt, nid.len() as u8, 0, 0]);
        page.extend(nid);
    }
    page.resize(4096, 0);
    page
}

/// A page that begins like this, and is zero behind it.
pub fn front(bytes: &[u8]) -> Vec<u8> {
    let mut page = bytes.to_vec();
    page.resize(4096, 0);
    page
}
