//! The calls of Windows that qpair uses, each with what it does without, and what this Windows is.
//!
//! At the end stand some that it does not use yet: what those who run this on a real Windows send tells whether it can.

use std::ffi::{CStr, c_char};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, AsRawSocket};
use std::ptr;
use std::thread;
use std::time::Duration;

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Networking::WinSock::{
    RIO_EXTENSION_FUNCTION_TABLE, SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER, SOCKET, SOCKET_ERROR, WSAGetLastError,
    WSAID_MULTIPLE_RIO, WSAIoctl,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ALIGNMENT_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_NO_BUFFERING, FILE_FLAG_WRITE_THROUGH, FILE_ID_INFO,
    FILE_STORAGE_INFO, FileAlignmentInfo, FileIdInfo, FileStorageInfo, SetFileValidData,
};
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{FILE_ALLOCATED_RANGE_BUFFER, FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_SET_SPARSE};
use windows_sys::Win32::System::Memory::GetLargePageMinimum;
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, OSVERSIONINFOEXW, SYSTEM_INFO};
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateWaitableTimerExW, GetActiveProcessorGroupCount, GetCurrentThread,
    GetThreadDescription, TIMER_ALL_ACCESS,
};
use windows_sys::core::BOOL;

use super::file::{ask, is_sparse, take_space};
use super::nvme::{nvme_command, nvme_nsid};
use super::pipe::{Pipe, call};
use super::process::Process;
use super::range::{fsctl, zero_data};
use super::{allow_large_pages, done, drive, exported, huge_bytes, made, security};
use crate::limits::{HUGE_PAGE_BYTES, MAP_GRANULE_BYTES, PROBE_TIME};
use crate::os::probe::{
    Areas, Place, System, Trial, Tried, aligned_io, directory, fine, flush, mapped, memory, needed, one_lock, pinned,
    private_directory, resident, start_of_machine, wanted, wrong,
};
use crate::os::{self, OpenMode};
use crate::passthru::{Bytes, Command, Fault, NvmeQueue};
use crate::region::{Huge, Pool, Region};
use crate::ring::IOCP_TRIALS;

/// The table.
pub(in crate::os) const AREAS: Areas = &[
    ("rings", IOCP_TRIALS),
    ("files", FILES),
    ("drives", DRIVES),
    ("memory", MEMORY),
    ("cores and processes", PROCESSES),
    ("not used yet", LATER),
];

/// What this system is.
pub(in crate::os) fn this_system() -> System {
    const WORKSTATION: u8 = 1;
    let size = size_of::<OSVERSIONINFOEXW>() as u32;
    let mut version = OSVERSIONINFOEXW { dwOSVersionInfoSize: size, ..OSVERSIONINFOEXW::default() };
    let mut machine = SYSTEM_INFO::default();
    // SAFETY: both structures are whole; the longer form of the first is told by its size.
    let groups = unsafe {
        RtlGetVersion((&raw mut version).cast());
        GetSystemInfo(&raw mut machine);
        GetActiveProcessorGroupCount()
    };
    let OSVERSIONINFOEXW { dwMajorVersion, dwMinorVersion, dwBuildNumber, wProductType, .. } = version;
    let product = if wProductType == WORKSTATION { "workstation" } else { "server" };
    System {
        name: "Windows",
        version: format!("{dwMajorVersion}.{dwMinorVersion}.{dwBuildNumber}"),
        product: Some(product.to_owned()),
        wine: wine(),
        page_bytes: machine.dwPageSize as usize,
        core_groups: groups.into(),
    }
}

/// The version of Wine.
fn wine() -> Option<String> {
    let function = exported(c"ntdll.dll", c"wine_get_version")?;
    // SAFETY: Wine's function takes nothing and gives a text with its end, which stays.
    unsafe {
        let version: unsafe extern "C" fn() -> *const c_char = std::mem::transmute(function);
        Some(CStr::from_ptr(version()).to_string_lossy().into_owned())
    }
}

const CAUTIOUS: &str = "sectors of 4 KiB";
const NO_SPACE_BACK: &str = "files take all of their space";

const FILES: &[Trial] = &[
    wanted("FILE_FLAG_NO_BUFFERING", "reads and writes past the cache of files", "that cache", aligned_io),
    wanted(
        "NO_BUFFERING: what is not aligned is refused",
        "a mistake of ours is noticed",
        "our own checks",
        misaligned,
    ),
    wanted("FileStorageInfo", "the sectors of the disk", CAUTIOUS, |place| {
        let storage = ask::<FILE_STORAGE_INFO>(&place.file("storage", 1)?, FileStorageInfo)?;
        let (logical, physical) = (storage.LogicalBytesPerSector, storage.PhysicalBytesPerSectorForPerformance);
        Ok(format!("{logical} bytes, {physical} for performance"))
    }),
    wanted("FileAlignmentInfo", "what the driver asks of memory", CAUTIOUS, |place| {
        let driver = ask::<FILE_ALIGNMENT_INFO>(&place.file("alignment", 1)?, FileAlignmentInfo)?;
        Ok(format!("mask {:#x}", driver.AlignmentRequirement))
    }),
    wanted("FileIdInfo", "telling a file from a copy of it", "GetFileInformationByHandle", |place| {
        ask::<FILE_ID_INFO>(&place.file("id", 1)?, FileIdInfo).map(fine)
    }),
    needed("FlushFileBuffers", "flush, and writes that are durable at once (FUA)", flush),
    wanted("FlushFileBuffers of a folder", "names of files are durable", "the file system's journal", |place| {
        let open =
            OpenOptions::new().read(true).write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(place.folder());
        open?.sync_all()?;
        directory(place)
    }),
    needed("LockFileEx", "a file is used by one program", one_lock),
    wanted("FileAllocationInfo", "space for all of a pool (qpair cache --pool)", "zeros are written", |place| {
        take_space(&place.file("allocated", 1)?, 1 << 20).map(fine)
    }),
    wanted("FSCTL_SET_SPARSE", "files take space by use", NO_SPACE_BACK, |place| {
        let file = place.file("sparse", 1)?;
        fsctl(&file, FSCTL_SET_SPARSE, &[])?;
        if is_sparse(&file) { Ok(String::new()) } else { Err(wrong("it is accepted, without effect")) }
    }),
    wanted("FSCTL_SET_ZERO_DATA", "zeroing in place, and giving space back", "zeros are written", |place| {
        let file = place.file("zeros", MAP_GRANULE_BYTES)?;
        let _ = fsctl(&file, FSCTL_SET_SPARSE, &[]);
        zero_data(&file, 0, MAP_GRANULE_BYTES as u64)?;
        let mut bytes = vec![1; MAP_GRANULE_BYTES];
        os::read_exact_at(&file, &mut bytes, 0)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(wrong("it does not read as zeros"));
        }
        Ok(format!("{} of {MAP_GRANULE_BYTES} bytes are left", os::allocated_bytes(&file)?))
    }),
    needed("a file that is put in place of another", "records that are replaced as a whole", |place| {
        place.file("new", 2)?;
        place.file("old", 1)?;
        fs::rename(place.path("new"), place.path("old"))?;
        match fs::metadata(place.path("old"))?.len() {
            2 => Ok(String::new()),
            _ => Err(wrong("the old one is there")),
        }
    }),
    wanted("the same over one that is open", "records that somebody reads", "it is tried again for a while", |place| {
        place.file("newer", 2)?;
        let read = place.file("read", 1)?;
        fs::rename(place.path("newer"), place.path("read"))?;
        match read.metadata()?.len() {
            1 => Ok(String::new()),
            _ => Err(wrong("who has the old one open has lost it")),
        }
    }),
];

/// Direct I/O on a part of a sector has to be an error.
fn misaligned(place: &Place) -> Tried {
    let file = place.direct("misaligned", 2 * 4096)?;
    let pool = Pool::anonymous(4096, 1)?;
    let mut buf = pool.take().expect("there is one");
    match os::read_exact_at(&file, &mut buf[..100], 1) {
        Ok(()) => Err(wrong("it is done")),
        Err(_) => Ok(String::new()),
    }
}

const NO_LARGE_PAGES: &str = "pages of 4 KiB";

const MEMORY: &[Trial] = &[
    needed("VirtualAlloc2", "buffers, RAM disks, the cache", memory),
    wanted("GetLargePageMinimum", "large pages", NO_LARGE_PAGES, |_| {
        // SAFETY: it asks for a number.
        match unsafe { GetLargePageMinimum() } {
            0 => Err(wrong("this machine has none")),
            page => Ok(format!("{} KiB", page >> 10)),
        }
    }),
    wanted("SeLockMemoryPrivilege", "large pages", NO_LARGE_PAGES, |_| allow_large_pages().map(fine)),
    wanted("MEM_LARGE_PAGES", "large pages: qpair cache --huge-pages=reserved", NO_LARGE_PAGES, |_| {
        Region::huge(HUGE_PAGE_BYTES, Huge::Reserved).map(fine)
    }),
    wanted("CreateFileMappingW, FlushViewOfFile", "pools of the cache", "nothing: no pool", mapped),
    wanted("K32QueryWorkingSetEx", "how much lies on large pages", "it is not told", |_| {
        let region = Region::anonymous(HUGE_PAGE_BYTES)?;
        let start = region.base().addr().get();
        huge_bytes(&(start..start + HUGE_PAGE_BYTES)).map(fine)
    }),
];

const PROCESSES: &[Trial] = &[
    wanted("GetActiveProcessorGroupCount", "cores beyond the first 64", "those of the first group", |_| {
        // SAFETY: it asks for a number.
        match unsafe { GetActiveProcessorGroupCount() } {
            0 => Err(wrong("the system says that there are none")),
            groups => Ok(groups.to_string()),
        }
    }),
    wanted("SetThreadGroupAffinity", "reactors stay on their cores", "the system moves them", pinned),
    wanted("SetThreadDescription", "threads have names", "they have none", thread_name),
    wanted("CreateNamedPipeW with an access list", "qpair stop, reload, --supervise", "a port on loopback", by_pipe),
    wanted("CancelIoEx", "what takes too long is given up", "it is waited for", cancelled),
    wanted("BCryptGenRandom", "the key of that port", "nothing: no such port", |_| security::key().map(fine)),
    wanted("OpenProcess: SYNCHRONIZE", "qpair stop waits for the end", "it is not waited for", |_| {
        let has_ended = Process::open(std::process::id())?.wait(Duration::ZERO)?;
        if has_ended { Err(wrong("this process is said to have ended")) } else { Ok(String::new()) }
    }),
    wanted("SetConsoleCtrlHandler", "Ctrl-C ends a server in order", "it ends at once", |_| {
        // SAFETY: the function lives as long as the program, and is taken back.
        unsafe {
            done(SetConsoleCtrlHandler(Some(not_mine), 1))?;
            done(SetConsoleCtrlHandler(Some(not_mine), 0)).map(fine)
        }
    }),
    wanted("the directory of this user", "qpair stop and reload find servers there", "Ctrl-C", private_directory),
    wanted(
        "NtQuerySystemInformation: the start",
        "whether a pool was in use when the power went",
        "nothing: no pool",
        start_of_machine,
    ),
    wanted("K32GetProcessMemoryInfo", "figures of memory in metrics", "they are left out", resident),
    wanted("GetProcessHandleCount", "open files in metrics", "they are left out", |_| {
        os::files().map(|files| files.open.to_string())
    }),
    wanted("GlobalMemoryStatusEx", "how much memory there is", "it is not looked at", |_| {
        os::total_memory().map(fine).ok_or_else(|| wrong("the system does not say"))
    }),
];

/// Does nothing with what the console says: others do.
unsafe extern "system" fn not_mine(_event: u32) -> BOOL {
    0
}

/// The name that the standard library has given to this thread.
fn thread_name(_place: &Place) -> Tried {
    let mut name = ptr::null_mut();
    // SAFETY: the handle stands for the calling thread; `name` is filled.
    let result = unsafe { GetThreadDescription(GetCurrentThread(), &raw mut name) };
    if result < 0 {
        return Err(wrong(format!("HRESULT {result:#010x}")));
    }
    // SAFETY: the call gave a text with its end, allocated for us, which is freed once it is copied.
    let told = unsafe {
        let length = (0..).take_while(|&at| *name.add(at) != 0).count();
        let told = String::from_utf16_lossy(std::slice::from_raw_parts(name, length));
        LocalFree(name.cast());
        told
    };
    if thread::current().name() == Some(&told) { Ok(String::new()) } else { Err(wrong(format!("it is {told:?}"))) }
}

/// A line goes through the pipe of this process.
fn by_pipe(_place: &Place) -> Tried {
    let mut pipe = Pipe::new()?;
    let calls = thread::spawn(|| -> io::Result<()> {
        io::Write::write_all(&mut call(std::process::id(), PROBE_TIME / 4)?, b"here")
    });
    let mut bytes = [0; 8];
    let read = pipe.accept()?.read(&mut bytes, PROBE_TIME / 4);
    calls.join().map_err(|_| wrong("a panic of the caller"))??;
    if bytes[..read?] == *b"here" { Ok(String::new()) } else { Err(wrong("what comes is not what was sent")) }
}

/// A read that nobody answers ends when it is called back.
fn cancelled(_place: &Place) -> Tried {
    let mut pipe = Pipe::new()?;
    let calls = thread::spawn(|| -> io::Result<()> {
        // Says nothing, until the other side has gone.
        let mut file = call(std::process::id(), PROBE_TIME / 4)?;
        let _ = io::Read::read(&mut file, &mut [0]);
        Ok(())
    });
    let mut caller = pipe.accept()?;
    let read = caller.read(&mut [0; 8], Duration::from_millis(1));
    drop(caller);
    calls.join().map_err(|_| wrong("a panic of the caller"))??;
    match read {
        Err(error) if error.raw_os_error() == Some(super::CANCELLED) => Ok(String::new()),
        Err(error) => Err(error),
        Ok(bytes) => Err(wrong(format!("{bytes} bytes come that nobody has sent"))),
    }
}

/// Questions to one drive, which nobody has to be an administrator for. Nothing of it is read or written.
const DRIVES: &[Trial] = &[
    wanted("StorageDeviceProperty", "what drives are (qpair list)", "their numbers", |_| {
        drive::described(&drive::first()?)
    }),
    wanted("StorageAdapterProperty", "the largest transfer of a command to a drive", "128 KiB", |_| {
        let limits = drive::transfer_limits(&drive::first()?).ok_or_else(|| wrong("it has none"))?;
        Ok(format!("{} bytes in {} pages", limits.bytes, limits.segments))
    }),
    wanted("StorageDeviceTrimProperty", "blocks of drives are freed (TRIM)", "they are not", |_| {
        Ok(if drive::trims(&drive::first()?)? { "enabled" } else { "not enabled" }.to_owned())
    }),
    wanted("IOCTL_SCSI_GET_ADDRESS", "I/O commands to drives (qpair raw)", "reads and writes", |_| {
        Ok(format!("namespace {}", nvme_nsid(&drive::first()?)?))
    }),
    wanted("Identify Controller as a query", "what an NVMe drive says of itself", "what its driver says", |_| {
        let identify = Command { opcode: 6, cdw10: [1, 0, 0, 0, 0, 0], ..Command::default() };
        let (file, mut page) = (drive::first()?, [0; 4096]);
        match nvme_command(&file, NvmeQueue::Admin, &identify, Bytes::Mutable(&mut page), Bytes::None) {
            Ok(_) => Ok(format!("NVMe {}.{}", u16::from_le_bytes([page[82], page[83]]), page[81])),
            Err(Fault::Host(error)) => Err(error),
            Err(Fault::Status { status, .. }) => Err(wrong(format!("the device's status is {status:#05x}"))),
        }
    }),
];

const LATER: &[Trial] = &[
    wanted("FSCTL_QUERY_ALLOCATED_RANGES", "where a file has holes", "holes are read", |place| {
        let file = place.file("ranges", 4096)?;
        let asked = FILE_ALLOCATED_RANGE_BUFFER { FileOffset: 0, Length: 4096 };
        let (mut found, mut bytes) = ([FILE_ALLOCATED_RANGE_BUFFER::default(); 2], 0);
        let (in_len, out_len) = (size_of_val(&asked) as u32, size_of_val(&found) as u32);
        // SAFETY: both structures are as long as is said; the handle is one for calls that wait.
        done(unsafe {
            let (asked, found) = ((&raw const asked).cast(), (&raw mut found).cast());
            let (request, waits) = (FSCTL_QUERY_ALLOCATED_RANGES, ptr::null_mut());
            DeviceIoControl(file.as_raw_handle(), request, asked, in_len, found, out_len, &raw mut bytes, waits)
        })?;
        Ok(format!("{} found", bytes as usize / size_of::<FILE_ALLOCATED_RANGE_BUFFER>()))
    }),
    wanted("SetFileValidData", "writes beyond the end without zeros before them", "zeros are written", |place| {
        let file = place.file("valid", 1)?;
        file.set_len(1 << 20)?;
        // SAFETY: the handle is open.
        done(unsafe { SetFileValidData(file.as_raw_handle(), 1 << 20) }).map(fine)
    }),
    wanted("FILE_FLAG_WRITE_THROUGH", "FUA without a flush", "a flush after the write", |place| {
        place.file("through", 4096)?;
        let flags = FILE_FLAG_WRITE_THROUGH | FILE_FLAG_NO_BUFFERING;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(place.path("through"))?;
        let pool = Pool::anonymous(4096, 1)?;
        os::write_all_at(&file, &pool.take().expect("there is one"), 0, false).map(fine)
    }),
    wanted("a file that is put in place of an open one", "records that somebody reads", "waiting", |place| {
        place.file("new-one", 2)?;
        let _open = place.file("open-one", 1)?;
        fs::rename(place.path("new-one"), place.path("open-one")).map(fine)
    }),
    wanted("a file that is removed while it is open", "temporary files", "removing them later", |place| {
        let _open = place.file("removed", 1)?;
        fs::remove_file(place.path("removed"))?;
        match os::open_data(&place.path("removed"), OpenMode::default()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
            Ok(_) => Err(wrong("it is there")),
        }
    }),
    wanted("PrefetchVirtualMemory", "reading pools ahead", "pages come one by one", |_| {
        is_there(c"kernel32.dll", c"PrefetchVirtualMemory")
    }),
    wanted("CREATE_WAITABLE_TIMER_HIGH_RESOLUTION", "sleeping for less than a millisecond", "spinning", |_| {
        // SAFETY: neither attributes nor a name are needed.
        made(unsafe {
            let how = CREATE_WAITABLE_TIMER_HIGH_RESOLUTION;
            CreateWaitableTimerExW(ptr::null(), ptr::null(), how, TIMER_ALL_ACCESS)
        })
        .map(fine)
    }),
    wanted("CreateIoRing", "files without a call each", "the completion port", |_| {
        is_there(c"kernelbase.dll", c"CreateIoRing")
    }),
    wanted("WSAIoctl: registered I/O (RIO)", "sockets with buffers that are registered", "ordinary calls", |_| {
        registered_io()
    }),
];

/// Whether a library has a function; what it does is not tried.
fn is_there(library: &CStr, function: &CStr) -> Tried {
    exported(library, function).map(|_| "it is there".to_owned()).ok_or_else(|| wrong("there is no such function"))
}

/// Whether there is a table of its functions.
fn registered_io() -> Tried {
    let (one, _other) = os::connected_sockets()?;
    let (wanted, mut bytes) = (WSAID_MULTIPLE_RIO, 0);
    let size = size_of::<RIO_EXTENSION_FUNCTION_TABLE>() as u32;
    let mut table = RIO_EXTENSION_FUNCTION_TABLE { cbSize: size, ..RIO_EXTENSION_FUNCTION_TABLE::default() };
    // SAFETY: both structures are as long as is said; the call is not overlapped.
    let result = unsafe {
        WSAIoctl(
            one.as_raw_socket() as SOCKET,
            SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER,
            (&raw const wanted).cast(),
            size_of_val(&wanted) as u32,
            (&raw mut table).cast(),
            size,
            &raw mut bytes,
            ptr::null_mut(),
            None,
        )
    };
    if result == SOCKET_ERROR {
        // SAFETY: it takes nothing.
        return Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    Ok("it is there".to_owned())
}
