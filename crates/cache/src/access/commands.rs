//! What rights mean for commands.

use wire::memcache::{Command, Key, MetaVerb};
use wire::resp::{Answer, Args};

use super::{Guest, Users};
use crate::resp::table::{ADMIN, NO_AUTH, READONLY, Spec, WRITE};

/// Why a Redis client's command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has not said who it is.
    Stranger,
    /// Its user may not do this.
    Command,
    /// Its user may not touch one of the keys.
    Key,
}

impl Denied {
    /// Tells the client.
    pub(crate) fn tell(self, spec: &Spec, answer: &mut Answer<'_>) {
        match self {
            Self::Stranger => answer.error(&[b"NOAUTH Authentication required."]),
            Self::Command => {
                let name = spec.name.as_bytes();
                answer.error(&[b"NOPERM this user has no permissions to run the '", name, b"' command"]);
            }
            Self::Key => {
                answer.error(&[b"NOPERM this user has no permissions to access one of the keys used as arguments"]);
            }
        }
    }
}

impl Guest {
    /// Whether it may have a command of memcached's carried out.
    pub(crate) fn may(&self, users: &Users, command: &Command<'_>) -> bool {
        let Self::User(user) = *self else { return false };
        let rights = users.rights(user);
        rights.is_all()
            || match *command {
                Command::Get { mut keys, touch, .. } => {
                    !(rights.read_only && touch.is_some()) && keys.all(|key| rights.has(key))
                }
                Command::Store { key, .. }
                | Command::Count { key, .. }
                | Command::Delete { key, .. }
                | Command::Touch { key, .. } => !rights.read_only && rights.has(key),
                Command::Meta { meta, .. } => {
                    let reads = match meta.verb {
                        MetaVerb::Get => {
                            let options = meta.options();
                            options.vivify.is_none() && options.exptime.is_none()
                        }
                        MetaVerb::Describe => true,
                        MetaVerb::Set | MetaVerb::Delete | MetaVerb::Count => false,
                    };
                    (reads || !rights.read_only) && rights.has(meta.key.bytes(&mut [0; _]))
                }
                // What all keys, or all users, are concerned by.
                Command::FlushAll { .. } | Command::Stats(Some(b"reset")) | Command::Verbosity { .. } => false,
                Command::Stats(_) | Command::Version | Command::MetaNoop | Command::Quit => true,
            }
    }

    /// Whether it may only read.
    pub(crate) fn reads_only(&self, users: &Users) -> bool {
        matches!(*self, Self::User(user) if users.rights(user).read_only)
    }

    /// Whether a value of this key, that is not taken, may take away the one it was to replace.
    pub(crate) fn may_forget(&self, users: &Users, key: &Key<'_>) -> bool {
        let Self::User(user) = *self else { return false };
        let rights = users.rights(user);
        !rights.read_only && rights.has(key.bytes(&mut [0; _]))
    }

    /// Whether it may have a command of Redis' carried out, with these arguments, its names among them.
    pub(crate) fn may_run(&self, users: &Users, spec: &Spec, args: Args<'_>) -> Result<(), Denied> {
        if spec.flags & NO_AUTH != 0 {
            return Ok(());
        }
        let Self::User(user) = *self else { return Err(Denied::Stranger) };
        let rights = users.rights(user);
        if rights.is_all() {
            return Ok(());
        }
        let changes = spec.flags & WRITE != 0;
        if spec.flags & ADMIN != 0 || rights.read_only && changes {
            return Err(Denied::Command);
        }
        match spec.keys_of(args) {
            Some(mut keys) => keys.all(|key| rights.has(key)).then_some(()).ok_or(Denied::Key),
            // What goes through all keys would tell of those of others.
            None if !rights.prefixes.is_empty() && spec.flags & (READONLY | WRITE) != 0 => Err(Denied::Command),
            None => Ok(()),
        }
    }
}
