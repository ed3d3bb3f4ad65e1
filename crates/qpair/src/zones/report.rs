//! `qpair zones report`: what each zone is like.

use block::size::format_size;
use block::{ZoneFacts, Zoned};
use clap::ValueEnum;
use describe::zns;
use wire::nvme::zns::{ZoneDescriptor, zone_attributes, zone_state, zone_type};

use super::{Said, trouble, written, zoned};
use crate::data::trouble::{Trouble, help};
use crate::data::{Way, close, number, open};
use crate::show::{Format, printed};

const EXAMPLES: &str = help!(
    "\
Blocks are logical blocks, in hexadecimal. JSON and YAML have the keys and values of `nvme zns report-zones -o json`;
`nr_zones` counts the zones from --from on that are in the --state, however many --count shows.

Examples:
  qpair zones report /dev/ng0n1
  qpair zones report /dev/nvme0n1 --from 0x8000 --count 4
  qpair zones report /dev/ng0n1 --state open -o json"
);

/// Show zones: state, write pointer, capacity, type, attributes
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// A zoned namespace (/dev/ngXnY, nvme-tcp://HOST/NQN?ns=N) or block device
    #[arg(value_name = "DEVICE")]
    device: String,

    /// Begin with the zone that has this logical block; 0x before it makes the number hexadecimal
    #[arg(long, value_name = "LBA", default_value = "0", value_parser = number)]
    from: u64,

    /// Show so many zones at most
    #[arg(long, value_name = "N", value_parser = number)]
    count: Option<u64>,

    /// Only zones in this state
    #[arg(long, value_enum)]
    state: Option<State>,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A state, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// Nothing is written
    Empty,
    /// Implicitly or explicitly opened
    Open,
    /// Opened by a write
    Implicit,
    /// Opened by a command
    Explicit,
    /// Written in part, and not open
    Closed,
    /// Nothing more can be written
    Full,
    /// Can be read only, for good
    ReadOnly,
    /// Can be neither read nor written
    Offline,
}

impl State {
    fn has(self, state: u8) -> bool {
        use zone_state::{CLOSED, EMPTY, EXPLICITLY_OPENED, FULL, IMPLICITLY_OPENED, OFFLINE, READ_ONLY};
        match self {
            Self::Empty => state == EMPTY,
            Self::Open => matches!(state, IMPLICITLY_OPENED | EXPLICITLY_OPENED),
            Self::Implicit => state == IMPLICITLY_OPENED,
            Self::Explicit => state == EXPLICITLY_OPENED,
            Self::Closed => state == CLOSED,
            Self::Full => state == FULL,
            Self::ReadOnly => state == READ_ONLY,
            Self::Offline => state == OFFLINE,
        }
    }
}

/// The report.
pub(super) fn report(args: &Args) -> Said {
    let device = open(&args.device, Way { read_only: true, ..Way::default() })?;
    let text = {
        let mut zoned = zoned(&*device)?;
        let zones = zones(args, &mut zoned)?;
        let block_bytes = device.info().block_bytes;
        match args.output {
            Format::Text => table(zoned.facts(), &zones, args.limit(), block_bytes),
            format => {
                let shown = zones.iter().take(args.limit()).map(|zone| (zone, &[][..]));
                printed(format, &zns::zones(zones.len() as u64, shown))
            }
        }
    };
    close(&*device)?;
    Ok(text)
}

impl Args {
    fn limit(&self) -> usize {
        self.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX)
    }
}

/// All zones from the first on that are in the state.
fn zones(args: &Args, zoned: &mut Zoned<'_>) -> Result<Vec<ZoneDescriptor>, Trouble> {
    let found = zoned.report(args.from, u64::MAX);
    let mut zones = found.map_err(|error| trouble(format!("read the zones of {}", args.device), error))?;
    if let Some(state) = args.state {
        zones.retain(|zone| state.has(zone.state()));
    }
    Ok(zones)
}

/// For people: a line each, and what they are together.
fn table(facts: &ZoneFacts, zones: &[ZoneDescriptor], limit: usize, block_bytes: u32) -> String {
    let bytes = |blocks: u64| format_size(blocks.saturating_mul(block_bytes.into()));
    let mut text = String::new();
    if !zones.is_empty() && limit > 0 {
        let head = ["zone", "start", "capacity", "write pointer", "written", "state", "type", "attributes"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(zones.iter().take(limit).map(|zone| row(facts, zone)));
        text += &aligned(&rows);
    }
    let shown = zones.len().min(limit);
    let all = if shown < zones.len() { format!(" of {}", zones.len()) } else { String::new() };
    text += &format!("{shown}{all} zones of {}: ", bytes(facts.zone_blocks));
    text += &states(zones);
    let limit = |limit: Option<u32>| limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string());
    text + &format!("\nopen at once: {}; open or closed: {}\n", limit(facts.max_open), limit(facts.max_active))
}

/// How many zones are in each state.
fn states(zones: &[ZoneDescriptor]) -> String {
    let count = |state: u8| zones.iter().filter(|zone| zone.state() == state).count();
    let parts: Vec<String> = (0..16_u8)
        .map(|state| (count(state), zone_state::name(state).unwrap_or("in a reserved state")))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn row(facts: &ZoneFacts, zone: &ZoneDescriptor) -> [String; 8] {
    let hex = |number: u64| format!("{number:#x}");
    let (start, capacity) = (zone.zslba.get(), zone.zcap.get());
    let written = written(zone);
    let has_pointer = written.is_some() && zone.state() != zone_state::FULL;
    let percent = written.filter(|_| capacity > 0).map(|blocks| format!("{} %", blocks.min(capacity) * 100 / capacity));
    let dash = || "-".to_owned();
    [
        (start / facts.zone_blocks).to_string(),
        hex(start),
        hex(capacity),
        if has_pointer { hex(zone.wp.get()) } else { dash() },
        percent.unwrap_or_else(dash),
        zone_state::name(zone.state()).unwrap_or("reserved").to_owned(),
        zone_type::name(zone.zt & 0xf).unwrap_or("reserved").to_owned(),
        attributes(zone.za),
    ]
}

fn attributes(bits: u8) -> String {
    let names = [
        (zone_attributes::FINISHED_BY_CONTROLLER, "finished by the controller"),
        (zone_attributes::FINISH_RECOMMENDED, "finish recommended"),
        (zone_attributes::RESET_RECOMMENDED, "reset recommended"),
        (zone_attributes::RANDOM_WRITE_AREA, "random write area"),
        (zone_attributes::EXTENSION_VALID, "extension valid"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "-".to_owned() } else { set.join(", ") }
}

/// Columns as wide as they need; the first five, numbers, end together.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0..5 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// For other verbs: this zone in few words.
pub(super) fn short(zone: &ZoneDescriptor) -> String {
    let state = zone_state::name(zone.state()).unwrap_or("in a reserved state");
    match written(zone) {
        Some(blocks) => format!("{state}, {blocks} of {} blocks written", zone.zcap.get()),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: ZoneFacts =
        ZoneFacts { zone_blocks: 0x400, zones: 5, max_open: Some(4), max_active: None, append_bytes: None };

    fn zone(number: u64, state: u8, written: u64) -> ZoneDescriptor {
        let (start, zcap) = (number * FACTS.zone_blocks, 0x300.into());
        ZoneDescriptor {
            zt: 2,
            zs: state << 4,
            zslba: start.into(),
            wp: (start + written).into(),
            zcap,
            ..Default::default()
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_zone_and_a_summary() {
        let full = ZoneDescriptor { wp: u64::MAX.into(), za: 0x84, ..zone(2, zone_state::FULL, 0) };
        let zones =
            [zone(0, zone_state::EMPTY, 0), zone(1, zone_state::CLOSED, 0x180), full, zone(3, zone_state::OFFLINE, 0)];
        let text = table(&FACTS, &zones, 3, 4096);
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(1), "0 0x0 0x300 0x0 0 % empty sequential write required -");
        assert_eq!(words(2), "1 0x400 0x300 0x580 50 % closed sequential write required -");
        assert_eq!(words(3), "2 0x800 0x300 - 100 % full sequential write required reset recommended, extension valid");
        assert_eq!(lines[4], "3 of 4 zones of 4 MiB: 1 empty, 1 closed, 1 full, 1 offline");
        assert_eq!(lines[5..], ["open at once: 4; open or closed: any number"]);
        let column = lines[0].find("state").expect("a heading");
        assert!(lines[1][column..].starts_with("empty") && lines[3][column..].starts_with("full"), "{text}");
        assert!(table(&FACTS, &[], 3, 4096).starts_with("0 zones of 4 MiB: none\n"));
    }

    #[test]
    fn every_state_has_a_word_to_ask_for_it() {
        for state in 1..16_u8 {
            let asked = State::value_variants().iter().filter(|asked| asked.has(state)).count();
            let expected = match (zone_state::name(state), state) {
                (None, _) => 0,
                // One word for both, and one for each.
                (_, zone_state::IMPLICITLY_OPENED | zone_state::EXPLICITLY_OPENED) => 2,
                _ => 1,
            };
            assert_eq!(asked, expected, "{state:x}");
        }
        assert_eq!(short(&zone(1, zone_state::CLOSED, 5)), "closed, 5 of 768 blocks written");
        assert_eq!(short(&zone(1, zone_state::READ_ONLY, 5)), "read-only");
    }
}
