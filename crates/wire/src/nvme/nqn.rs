//! NVMe qualified names: `nqn.2014-08.org.nvmexpress:uuid:...`.

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes (Base 2.0, NVMe Qualified Names).
pub const MAX_BYTES: usize = 223;
/// Size of a name's field on the wire: zero-padded, and always with a zero at the end.
pub const FIELD_BYTES: usize = 256;
/// What every name starts with.
pub const PREFIX: &str = "nqn.";
/// The name of every discovery subsystem.
pub const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// A checked NVMe qualified name: UTF-8 without control characters, at most [`MAX_BYTES`] bytes, starts with
/// [`PREFIX`]. Compared byte by byte, as the specification wants it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nqn {
    // Zero beyond `len`, so that the derived comparisons hold. The bytes come first: they decide the order.
    bytes: [u8; MAX_BYTES],
    len: u8,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NqnError {
    /// The field has no zero at its end.
    NotTerminated,
    /// More than [`MAX_BYTES`] bytes.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// It has a control character.
    ControlCharacter,
    /// It does not start with [`PREFIX`], or nothing follows it.
    NoPrefix,
}

impl Nqn {
    /// Checks a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, NqnError> {
        if name.len() > MAX_BYTES {
            return Err(NqnError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(NqnError::ControlCharacter);
        }
        if !name.starts_with(PREFIX) || name.len() == PREFIX.len() {
            return Err(NqnError::NoPrefix);
        }
        let mut bytes = [0; MAX_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, len: name.len() as u8 })
    }

    /// The well-known name of discovery subsystems.
    #[must_use]
    pub fn discovery() -> Self {
        Self::new(DISCOVERY).expect("the constant is a valid name")
    }

    /// Whether it is the well-known name of discovery subsystems.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        self.as_str() == DISCOVERY
    }

    /// Reads a field. What follows the first zero does not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_field(field: &[u8; FIELD_BYTES]) -> Result<Self, NqnError> {
        let len = field.iter().position(|&byte| byte == 0).ok_or(NqnError::NotTerminated)?;
        Self::new(str::from_utf8(&field[..len]).map_err(|_| NqnError::NotUtf8)?)
    }

    /// The field: zero-padded.
    #[must_use]
    pub fn to_field(&self) -> [u8; FIELD_BYTES] {
        let mut field = [0; FIELD_BYTES];
        field[..MAX_BYTES].copy_from_slice(&self.bytes);
        field
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("checked when it was made")
    }
}

impl FromStr for Nqn {
    type Err = NqnError;

    fn from_str(name: &str) -> Result<Self, NqnError> {
        Self::new(name)
    }
}

impl AsRef<str> for Nqn {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for NqnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTerminated => f.write_str("the name is not zero-terminated"),
            Self::TooLong => write!(f, "the name is longer than {MAX_BYTES} bytes"),
            Self::NotUtf8 => f.write_str("the name is not UTF-8"),
            Self::ControlCharacter => f.write_str("the name has a control character"),
            Self::NoPrefix => write!(f, "the name does not start with \"{PREFIX}\" and something behind it"),
        }
    }
}

impl std::error::Error for NqnError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(bytes: &[u8]) -> [u8; FIELD_BYTES] {
        let mut field = [0; FIELD_BYTES];
        field[..bytes.len()].copy_from_slice(bytes);
        field
    }

    #[test]
    fn good_names_survive() {
        let longest = format!("nqn.2026-01.example:{}", "x".repeat(203));
        assert_eq!(longest.len(), MAX_BYTES);
        for name in [DISCOVERY, "nqn.2026-01.example:disk", "nqn.x", "nqn.2026-01.example:plätze", &longest] {
            let nqn = Nqn::new(name).unwrap();
            assert_eq!(nqn.as_str(), name);
            assert_eq!(Nqn::from_field(&nqn.to_field()), Ok(nqn));
            assert_eq!(nqn.to_field(), field(name.as_bytes()));
            assert_eq!(nqn.is_discovery(), name == DISCOVERY);
        }
        assert_eq!(Nqn::discovery().to_string(), DISCOVERY);
    }

    #[test]
    fn bad_names_are_refused() {
        let too_long = format!("nqn.{}", "x".repeat(220));
        for (name, error) in [
            ("", NqnError::NoPrefix),
            ("nqn.", NqnError::NoPrefix),
            ("nqn", NqnError::NoPrefix),
            ("NQN.2026-01.example:a", NqnError::NoPrefix),
            (" nqn.2026-01.example:a", NqnError::NoPrefix),
            ("iqn.2026-01.example:a", NqnError::NoPrefix),
            ("nqn.2026-01.example:a\n", NqnError::ControlCharacter),
            ("nqn.2026-01.example:\x1b[2J", NqnError::ControlCharacter),
            (too_long.as_str(), NqnError::TooLong),
        ] {
            assert_eq!(Nqn::new(name), Err(error), "{name:?}");
            assert_eq!(Nqn::from_field(&field(name.as_bytes())), Err(error), "{name:?}");
        }
        assert_eq!(Nqn::new("nqn.a\0b"), Err(NqnError::ControlCharacter));
    }

    #[test]
    fn bad_fields_are_refused() {
        assert_eq!(Nqn::from_field(&[b'n'; FIELD_BYTES]), Err(NqnError::NotTerminated));
        assert_eq!(Nqn::from_field(&[0; FIELD_BYTES]), Err(NqnError::NoPrefix));
        assert_eq!(Nqn::from_field(&field(b"nqn.\xff\xfe")), Err(NqnError::NotUtf8));
        assert_eq!(Nqn::from_field(&field(&[b'x'; 255])), Err(NqnError::TooLong));
        // A character cut in half by the zero.
        assert_eq!(Nqn::from_field(&field(b"nqn.a\xc3\0\xa4")), Err(NqnError::NotUtf8));
    }

    #[test]
    fn what_follows_the_zero_does_not_count() {
        let nqn = Nqn::from_field(&field(b"nqn.a\0rubbish")).unwrap();
        assert_eq!(nqn, Nqn::new("nqn.a").unwrap());
    }

    proptest! {
        #[test]
        fn any_field_is_a_name_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..=256), prefix: bool) {
            let mut raw = field(&bytes);
            if prefix {
                raw[..4].copy_from_slice(PREFIX.as_bytes());
            }
            if let Ok(nqn) = Nqn::from_field(&raw) {
                prop_assert!(nqn.as_str().starts_with(PREFIX) && nqn.as_str().len() <= MAX_BYTES);
                prop_assert_eq!(Nqn::new(nqn.as_str()), Ok(nqn));
                prop_assert_eq!(&nqn.to_field()[..nqn.as_str().len()], &raw[..nqn.as_str().len()]);
            }
        }
    }
}
