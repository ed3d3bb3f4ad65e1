//! Admin commands of a controller, many at once: one that takes as long as it likes is in flight while others end.
//!
//! ```text
//! cargo run -p qpair-block --example admin -- questions /dev/nvme0    needs root; also /dev/nvme0,path=ioctl
//! cargo run -p qpair-block --example admin -- event /dev/nvme0
//! cargo run -p qpair-block --example admin -- timeout /dev/nvme0      RESETS the controller
//! ```
//!
//! - `questions`: Identify and Get Log Page, many at once; by `ioctl` one after the other. What cannot be is refused.
//! - `event`: an Asynchronous Event Request waits at the controller while it answers the questions; then a temperature
//!   threshold that is too low makes it report.
//! - `timeout`: such a request has half a second. Linux then resets the controller, and whatever was asked for ends.
//!
//! The lab runs them on emulated drives (`lab/tests/devices.sh`).

use std::error::Error;
use std::time::Duration;

use qpair_block::channel::{Native, Port};
use qpair_block::{Channel, ChannelOptions, Device, Done, Failure, Op, OpenOptions, open};
use wire::nvme::feature::{Event, event_config, fid};
use wire::nvme::{IdentifyController, LogRequest, NSID_ALL, SmartLog, Sqe, cns, lid};
use wire::zerocopy::FromBytes;

type Outcome = Result<(), Box<dyn Error>>;

/// Commands in flight beside the long one.
const AT_ONCE: usize = 16;
const ALL: usize = 64;
/// The request for an event may wait so long: for longer than anybody looks.
const PATIENCE: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(500);
/// SMART / Health warnings: the temperature is over a threshold, or under one.
const TEMPERATURE: u32 = 1 << 1;

/// Who is told of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Event,
    Question,
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: admin questions|event|timeout CONTROLLER";
    let (what, name) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let device = open(&name, &OpenOptions { controllers: true, ..OpenOptions::default() })?;
    let mut channel = Channel::new(&ChannelOptions::for_device(&*device, AT_ONCE + 1))?;
    let port = channel.attach(&*device)?;
    let mut controller = Controller { device: &*device, channel, port };
    match what.as_str() {
        "questions" => controller.ask(),
        "event" => controller.event(),
        "timeout" => controller.timeout(),
        _ => Err(usage.into()),
    }
}

/// A controller, and the way to its admin queue.
struct Controller<'a> {
    device: &'a dyn Device,
    channel: Channel<Asked>,
    port: Port,
}

impl Controller<'_> {
    /// One command and its end, whatever else is in flight; with room for so many bytes.
    fn call(&mut self, sqe: Sqe, bytes: usize) -> Result<Done<()>, Box<dyn Error>> {
        let data = if bytes > 0 { Some(self.room(bytes)?) } else { None };
        let native = Native { sqe, data: data.into(), ..Native::default() };
        self.channel.call_native(self.port, native).map_err(|_| "the device takes no native commands".into())
    }

    fn room(&self, bytes: usize) -> Result<machine::region::Buf, Box<dyn Error>> {
        let mut buf = self.channel.buffer().ok_or("no buffer left")?;
        buf.set_len(bytes);
        Ok(buf)
    }

    fn start(&mut self, asked: Asked, native: Native) -> Outcome {
        self.channel.command(self.port, native, asked).map_err(|untaken| format!("{:?}", untaken.why))?;
        Ok(())
    }

    /// Identify and SMART in turns, as many at once as there is room for; all must end while the event does not.
    fn questions(&mut self) -> Result<usize, Box<dyn Error>> {
        let smart = LogRequest { lid: lid::SMART, lsp: 0, rae: true, offset: 0, bytes: 512, nsid: NSID_ALL };
        let (mut begun, mut answers, mut serials) = (0, 0, Vec::new());
        let waiting = self.channel.in_flight();
        while answers < ALL {
            while begun < ALL && self.channel.in_flight() < AT_ONCE + waiting {
                let identify = (Sqe::identify(cns::CONTROLLER, 0, 0, 0), 4096);
                let (sqe, bytes) = if begun % 2 == 0 { identify } else { (Sqe::get_log(smart), 512) };
                let data = Some(self.room(bytes)?);
                self.start(Asked::Question, Native { sqe, data: data.into(), ..Native::default() })?;
                begun += 1;
            }
            let mut failed = None;
            self.channel.wait(None, |_, Done { context, outcome, data, .. }| match (context, outcome) {
                (Asked::Question, Ok(_)) => {
                    answers += 1;
                    let page = data.one();
                    let page = page.as_deref().and_then(|page| IdentifyController::read_from_prefix(page).ok());
                    serials.extend(page.map(|(id, _)| id.sn));
                }
                (asked, outcome) => failed = Some(format!("{asked:?} ended: {outcome:?}")),
            })?;
            if let Some(failed) = failed {
                return Err(failed.into());
            }
        }
        serials.dedup();
        assert_eq!(serials.len(), 1, "always the same controller");
        Ok(answers)
    }

    fn ask(&mut self) -> Outcome {
        let done = self.channel.call(self.port, Op::Flush, None);
        assert_eq!(done.outcome, Err(Failure::NotSupported), "a controller has no blocks");
        let short = self.call(Sqe::identify(cns::CONTROLLER, 0, 0, 0), 512)?.outcome;
        assert_eq!(short, Err(Failure::BadTransfer), "a page does not go into 512 bytes");
        let path = self.device.path().ok_or("there are two")?;
        println!("questions: {} answers by {path}", self.questions()?);
        Ok(())
    }

    fn event(&mut self) -> Outcome {
        let events = self.call(Sqe::get_features(fid::ASYNC_EVENT_CONFIG, 0), 0)?.outcome? as u32;
        let threshold = self.call(Sqe::get_features(fid::TEMPERATURE_THRESHOLD, 0), 0)?.outcome? as u32;
        let native = Native { sqe: Sqe::async_event(), timeout: Some(PATIENCE), ..Native::default() };
        self.start(Asked::Event, native)?;
        let answers = self.questions()?;
        assert_eq!(self.channel.in_flight(), 1, "the event has not happened");

        self.set(fid::ASYNC_EVENT_CONFIG, events & !event_config::SMART | TEMPERATURE)?;
        self.set(fid::TEMPERATURE_THRESHOLD, 1)?;
        let mut told = None;
        self.channel.drain(|_, done| told = Some((done.context, done.outcome)))?;
        self.set(fid::TEMPERATURE_THRESHOLD, threshold & 0xffff)?;
        self.set(fid::ASYNC_EVENT_CONFIG, events)?;
        let Some((Asked::Event, Ok(result))) = told else { return Err(format!("no event: {told:?}").into()) };
        assert_eq!(Event::from_result(result).lid, lid::SMART);
        // Reading the log, without keeping the event, lets the controller tell the next one.
        let smart = LogRequest { lid: lid::SMART, lsp: 0, rae: false, offset: 0, bytes: 512, nsid: NSID_ALL };
        let page = self.call(Sqe::get_log(smart), 512)?;
        page.outcome?;
        let page = page.data.one().ok_or("a buffer comes back")?;
        let log = SmartLog::ref_from_bytes(&page).map_err(|_| "512 bytes")?;
        println!(
            "event: {answers} answers, {AT_ONCE} at once, while it waited; then it came, at {} K",
            log.temperature
        );
        Ok(())
    }

    fn set(&mut self, feature: u8, value: u32) -> Outcome {
        self.call(Sqe::set_features(feature, 0, value), 0)?.outcome?;
        Ok(())
    }

    fn timeout(&mut self) -> Outcome {
        let native = Native { sqe: Sqe::async_event(), timeout: Some(SHORT), ..Native::default() };
        self.start(Asked::Event, native)?;
        let answers = self.questions()?;
        let mut ended = None;
        self.channel.drain(|_, done| ended = Some(done.outcome))?;
        let Some(Err(failure)) = ended else { return Err(format!("it did not fail: {ended:?}").into()) };
        // While it is being reset, the kernel lets no command wait: an error of its own, or the status of a path.
        let mut again = 0;
        while let Err(failure) = self.call(Sqe::identify(cns::CONTROLLER, 0, 0, 0), 4096)?.outcome {
            if again == 300 {
                return Err(failure.into());
            }
            again += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("timeout: {answers} answers before; {failure}; after the reset it answers again");
        Ok(())
    }
}
