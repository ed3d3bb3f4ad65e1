//! The file that keeps reservations through a loss of power: two records, written in turns.
//!
//! [`Store::open`] reads it, on a control thread. Later writes are for whoever can do them without holding up a
//! reactor: [`Store::next_write`] says what goes where, and [`Store::written`] that it is durable.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::os;
use uuid::Uuid;

use super::record::{self, FILE_BYTES};
use super::state::Reservations;

/// Why the reservations of a namespace cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file, and none can be made: the namespace is served without persistence.
    #[error("there is no place for reservations: {} cannot be made ({source})", path.display())]
    NoPlace {
        /// The file that was to be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is there and cannot be read: hosts may have been promised what it says.
    #[error("the reservations in {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No record of the file is whole.
    #[error(
        "the reservations in {} are damaged: neither of its two records is whole; restore the file, or remove it to \
         start without registrants (hosts that were fenced off may write again then)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The open file, and which record comes next.
#[derive(Debug)]
pub struct Store {
    file: Arc<File>,
    disk: Uuid,
    /// The number of the record that counts.
    number: u64,
}

/// A record that is to be written, and to be durable before the state it holds is true.
#[derive(Debug)]
pub struct RecordWrite {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Opens the file of a disk, or makes it, and reads what holds now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path, disk: Uuid) -> Result<(Self, Reservations), StoreError> {
        let unreadable = |source| StoreError::Unreadable { path: path.to_owned(), source };
        let (file, made) = match open_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let no_place = |source| StoreError::NoPlace { path: path.to_owned(), source };
                make(path, disk).and_then(|()| open_file(path)).map(|file| (file, true)).map_err(no_place)?
            }
            found => (found.map_err(unreadable)?, false),
        };
        let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
        // One byte more than it has: a file that is longer is not one of ours.
        (&file).take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let found = record::newest(&bytes).ok_or_else(|| StoreError::Damaged { path: path.to_owned() })?;
        let state = if found.disk == disk {
            found.state
        } else {
            tracing::warn!(
                "{}: these reservations were made for the disk {}, not for {disk}, and do not hold here",
                path.display(),
                found.disk
            );
            Reservations::new(true)
        };
        tracing::debug!("{}: record {}, new {made}", path.display(), found.number);
        Ok((Self { file: Arc::new(file), disk, number: found.number }, state))
    }

    /// The file that writes go to.
    #[must_use]
    pub const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What is to be written for `state`: always over the record that does not count.
    #[must_use]
    pub fn next_write(&self, state: &Reservations) -> RecordWrite {
        let number = self.number + 1;
        RecordWrite { offset: record::offset(number), bytes: record::encode(state, number, self.disk) }
    }

    /// That write is durable, and its record counts. After one that failed this is not called, and the next one goes
    /// to the same place.
    pub fn written(&mut self) {
        self.number += 1;
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Makes a file whose two records say "nobody": whole from the moment on that it has its name.
fn make(path: &Path, disk: Uuid) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let nobody = Reservations::new(true);
    let mut file = File::create(&fresh)?;
    for number in [0, 1] {
        file.write_all(&record::encode(&nobody, number, disk))?;
    }
    file.sync_all()?;
    drop(file);
    os::replace(Path::new(&fresh), path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    os::sync_directory(parent.unwrap_or(Path::new(".")))
}
