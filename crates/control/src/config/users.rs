//! The users of a cache, from a file that only its owner can read.
//!
//! ```toml
//! [[user]]
//! name = "default"                      # what Redis clients mean that name nobody
//! password = "a long one"
//!
//! [[user]]
//! name = "reports"
//! sha256 = "9f86d081884c7d659a2f..."    # instead: what `printf %s PASSWORD | sha256sum` prints
//! read-only = true
//! prefixes = ["app:", "shared:"]        # of the keys it may use; none: all of them
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cache::access::{Rights, Secret, User, Users};
use cache::limits::{MAX_LOGIN_BYTES, MAX_PREFIXES, MAX_USERS};
use toml::de::DeTable;

use super::Mistake;
use super::mistake::{Log, quoted};
use super::read::Fields;
use super::text::{NotText, text};
use crate::limits::FILE_BYTES;

const USER: [&str; 5] = ["name", "password", "sha256", "read-only", "prefixes"];
const NAME_HINT: &str = "Write for example name = \"app\": no spaces, as memcached clients send name and password so.";
const PASSWORD_HINT: &str = "Write for example password = \"a long one\", without spaces.";
const SHA256_HINT: &str = "Write its 64 hexadecimal digits: on Linux `printf %s PASSWORD | sha256sum` prints them.";
const PREFIX_HINT: &str = "Write for example prefixes = [\"app:\"].";

/// Why there are no users.
#[derive(Debug)]
pub enum UsersError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// Others than its owner may read it, or change it: its permission bits.
    Open(PathBuf, u32),
    /// What is wrong with it.
    Mistakes(PathBuf, Vec<Mistake>),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "cannot read users from {}: {error}", path.display()),
            Self::Open(path, mode) => {
                let path = path.display();
                write!(f, "others than its owner may use {path} (its mode is {mode:03o}), which has passwords\n  ")?;
                write!(f, "Run: chmod 600 {path}")
            }
            Self::Mistakes(path, mistakes) => {
                let lines = mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display()));
                f.write_str(&lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl std::error::Error for UsersError {}

/// Reads users from a file.
///
/// # Errors
/// See [`UsersError`].
pub fn load_users(path: &Path) -> Result<Users, UsersError> {
    let failed = |error| UsersError::File(path.to_owned(), error);
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open: nobody puts another one in its place meanwhile.
    if let Some(mode) = machine::os::mode(&file).map_err(failed)?.filter(|mode| mode & 0o077 != 0) {
        return Err(UsersError::Open(path.to_owned(), mode));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_BYTES {
        return Err(failed(io::Error::other(format!("it has more than {FILE_BYTES} bytes"))));
    }
    let text = text(&bytes).map_err(|NotText { why, .. }| failed(io::Error::new(io::ErrorKind::InvalidData, why)))?;
    parse(&text).map_err(|mistakes| UsersError::Mistakes(path.to_owned(), mistakes))
}

fn parse(text: &str) -> Result<Users, Vec<Mistake>> {
    let mut log = Log::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    log.not_toml(&errors);
    if !errors.is_empty() {
        return Err(log.finish());
    }
    let top = Fields::new(&mut log, document.get_ref(), "", 0, &["user"]);
    let mut users: Vec<User> = Vec::new();
    for (number, fields) in top.tables(&mut log, "user", MAX_USERS, &USER).iter().enumerate() {
        let Some(user) = user(&mut log, number, fields) else { continue };
        if users.iter().any(|other| other.name == user.name) {
            fields.wrong(&mut log, "name", format!("there is a user {} already", quoted(&user.name)), NAME_HINT);
        }
        users.push(user);
    }
    if users.is_empty() && log.is_clean() {
        log.add(0, "user", "there is no user in it", "Begin each one with a line [[user]].");
    }
    if log.is_clean() { Ok(Users::new(users)) } else { Err(log.finish()) }
}

fn user(log: &mut Log<'_>, number: usize, fields: &Fields<'_, '_>) -> Option<User> {
    for key in ["name"].into_iter().filter(|key| !fields.has(key)) {
        fields.wrong(log, key, format!("user {number} has no {key}"), NAME_HINT);
    }
    if fields.has("password") == fields.has("sha256") {
        let why = "a user has either a password or the sha256 of one";
        fields.wrong(log, "password", why, PASSWORD_HINT);
    }
    let name = fields.text(log, "name", word, NAME_HINT);
    let password = fields.text(log, "password", word, PASSWORD_HINT).map(|password| Secret::of(password.as_bytes()));
    let hash = |text: &str| Secret::from_hex(text).ok_or("this is no SHA-256");
    let secret = password.or(fields.text(log, "sha256", hash, SHA256_HINT));
    let read_only = fields.flag(log, "read-only").unwrap_or(false);
    let prefix = |text: &str| Ok::<_, String>(text.as_bytes().to_vec());
    let prefixes = fields.texts(log, "prefixes", prefix, PREFIX_HINT);
    if fields.has("prefixes") && prefixes.as_ref().is_some_and(|all| all.is_empty() || all.len() > MAX_PREFIXES) {
        let why = format!("these are none, or more than {MAX_PREFIXES}: a user without the field may use all keys");
        fields.wrong(log, "prefixes", why, PREFIX_HINT);
    }
    Some(User { name: name?, secret: secret?, rights: Rights { read_only, prefixes: prefixes.unwrap_or_default() } })
}

/// What a memcached client can send as one of two words.
fn word(text: &str) -> Result<String, String> {
    let wrong = text.is_empty() || text.len() > MAX_LOGIN_BYTES / 2 || text.contains([' ', '\r', '\n', '\0']);
    if wrong {
        Err(format!("this is empty, too long or has spaces: {} bytes", text.len()))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_by_line() {
        let text = "[[user]]\nname = \"a\"\npassword = \"x\"\nprefixes = [\"a:\"]\n\n[[user]]\nname = \"a\"\n\
            sha256 = \"9f86\"\nreadonly = true\n\n[[user]]\npassword = \"y z\"\n";
        let mistakes = parse(text).expect_err("there are some");
        let told: Vec<String> =
            mistakes.iter().map(|one| format!("{}: {}: {}", one.line, one.field, one.why)).collect();
        let expected = [
            "8: user[1].sha256: this is no SHA-256",
            "9: user[1].readonly: there is no field called `readonly`",
            "11: user[2].name: user 2 has no name",
            "12: user[2].password: this is empty, too long or has spaces: 3 bytes",
        ];
        assert_eq!(told, expected);
        for (text, why) in [
            ("", "there is no user in it"),
            ("[[user]]\nname = \"a\"\n", "either a password"),
            ("[[user]]\nname = \"a\"\npassword = \"x\"\nprefixes = []\n", "these are none"),
            ("[[user]]\nname = \"a\"\npassword = \"x\"\n[[user]]\nname = \"a\"\npassword = \"y\"\n", "already"),
            ("[[user\n", ""),
        ] {
            let mistakes = parse(text).expect_err(text);
            assert!(mistakes[0].why.contains(why), "{text}: {mistakes:?}");
        }
        assert!(parse("[[user]]\nname = \"a\"\npassword = \"x\"\nread-only = true\n").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        std::fs::write(&path, "[[user]]\nname = \"a\"\npassword = \"x\"\n").expect("a file");
        for (mode, is) in [(0o644, false), (0o640, false), (0o602, false), (0o600, true), (0o400, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
            let loaded = load_users(&path);
            assert_eq!(loaded.is_ok(), is, "{mode:o}");
            if let Err(error) = loaded {
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
    }
}
