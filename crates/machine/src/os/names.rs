//! Names of files that Windows takes for something else. They are looked at as text, so that this is tested everywhere.

use super::NoFile;

/// Devices that have a name in every folder, as before there were folders.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// The same with a digit behind them.
const NUMBERED: [&str; 2] = ["COM", "LPT"];

/// Why a path of Windows does not lead to the file of that name, if it does not.
pub(super) fn of_windows(path: &str) -> Option<NoFile> {
    let no = |why: &str, hint: &str| Some(NoFile { why: why.to_owned(), hint: hint.to_owned() });
    // Such a path is taken as it is.
    if path.starts_with(r"\\?\") {
        return None;
    }
    if path.starts_with("/dev/") {
        return no(
            "devices below /dev are Linux's, and so are io_uring passthrough, zones and DAX",
            r"Name a file, for example C:\disk.img, or a drive: \\.\PhysicalDrive1. `qpair list` shows the drives.",
        );
    }
    if let Some(other) = not_a_drive(path) {
        return no(
            &other,
            r"Name a file, for example C:\disk.img, or a drive: \\.\PhysicalDrive1. `qpair list` shows the drives.",
        );
    }
    if let [letter, b':'] = path.as_bytes() {
        let letter = char::from(*letter);
        return no("this is a drive letter, without a file", &format!(r"Name a file there: {letter}:\disk.img."));
    }
    let name = path.rsplit(['\\', '/', ':']).next().unwrap_or(path);
    // Also with an extension, and with spaces in between.
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let is_numbered =
        |device: &&str| stem.strip_prefix(*device).is_some_and(|digit| matches!(digit.as_bytes(), [b'1'..=b'9']));
    if DEVICES.contains(&&stem[..]) || NUMBERED.iter().any(is_numbered) {
        return no(&format!("{stem} is a device of Windows in every folder, and no file"), "Choose another name.");
    }
    if name.ends_with(['.', ' ']) && !["", ".", ".."].contains(&name) {
        let shorter = name.trim_end_matches(['.', ' ']);
        let why = format!("Windows leaves dots and spaces at the end of a name out, and would take {shorter}");
        return no(&why, r"Leave them out, too, or write the whole path behind \\?\ if the file has that name.");
    }
    None
}

/// What is meant for the name of a drive or of another device, and is no drive's.
fn not_a_drive(path: &str) -> Option<String> {
    let path = path.replace('/', "\\");
    // Shells that take a backslash for something else leave less than there was.
    let name = path.trim_start_matches(['\\', '.']);
    let is_drive = name
        .to_ascii_lowercase()
        .strip_prefix("physicaldrive")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    match path.strip_prefix(r"\\.\") {
        Some(_) if is_drive => None,
        Some(device) if !device.contains('\\') || device.to_ascii_lowercase().starts_with(r"pipe\") => {
            Some(format!("{device} is a device of Windows that is neither a file nor a whole drive"))
        }
        None if is_drive => Some(format!(r"a drive has the name \\.\{name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_files_are_known_by_their_text() {
        for (path, why) in [
            ("NUL", "NUL is a device"),
            (r"C:\x\nul", "NUL is a device"),
            (r"C:\x\con.img", "CON is a device"),
            ("C:/x/com1 .tar.gz", "COM1 is a device"),
            ("lpt9", "LPT9 is a device"),
            ("C:aux", "AUX is a device"),
            (r"C:\x\disk.img.", "would take disk.img"),
            (r"C:\x\disk.img ", "would take disk.img"),
            ("d:", "a drive letter"),
            ("/dev/ng0n1", "Linux's"),
            ("/dev/dax0.0", "Linux's"),
            ("PhysicalDrive1", r"has the name \\.\PhysicalDrive1"),
            (r"\.physicaldrive12", r"has the name \\.\physicaldrive12"),
            (r".\PhysicalDrive1", "has the name"),
            (r"\\.\C:", "C: is a device of Windows that"),
            ("//./CdRom0", "CdRom0 is a device"),
            (r"\\.\pipe\x", "neither a file"),
        ] {
            let found = of_windows(path).unwrap_or_else(|| panic!("{path} is taken for a file"));
            assert!(found.why.contains(why) && found.hint.ends_with('.'), "{path}: {found:?}");
            assert!(!found.hint.contains('\n'), "one line: {found:?}");
        }
    }

    #[test]
    fn names_of_files_are_left_alone() {
        for path in [
            r"C:\disk.img",
            "C:/x/disk.img",
            "disk.img",
            "..",
            r"..\x",
            ".",
            r"C:\x\",
            "COM0",
            "COM10",
            "LPT",
            "CONSOLE",
            "null.img",
            r"C:\nul\a.img",
            r"\\?\C:\x\NUL",
            r"\\?\C:\x\a.",
            r"\\.\PhysicalDrive1",
            "//./physicaldrive1",
            r"\\.\C:\disk.img",
            r"C:\x\PhysicalDrive1",
            "PhysicalDrive1.img",
            "PhysicalDrive",
            r"\\host\share\a.img",
            ".hidden",
            "",
        ] {
            assert_eq!(of_windows(path), None, "{path}");
        }
    }
}
