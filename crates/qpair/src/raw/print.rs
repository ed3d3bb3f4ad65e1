//! An answer for people and for programs.

use std::fmt::Write as _;
use std::io::Write;

use describe::Object;
use wire::nvme::opcode::{admin_name, io_name};
use wire::nvme::{Sqe, Status};

use super::{Answer, Load};
use crate::data::Hexdump;
use crate::show::{Format, printed};

/// The answer; its data too if `dump` says so.
pub(super) fn answer(answer: &Answer, format: Format, dump: bool) -> String {
    let Answer { status, result, data, metadata } = answer;
    let mut page = Object::page();
    page.object("status", status_object(*status));
    if let Some(result) = result {
        page.hex("result", *result as u32).means("dword 0 of the completion");
        page.hex("result_high", (result >> 32) as u32).means("dword 1");
    }
    page.number("data_bytes", data.len() as u64);
    page.number("metadata_bytes", metadata.len() as u64);
    match format {
        Format::Text => {
            let mut text = printed(format, &page);
            if dump {
                text += &hexdump(data);
            }
            if !metadata.is_empty() {
                _ = writeln!(text, "metadata");
                text += &hexdump(metadata);
            }
            text
        }
        Format::Json | Format::Yaml => {
            if dump {
                page.text("data", &hex(data));
            }
            if !metadata.is_empty() {
                page.text("metadata", &hex(metadata));
            }
            printed(format, &page)
        }
    }
}

fn status_object(status: Status) -> Object {
    let mut object = Object::new();
    object.text("name", status.name().unwrap_or("a status without a name here"));
    object.hex("sct", status.sct).means("status code type");
    object.hex("sc", status.sc).means("status code");
    object.flag("dnr", status.dnr).means("do not retry");
    object.flag("more", status.more).means("more in the error log");
    object
}

/// What would be sent.
pub(super) fn dry_run(device: &str, is_admin: bool, sqe: &Sqe, load: &Load) -> String {
    let (queue, name) = if is_admin { ("admin", admin_name(sqe.opcode)) } else { ("I/O", io_name(sqe.opcode)) };
    let way = if load.to_device { "to" } else { "from" };
    let mut text = format!("would send to the {queue} queue of {device}: opcode {:#04x} ({name})\n", sqe.opcode);
    let words = [
        ("nsid", sqe.nsid),
        ("cdw2", sqe.cdw2),
        ("cdw3", sqe.cdw3),
        ("cdw10", sqe.cdw10),
        ("cdw11", sqe.cdw11),
        ("cdw12", sqe.cdw12),
        ("cdw13", sqe.cdw13),
        ("cdw14", sqe.cdw14),
        ("cdw15", sqe.cdw15),
    ];
    for (name, word) in words {
        _ = writeln!(text, "  {name:<5}  {:#010x}", word.get());
    }
    _ = writeln!(text, "  {} bytes of data and {} of metadata {way} it", load.data.len(), load.metadata.len());
    text
}

fn hexdump(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    let mut dump = Hexdump::new(&mut text, 0);
    dump.write_all(bytes).and_then(|()| dump.finish()).expect("memory takes it");
    String::from_utf8(text).expect("it is ASCII")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}
