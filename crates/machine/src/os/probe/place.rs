//! Where trials have their files: a folder of this process alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::os::{OpenMode, open_data, write_all_at};

/// A folder, and what is in it.
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    /// A new folder below `dir`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        // Not through a link that somebody else has put there, nor into what an earlier one with this number has left:
        // making a folder that is there is an error.
        let mut folders = (0..100).map(|turn| dir.join(format!("qpair-doctor-{}-{turn}", std::process::id())));
        let mut made = Err(io::ErrorKind::AlreadyExists.into());
        let folder = folders.find(|folder| {
            made = fs::create_dir(folder);
            !made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        });
        made?;
        Ok(Self { folder: folder.expect("the last of them was made") })
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file of this name is, or will be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new file of so many bytes, none of them zero.
    ///
    /// # Errors
    /// Those of making and of writing it.
    pub(crate) fn file(&self, name: &str, bytes: usize) -> io::Result<File> {
        let file = open_data(&self.path(name), OpenMode { create: true, ..OpenMode::default() })?;
        write_all_at(&file, &vec![0x5a; bytes], 0, false)?;
        Ok(file)
    }

    /// The same, opened past the page cache.
    ///
    /// # Errors
    /// Those of [`Self::file`], and of direct I/O.
    pub(crate) fn direct(&self, name: &str, bytes: usize) -> io::Result<File> {
        self.file(name, bytes)?;
        open_data(&self.path(name), OpenMode { direct: true, ..OpenMode::default() })
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// What could not be removed, and where it is.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot remove {}: {error}", self.folder.display())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After an error in between; it is gone already if all went well.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
