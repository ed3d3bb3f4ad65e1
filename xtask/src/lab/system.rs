//! The program as it was built for a system, and how it is started and stopped there.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::windows;

/// A program that was built.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    system: System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Linux,
    /// In Wine: the process that we start becomes the program, so that its end and signals are those of the program.
    Windows,
}

impl Program {
    pub(crate) fn on_linux(path: PathBuf) -> Self {
        Self { path, system: System::Linux }
    }

    pub(crate) fn on_windows(path: PathBuf) -> Self {
        Self { path, system: System::Windows }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The start of its command line.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self.system {
            System::Linux => Command::new(&self.path),
            System::Windows => windows::wine(&self.path),
        };
        command.stdin(Stdio::null());
        command
    }

    /// What asks it to stop in order. Windows knows no SIGTERM; of SIGINT Wine makes a Ctrl-C.
    pub(crate) fn stop_signal(&self) -> &'static str {
        match self.system {
            System::Linux => "TERM",
            System::Windows => "INT",
        }
    }

    /// What it calls a file of this machine.
    pub(crate) fn names(&self, file: &Path) -> String {
        let name = file.display().to_string();
        match self.system {
            System::Linux => name,
            // Wine has the root of Linux as a drive.
            System::Windows => format!("Z:{}", name.replace('/', "\\")),
        }
    }

    pub(crate) fn does_not_run(&self, error: &io::Error) -> String {
        format!("cannot run {}: {error}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_names_of_their_system() {
        let (path, file) = (PathBuf::from("qpair"), Path::new("/tmp/disk.img"));
        assert_eq!(Program::on_linux(path.clone()).names(file), "/tmp/disk.img");
        assert_eq!(Program::on_windows(path).names(file), "Z:\\tmp\\disk.img");
    }
}
