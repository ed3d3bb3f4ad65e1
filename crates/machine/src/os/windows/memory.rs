//! Large pages: what the system has of them.

use std::io;
use std::ops::Range;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_NOT_ALL_ASSIGNED, HANDLE, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_LOCK_MEMORY_NAME, SE_PRIVILEGE_ENABLED,
    TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY,
};
use windows_sys::Win32::System::ProcessStatus::{K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::{done, made};
use crate::limits::HUGE_PAGE_BYTES;
use crate::os::HugePagePool;

/// Windows sets none aside: it makes them of whatever memory is free in one piece when they are asked for.
///
/// # Errors
/// Always `Unsupported`.
pub fn huge_page_pool() -> io::Result<HugePagePool> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "Windows sets no large pages aside that could be counted"))
}

/// Whether nobody gets large pages without asking for them by name: so it is on Windows.
///
/// # Errors
/// None.
pub fn never_gives_huge_pages() -> io::Result<bool> {
    Ok(true)
}

/// Bytes in this range of addresses that lie on large pages now.
///
/// # Errors
/// The system does not say.
pub(crate) fn huge_bytes(range: &Range<usize>) -> io::Result<usize> {
    let mut bytes = 0;
    for start in range.clone().step_by(HUGE_PAGE_BYTES) {
        let mut page = PSAPI_WORKING_SET_EX_INFORMATION {
            VirtualAddress: ptr::without_provenance_mut(start),
            ..PSAPI_WORKING_SET_EX_INFORMATION::default()
        };
        let len = size_of_val(&page) as u32;
        // SAFETY: one whole structure, as is said; the address is only looked up.
        done(unsafe { K32QueryWorkingSetEx(GetCurrentProcess(), (&raw mut page).cast(), len) })?;
        // SAFETY: all bit patterns of it are numbers.
        let flags = unsafe { page.VirtualAttributes.Flags };
        if flags & VALID != 0 && flags & LARGE_PAGE != 0 {
            bytes += HUGE_PAGE_BYTES.min(range.end - start);
        }
    }
    Ok(bytes)
}

/// Of PSAPI_WORKING_SET_EX_BLOCK: the page is in memory.
const VALID: usize = 1;
/// The same, and it is a large one.
const LARGE_PAGE: usize = 1 << 18;

/// Switches the right to large pages on, which users who have it do not hold by themselves.
///
/// # Errors
/// `PermissionDenied`: the user does not have it.
pub(crate) fn allow_large_pages() -> io::Result<()> {
    use std::os::windows::io::AsRawHandle;
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the handle is filled, and closed by its owner.
    let token = unsafe {
        done(OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &raw mut token))?;
        made(token)?
    };
    let mut name = LUID::default();
    // SAFETY: the name is a constant of the system that ends with a zero; the number is filled.
    done(unsafe { LookupPrivilegeValueW(ptr::null(), SE_LOCK_MEMORY_NAME, &raw mut name) })?;
    let wanted = TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [LUID_AND_ATTRIBUTES { Luid: name, Attributes: SE_PRIVILEGE_ENABLED }],
    };
    // SAFETY: one privilege, as is said; what was before is not asked for.
    done(unsafe {
        AdjustTokenPrivileges(token.as_raw_handle(), 0, &raw const wanted, 0, ptr::null_mut(), ptr::null_mut())
    })?;
    // The call also succeeds where it changed nothing, and says so only here.
    if io::Error::last_os_error().raw_os_error() == Some(ERROR_NOT_ALL_ASSIGNED as i32) {
        let why = "large pages need the right \"Lock pages in memory\", which this user does not have: give it in \
                   secpol.msc, Local Policies, User Rights Assignment, and log in again";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}
