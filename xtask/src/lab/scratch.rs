//! A directory for disk images that goes away with its value.

use std::path::PathBuf;

use crate::target_dir;

/// Below the target directory and not /tmp, which is often memory that knows no `O_DIRECT`.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty directory.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let dir = target_dir().join("xtask").join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Self(dir))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it: what stays lies in the target directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
