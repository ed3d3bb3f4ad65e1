//! Who may use the cache, and for what.
//!
//! ```text
//!   a client ──▶ stranger: its first words, of which little is read and to which little is said
//!                   │ set x 0 0 11\r\nuser secret\r\n     AUTH user secret     HELLO 3 AUTH user secret
//!                   ▼
//!                user: commands that its rights allow, on keys that begin as they say
//! ```
//!
//! A server without users asks nobody. Passwords are kept as their SHA-256: so they are compared without telling by the
//! time it takes how much of one was right, and stand nowhere in memory. A hash that is slow on purpose would be safer
//! for a file that is stolen, and stop a reactor for every login: who fears for short passwords chooses long ones.

mod commands;
mod roll;

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub(crate) use commands::Denied;
pub(crate) use roll::Roll;

use crate::limits::{MAX_STRANGER_BYTES, MAX_STRANGER_TOLD};

/// A password as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Of a password.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// From 64 hexadecimal digits, as `sha256sum` prints them; `None` if it is something else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
        let (pairs, _) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        (digits.len() == 64).then(|| Self(bytes.try_into().expect("half of 64")))
    }

    /// Compares all of both in any case.
    fn is(&self, other: &Self) -> bool {
        let differs = self.0.iter().zip(&other.0).fold(0, |differs, (one, two)| differs | (one ^ two));
        std::hint::black_box(differs) == 0
    }
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// It changes nothing.
    pub read_only: bool,
    /// Its keys begin with one of these; all are its own if there are none.
    pub prefixes: Vec<Vec<u8>>,
}

impl Rights {
    /// Whether it may do everything.
    fn is_all(&self) -> bool {
        !self.read_only && self.prefixes.is_empty()
    }

    /// Whether a key is one of its own.
    fn has(&self, key: &[u8]) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Who may use the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What it calls itself. Redis clients that name none mean `default`.
    pub name: String,
    /// How it shows that it is.
    pub secret: Secret,
    /// What it may do.
    pub rights: Rights,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users(Arc<[User]>);

impl Users {
    /// These, and nobody else.
    #[must_use]
    pub fn new(users: Vec<User>) -> Self {
        Self(users.into())
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The user of this name and password. It takes as long if there is none.
    fn find(&self, name: &[u8], password: &[u8]) -> Option<usize> {
        let secret = Secret::of(password);
        let known = |user: &User| user.secret.is(&secret) & (user.name.as_bytes() == name);
        self.0.iter().enumerate().fold(None, |found, (number, user)| if known(user) { Some(number) } else { found })
    }

    fn rights(&self, user: usize) -> &Rights {
        &self.0[user].rights
    }
}

/// Who a client is, where that is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guest {
    /// It has not said. What came from it, and what was said to it.
    Stranger { received: usize, told: usize },
    /// The user of this number.
    User(usize),
}

impl Guest {
    pub(crate) const STRANGER: Self = Self::Stranger { received: 0, told: 0 };

    pub(crate) fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger { .. })
    }

    /// There are other users now: one that is still there, with the same password, gets the rights that it has now.
    /// Any other one is a stranger; then this is false.
    pub(crate) fn moves(&mut self, old: &Users, new: &Users) -> bool {
        let Self::User(number) = *self else { return true };
        let User { name, secret, .. } = &old.0[number];
        let there = new.0.iter().position(|user| user.name == *name && user.secret == *secret);
        *self = there.map_or(Self::STRANGER, Self::User);
        there.is_some()
    }

    /// Says who it is; whether that is true.
    pub(crate) fn login(&mut self, users: &Users, name: &[u8], password: &[u8]) -> bool {
        let user = users.find(name, password);
        user.into_iter().for_each(|user| *self = Self::User(user));
        user.is_some()
    }

    /// Bytes that a stranger may still send; `None` of a user.
    pub(crate) fn may_send(&self) -> Option<usize> {
        match self {
            Self::Stranger { received, .. } => Some(MAX_STRANGER_BYTES.saturating_sub(*received)),
            Self::User(_) => None,
        }
    }

    /// Counts what came from a stranger and what it was told; whether it may go on.
    pub(crate) fn goes_on(&mut self, came: usize, said: usize) -> bool {
        match self {
            Self::Stranger { received, told } => {
                *received += came;
                *told += said;
                *received <= MAX_STRANGER_BYTES && *told <= MAX_STRANGER_TOLD
            }
            Self::User(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_sha256sum_prints_them() {
        let known = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert!(Secret::from_hex(known).is_some_and(|secret| secret.is(&Secret::of(b"secret"))));
        assert!(Secret::from_hex(&known.to_uppercase()).is_some_and(|secret| !secret.is(&Secret::of(b"Secret"))));
        for wrong in ["", "2b", &known[1..], &format!("{known}00"), &known.replace('b', "g")] {
            assert!(Secret::from_hex(wrong).is_none(), "{wrong}");
        }
    }

    fn user(name: &str, password: &str) -> User {
        let secret = Secret::of(password.as_bytes());
        User { name: name.to_owned(), secret, rights: Rights::default() }
    }

    #[test]
    fn who_is_gone_or_has_another_password_is_a_stranger() {
        let old = Users::new(vec![user("a", "x"), user("b", "y"), user("c", "z")]);
        let new = Users::new(vec![user("c", "z"), user("a", "other")]);
        let after = [Guest::User(0), Guest::User(1), Guest::User(2), Guest::STRANGER].map(|mut guest| {
            let stays = guest.moves(&old, &new);
            (stays, guest)
        });
        use Guest::{Stranger, User};
        assert!(matches!(
            after,
            [(false, Stranger { .. }), (false, Stranger { .. }), (true, User(0)), (true, Stranger { .. })]
        ));
    }

    #[test]
    fn users_are_known_by_name_and_password() {
        let users = Users::new(vec![user("a", "x"), user("b", "y"), user("c", "x")]);
        for (name, password, found) in [
            ("a", "x", Some(0)),
            ("b", "y", Some(1)),
            ("c", "x", Some(2)),
            ("a", "y", None),
            ("d", "x", None),
            ("", "", None),
        ] {
            assert_eq!(users.find(name.as_bytes(), password.as_bytes()), found, "{name}");
        }
    }
}
