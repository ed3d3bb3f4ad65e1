//! Windows: files and what the standard library offers. Direct I/O, pinning and completion ports are still to come.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::fs::FileExt;
use std::path::Path;

use super::{Alignment, FileKey, Files, News, OpenMode, SocketBuffers, Usage, Wish};
use crate::limits::{SOCKET_BUFFER_BYTES, ZERO_BLOCK_BYTES};

/// The error number of a request that was cancelled (`ERROR_OPERATION_ABORTED`).
pub(crate) const CANCELLED: i32 = 995;

fn unsupported<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{what} is not supported on Windows yet")))
}

/// Binds the calling thread to one core.
///
/// # Errors
/// Not supported yet.
pub fn pin_to(_cpu: usize) -> io::Result<()> {
    unsupported("pinning a thread")
}

/// Nothing is pinned.
pub(crate) fn unpin() -> io::Result<()> {
    Ok(())
}

/// Two sockets that are connected to each other, over loopback.
///
/// # Errors
/// Those of the sockets.
pub fn connected_sockets() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

/// The cores that the process may use.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// What the process has used: not known yet.
#[must_use]
pub fn usage() -> Usage {
    Usage::default()
}

/// What the calling thread has used: not known yet.
#[must_use]
pub fn thread_usage() -> Usage {
    Usage::default()
}

/// The CPU time of a process.
///
/// # Errors
/// Not supported yet.
pub fn process_cpu(_pid: u32) -> io::Result<std::time::Duration> {
    unsupported("the CPU time of a process")
}

/// The resident set of the process.
///
/// # Errors
/// Not supported yet.
pub fn rss_bytes() -> io::Result<u64> {
    unsupported("the resident set size")
}

/// Huge pages that are set aside: none yet.
///
/// # Errors
/// Not supported yet.
pub fn huge_page_pool() -> io::Result<super::HugePagePool> {
    unsupported("huge pages")
}

/// Whether nobody gets huge pages.
///
/// # Errors
/// Not supported yet.
pub fn never_gives_huge_pages() -> io::Result<bool> {
    unsupported("huge pages")
}

/// What lies on huge pages.
///
/// # Errors
/// Not supported yet.
pub(crate) fn huge_bytes(_range: &std::ops::Range<usize>) -> io::Result<usize> {
    unsupported("huge pages")
}

/// The process's handles: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn files() -> io::Result<Files> {
    unsupported("counting open files")
}

/// There is no limit of open files.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    None
}

/// When the process was started: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn started() -> io::Result<std::time::Duration> {
    unsupported("the time of the start")
}

/// Makes a file so long and takes the space: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn allocate(_file: &File, _bytes: u64) -> io::Result<()> {
    unsupported("allocating the space of a file")
}

/// Makes the names in a directory durable: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn sync_directory(_path: &Path) -> io::Result<()> {
    unsupported("syncing a directory")
}

/// A number of this start of the machine: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn boot_id() -> io::Result<u128> {
    unsupported("the boot ID")
}

/// A directory for files of running programs: not known yet.
///
/// # Errors
/// Not supported yet.
pub fn runtime_dir(_name: &str) -> io::Result<std::path::PathBuf> {
    unsupported("a directory for running programs")
}

/// Calls `handler` for every wish from now on, on a thread of its own. For the whole process: call it once.
///
/// # Errors
/// The operating system's.
pub fn on_signal(mut handler: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || handler(Wish::Stop)).map_err(io::Error::other)
}

/// Sends a process the wish to reload.
///
/// # Errors
/// Windows has no such signal.
pub fn ask_to_reload(_pid: u32) -> io::Result<()> {
    unsupported("asking a process to reload")
}

/// A process that looks after another one: not supported yet, there is none.
pub enum Guard {}

/// What a [`Guard`] looks after.
pub enum Ward {}

impl Guard {
    /// Waits for a child and for signals.
    ///
    /// # Errors
    /// Not supported yet.
    pub fn new() -> io::Result<Self> {
        unsupported("supervising a process")
    }

    /// Starts this program again.
    ///
    /// # Errors
    /// There is no guard.
    pub fn start(&self) -> io::Result<Ward> {
        match *self {}
    }

    /// Waits until there is news.
    ///
    /// # Errors
    /// There is no guard.
    pub fn wait(&mut self, _ward: Option<&mut Ward>, _longest: Option<Duration>) -> io::Result<Option<News>> {
        match *self {}
    }
}

impl Ward {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match *self {}
    }

    /// Sends it the wish that its guard heard.
    ///
    /// # Errors
    /// There is no ward.
    pub fn pass_on(&self, _wish: Wish) -> io::Result<()> {
        match *self {}
    }
}

/// Whether a [`Guard`] started this process: there is none.
#[must_use]
pub fn is_ward() -> bool {
    false
}

/// For wards.
///
/// # Errors
/// Not supported yet.
pub fn end_with_guard() -> io::Result<()> {
    unsupported("supervising a process")
}

/// For wards.
///
/// # Errors
/// Not supported yet.
pub fn ward_ready() -> io::Result<()> {
    unsupported("supervising a process")
}

/// Windows sets no limit that could be read.
pub(crate) fn largest_socket_buffers() -> SocketBuffers {
    SocketBuffers { send: SOCKET_BUFFER_BYTES, receive: SOCKET_BUFFER_BYTES }
}

/// The machine's memory: not known yet.
#[must_use]
pub fn total_memory() -> Option<u64> {
    None
}

/// Memory that can be had now: not known yet.
#[must_use]
pub fn available_memory() -> Option<u64> {
    None
}

/// Opens a file for data.
///
/// # Errors
/// Those of opening; direct I/O is not supported yet.
pub fn open_data(path: &Path, mode: OpenMode) -> io::Result<File> {
    if mode.direct {
        return unsupported("direct I/O");
    }
    OpenOptions::new().read(true).write(!mode.read_only).create(mode.create && !mode.read_only).open(path)
}

/// What direct I/O asks for.
///
/// # Errors
/// Not supported yet.
pub fn direct_alignment(_file: &File) -> io::Result<Alignment> {
    unsupported("direct I/O")
}

/// Block devices cannot be opened yet.
///
/// # Errors
/// None.
pub fn is_block_device(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Who may do what with a file is not told by nine bits here.
///
/// # Errors
/// None.
pub fn mode(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

/// The size of a block device.
///
/// # Errors
/// Not supported yet.
pub fn block_device_bytes(_file: &File) -> io::Result<u64> {
    unsupported("a block device")
}

/// Space that a file takes.
///
/// # Errors
/// Not supported yet.
pub fn allocated_bytes(_file: &File) -> io::Result<u64> {
    unsupported("the allocated size")
}

/// There are no block devices as files.
#[must_use]
pub fn is_read_only_disk(_file: &File) -> bool {
    false
}

/// Completions are not polled for.
#[must_use]
pub fn io_poll(_file: &File) -> Option<(String, bool)> {
    None
}

/// Files are not made sparse yet.
#[must_use]
pub fn punches_holes(_file: &File) -> bool {
    false
}

/// Extended attributes do not exist.
///
/// # Errors
/// Always `Unsupported`.
pub fn get_xattr(_file: &File, _name: &str, _value: &mut [u8]) -> io::Result<Option<usize>> {
    unsupported("an extended attribute")
}

/// Extended attributes do not exist.
///
/// # Errors
/// Always `Unsupported`.
pub fn set_xattr(_file: &File, _name: &str, _value: &[u8]) -> io::Result<()> {
    unsupported("an extended attribute")
}

/// What tells this file from a copy of it.
///
/// # Errors
/// Not supported yet.
pub fn file_key(_file: &File) -> io::Result<FileKey> {
    unsupported("the file index")
}

/// Fills `bytes`, over as many short reads as it takes.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_read(&mut bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(())
}

/// Writes all of `bytes`, over as many short writes as it takes. With `dsync` they are durable on return.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_write(&bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// As [`read_exact_at`], piece by piece: calls for several want them in whole pages.
pub(crate) fn read_exact_vectored_at(file: &File, pieces: &mut [IoSliceMut<'_>], mut offset: u64) -> io::Result<()> {
    for piece in pieces {
        read_exact_at(file, piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// As [`write_all_at`], piece by piece.
pub(crate) fn write_all_vectored_at(
    file: &File,
    pieces: &[IoSliceMut<'_>],
    mut offset: u64,
    dsync: bool,
) -> io::Result<()> {
    for piece in pieces {
        write_all_at(file, piece, offset, false)?;
        offset += piece.len() as u64;
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// Writes zeros; the space stays.
pub(crate) fn zero(file: &File, offset: u64, len: u64, dsync: bool, _deallocate: bool) -> io::Result<()> {
    static ZEROS: [u8; ZERO_BLOCK_BYTES] = [0; ZERO_BLOCK_BYTES];
    let mut done = 0;
    while done < len {
        let part = (len - done).min(ZERO_BLOCK_BYTES as u64);
        write_all_at(file, &ZEROS[..part as usize], offset + done, false)?;
        done += part;
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// A hint; nothing is done with it yet.
pub(crate) fn deallocate(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

const NO_PASSTHROUGH: &str = "passing NVMe commands through";

/// Not here.
pub(crate) fn nvme_command(
    _file: &File,
    _queue: crate::passthru::NvmeQueue,
    _command: &crate::passthru::Command,
    _data: crate::passthru::Bytes<'_>,
    _metadata: crate::passthru::Bytes<'_>,
) -> Result<u64, crate::passthru::Fault> {
    unsupported(NO_PASSTHROUGH).map_err(crate::passthru::Fault::Host)
}

/// Not here.
pub(crate) fn nvme_nsid(_file: &File) -> io::Result<u32> {
    unsupported(NO_PASSTHROUGH)
}

/// Not here.
pub(crate) fn nvme_control(_file: &File, _control: crate::passthru::Control) -> io::Result<()> {
    unsupported(NO_PASSTHROUGH)
}

/// Nothing is one here.
pub(crate) fn nvme_node(_path: &Path) -> Option<crate::passthru::Node> {
    None
}

/// Nothing has any here.
pub(crate) fn nvme_has_poll_queues(_path: &Path) -> bool {
    false
}

/// Nothing has any here.
pub(crate) fn nvme_transfer_limits(_path: &Path) -> Option<crate::passthru::TransferLimits> {
    None
}

/// Nothing is one here.
pub(crate) fn zoned_disk(_file: &File) -> io::Result<Option<crate::zoned::Disk>> {
    Ok(None)
}

/// Not supported yet.
pub(crate) fn zone_report(_file: &File, _sector: u64, _most: u32) -> io::Result<Vec<crate::zoned::Zone>> {
    unsupported("zoned block devices: the report of zones")
}

/// Not supported yet.
pub(crate) fn zone_action(_file: &File, _action: crate::zoned::Action, _sector: u64, _sectors: u64) -> io::Result<()> {
    unsupported("zoned block devices: the management of zones")
}
