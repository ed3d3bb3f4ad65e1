//! Who may reach what this process makes: its user, administrators, and the system. Nobody else.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::Cryptography::{BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::core::PWSTR;

/// Words of a buffer for a `TOKEN_USER` with its SID, which has at most 68 bytes (`SECURITY_MAX_SID_SIZE`).
const USER_WORDS: usize = 12;
const _: () = assert!(USER_WORDS * 8 >= size_of::<TOKEN_USER>() + 68);

/// A list of those who may, as the system takes it.
pub(super) struct Private(PSECURITY_DESCRIPTOR);

impl Private {
    /// For files, pipes and directories; what is made in a directory has the same list.
    ///
    /// # Errors
    /// The system does not say who the user is.
    pub(super) fn new() -> io::Result<Self> {
        // Protected (P): nothing is inherited. Full access (GA), also for what lies inside (OICI), for the system (SY),
        // administrators (BA) and the user.
        let list = format!("D:P(A;OICI;GA;;;SY)(A;OICI;GA;;;BA)(A;OICI;GA;;;{})", user()?);
        let mut descriptor = ptr::null_mut();
        // SAFETY: `list` is a string with its end; `descriptor` is what the call fills.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(&list).as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(descriptor)) }
    }

    /// To be used as long as `self` lives.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for us in `new`, and nobody has it any more.
        unsafe { LocalFree(self.0) };
    }
}

/// The user of this process, as `S-1-5-...`.
fn user() -> io::Result<String> {
    let mut token = ptr::null_mut();
    // SAFETY: the handle of this process needs no closing; `token` is what the call fills.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above opened it for us.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut buffer = [0u64; USER_WORDS];
    let mut length = 0;
    let known = {
        let to = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: `to` has room for as many bytes as are told, and is aligned for what comes.
        unsafe {
            GetTokenInformation(token.as_raw_handle(), TokenUser, to, size_of_val(&buffer) as u32, &raw mut length)
        }
    };
    if known == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: the buffer holds a `TOKEN_USER` now, whose SID lies in the buffer, too.
    let said = unsafe { ConvertSidToStringSidW((*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid, &raw mut text) };
    if said == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave a string with its end, allocated for us, which is freed once it is copied.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let sid = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(sid)
    }
}

/// As the system takes strings.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// A key that nobody guesses: 128 bits, as hexadecimal digits.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn key() -> io::Result<String> {
    let mut bytes = [0; 16];
    // SAFETY: the buffer has the length that is told; no algorithm is named, as the flag asks.
    let status = unsafe {
        BCryptGenRandom(ptr::null_mut(), bytes.as_mut_ptr(), bytes.len() as u32, BCRYPT_USE_SYSTEM_PREFERRED_RNG)
    };
    if status < 0 {
        return Err(io::Error::other(format!("no random numbers: NTSTATUS {status:#010x}")));
    }
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
