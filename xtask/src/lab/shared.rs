//! A directory that the guest may write to, through which a script asks for what only the host can do.
//!
//! ```text
//!      guest: ask_host WORDS ──▶ file `ask`        host: answer() in every tick
//!      waits for `done`  ◀── renamed to `done` ──── acts
//! ```

use std::path::{Path, PathBuf};

use super::scratch::Scratch;

pub(crate) struct Shared(PathBuf);

impl Shared {
    /// An empty one.
    pub(crate) fn new(scratch: &Scratch) -> Result<Self, String> {
        let dir = scratch.file("shared");
        std::fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// If the guest asks for something, has `act` do it.
    ///
    /// # Errors
    /// Those of `act`.
    pub(crate) fn answer(&self, act: impl FnOnce(&str) -> Result<(), String>) -> Result<(), String> {
        let Ok(words) = std::fs::read_to_string(self.0.join("ask")) else { return Ok(()) };
        act(words.trim())?;
        std::fs::rename(self.0.join("ask"), self.0.join("done")).map_err(|e| format!("the shared directory: {e}"))
    }
}
