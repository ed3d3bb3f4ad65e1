//! A report as one page: tables and charts in a single file that needs nothing else, neither a network nor a script.
//!
//! ```text
//!   head      what was measured, and how
//!   figures   a row for each step
//!   charts    load curve (if there are several steps), latencies of each step, the run over time
//!   notes     errors, miscompares, what ended it early
//! ```

mod axis;
mod chart;

use std::fmt::{Result, Write as _};

use block::size::format_size;

use super::live::Phase;
use super::report::{Ending, Report, Share, Step, Summary};
use super::series::Series;
use super::text::grouped;
use axis::{Axis, short};
use chart::Chart;

/// Light and dark, as the reader's system has it; printable.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2530;--soft:#66727f;--rule:#d8dee5;--back:#fff;--a:#0b6bcb;--b:#c2410c;\
--shade:#eef2f6}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#93a1b0;--rule:#2f3945;--back:#12171d;--a:#5cb0ff;\
--b:#ff9a5c;--shade:#1b222b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:900px;margin:2em auto;\
padding:0 1em}
h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.15em;margin-top:2em}p.soft,caption{color:var(--soft)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--rule)}
.bar{fill:var(--a)}.stretch{fill:var(--shade);fill-opacity:.6}
.upright{stroke:var(--b);stroke-dasharray:3 3}.curve{fill:none;stroke-width:1.8}
.a{stroke:var(--a);fill:none}.b{stroke:var(--b);fill:none}circle.a{fill:var(--a)}circle.b{fill:var(--b)}
.key::before{content:'';display:inline-block;width:1.2em;height:.25em;margin:0 .4em .25em 0;\
background:currentColor}
.key.ka{color:var(--a)}.key.kb{color:var(--b)}";

impl Report {
    /// The whole page.
    pub(super) fn html(&self, series: &Series) -> String {
        let mut out = String::new();
        self.write_html(&mut out, series).expect("a String takes everything");
        out
    }

    fn write_html(&self, out: &mut String, series: &Series) -> Result {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let title = escape(&format!("qpair bench: {}", names.join(", ")));
        write!(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>")?;
        write!(out, "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>")?;
        write!(out, "<h1>{title}</h1>")?;
        self.write_page_head(out)?;
        self.write_figures(out)?;
        if self.steps.len() > 1 {
            write!(out, "<h2>Load curve</h2>{KEY}{}", load_curve(&self.steps))?;
        }
        for step in &self.steps {
            for (what, share) in [("Reads", &step.read), ("Writes", &step.write)] {
                if let Some(share) = share.as_ref().filter(|share| share.ios > 0) {
                    let name = format!("{what} at depth {}: how long they took", step.depth);
                    write!(out, "<h2>{name}</h2>{}", latencies(share, &name))?;
                }
            }
        }
        if series.moments().len() > 1 {
            let (iops, means) = over_time(series);
            write!(out, "<h2>Over time</h2>{iops}{means}")?;
        }
        self.write_notes(out)?;
        out.write_str("</body></html>\n")
    }

    fn write_page_head(&self, out: &mut String) -> Result {
        let workload = &self.workload;
        let mix = if workload.rw.mixed() { format!(" ({} % reads)", workload.reads_percent) } else { String::new() };
        let lent = if workload.lend { ", lent" } else { "" };
        let iov = workload.iov.map(|pieces| format!(", in {pieces} pieces")).unwrap_or_default();
        let rate = workload.rate.map(|rate| format!(", {} a second", grouped(rate.round() as u64))).unwrap_or_default();
        write!(
            out,
            "<p class=\"soft\">{}{mix}, {}{lent}{iov}{rate}; ",
            workload.rw.name(),
            format_size(workload.bs_bytes)
        )?;
        write!(out, "{} queues a target, {} reactors; ", workload.queues, workload.reactors)?;
        write!(out, "{} from offset {}; ", format_size(workload.range_bytes), workload.offset_bytes)?;
        write!(out, "seed {}; qpair {}</p><ul>", workload.seed, escape(self.version))?;
        for target in &self.targets {
            let path = target.path.map(|path| format!(", by {path}")).unwrap_or_default();
            let (name, size) = (escape(&target.name), format_size(target.size_bytes));
            write!(out, "<li>{name} ({}{path}, {size}, blocks of {})</li>", target.kind, target.block_bytes)?;
        }
        out.write_str("</ul>")
    }

    fn write_figures(&self, out: &mut String) -> Result {
        out.write_str(
            "<table><caption>Latencies in microseconds</caption><tr><th>depth<th>IOPS<th>MiB/s<th>mean<th>p50<th>p90\
             <th>p99<th>p99.9<th>max<th>CPU us/IO<th>effective</tr>",
        )?;
        for step in &self.steps {
            let Share { iops, mib_per_sec, latency_us, .. } = &step.total;
            let Summary { mean, p50, p90, p99, p99_9, max, .. } = latency_us;
            let iops = grouped(iops.round() as u64);
            write!(out, "<tr><td>{}<td>{iops}<td>{mib_per_sec:.1}<td>{mean:.1}<td>{p50:.1}<td>{p90:.1}", step.depth)?;
            write!(out, "<td>{p99:.1}<td>{p99_9:.1}<td>{max:.1}<td>{:.2}", step.cpu.us_per_io)?;
            write!(out, "<td>{:.1} %</tr>", step.cpu.clocks.effective_percent)?;
        }
        out.write_str("</table>")?;
        let last = self.last();
        if last.by_target.is_empty() {
            return Ok(());
        }
        write!(out, "<table><caption>Each target, at depth {}</caption>", last.depth)?;
        out.write_str("<tr><th>target<th>IOPS<th>MiB/s<th>p50<th>p99<th>p99.9<th>errors</tr>")?;
        for target in &last.by_target {
            let Share { iops, mib_per_sec, latency_us: Summary { p50, p99, p99_9, .. }, .. } = &target.total;
            let (name, iops) = (escape(&target.name), grouped(iops.round() as u64));
            let errors = grouped(target.errors.total());
            write!(
                out,
                "<tr><td>{name}<td>{iops}<td>{mib_per_sec:.1}<td>{p50:.1}<td>{p99:.1}<td>{p99_9:.1}<td>{errors}"
            )?;
        }
        out.write_str("</table>")
    }

    fn write_notes(&self, out: &mut String) -> Result {
        let mut notes = Vec::new();
        if let Some(verify) = self.verify {
            notes.push(format!("{} reads checked, {} miscompares", grouped(verify.checked), verify.miscompares));
        }
        if self.errors.total() > 0 {
            let (read, write, unfinished) = (self.errors.read, self.errors.write, self.errors.unfinished);
            notes.push(format!("{read} reads and {write} writes failed, {unfinished} requests did not complete"));
        }
        match self.ended_by {
            Ending::Goal => {}
            Ending::Interrupt => notes.push("Interrupted; these are the figures so far.".to_owned()),
            Ending::Errors => notes.push("Ended early because of errors.".to_owned()),
            Ending::Miscompare => notes.push("Ended early because of a miscompare.".to_owned()),
        }
        notes.extend(self.problems.iter().cloned());
        if !notes.is_empty() {
            out.write_str("<h2>Notes</h2><ul>")?;
            notes.iter().try_for_each(|note| write!(out, "<li>{}</li>", escape(note)))?;
            out.write_str("</ul>")?;
        }
        Ok(())
    }
}

const KEY: &str = "<p><span class=\"key ka\">p50</span> &nbsp; <span class=\"key kb\">p99</span></p>";

/// What each depth gives, and what it costs in latency.
fn load_curve(steps: &[Step]) -> String {
    let measured: Vec<&Step> = steps.iter().filter(|step| step.total.ios > 0).collect();
    let most = measured.iter().map(|step| step.total.iops).fold(0.0, f64::max);
    let latencies = || measured.iter().flat_map(|step| [step.total.latency_us.p50, step.total.latency_us.p99]);
    let least = latencies().fold(f64::INFINITY, f64::min).clamp(1e-3, 1e9);
    let y = Axis::log(least, latencies().fold(least, f64::max));
    let mut chart = Chart::new(Axis::linear(most), "IOPS", y, "latency, us");
    for (class, name) in [("a", "p50"), ("b", "p99")] {
        let latency = |it: &Summary| if name == "p50" { it.p50 } else { it.p99 };
        let place = |step: &&Step| (step.total.iops, latency(&step.total.latency_us));
        chart.curve(class, measured.iter().map(place));
        for step in &measured {
            let (iops, us) = place(step);
            let title = format!("depth {}: {} IOPS, {name} {us:.1} us", step.depth, grouped(iops.round() as u64));
            chart.point(class, (iops, us), &step.depth.to_string(), &title);
        }
    }
    chart.finish("Latency against IOPS, one point for each queue depth")
}

/// How the latencies are spread.
fn latencies(share: &Share, name: &str) -> String {
    let bars = &share.histogram;
    let all = share.ios as f64;
    // The first bar has all that are shorter: as wide as the others it is drawn.
    let start = |at: usize| if bars[at].from_us > 0.0 { bars[at].from_us } else { bars[at].to_us / 2.0 };
    let percent = |count: u64| count as f64 / all * 100.0;
    let most = bars.iter().map(|bar| percent(bar.count)).fold(0.0, f64::max);
    let x = Axis::log_between(start(0), bars[bars.len() - 1].to_us);
    let mut chart = Chart::new(x, "latency, us", Axis::linear(most), "per cent of the requests");
    for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.count > 0) {
        let (from, to, share) = (start(at), bar.to_us, percent(bar.count));
        let title =
            format!("{} to {} us: {} requests, {share:.3} %", short(bar.from_us), short(to), grouped(bar.count));
        chart.bar((from, to), share, &title);
    }
    let Summary { p50, p99, p99_9, .. } = share.latency_us;
    let mut beyond = 0.0;
    for (value, word) in [(p50, "p50"), (p99, "p99"), (p99_9, "p99.9")] {
        // Words that would lie on each other are left out; their values are in the table.
        let place = x.place(value);
        chart.upright(value, if beyond == 0.0 || place - beyond > 0.05 { word } else { "" });
        beyond = place;
    }
    chart.finish(name)
}

/// Rate and mean latency over time, with the phases of the run behind them.
fn over_time(series: &Series) -> (String, String) {
    let moments = series.moments();
    let end = moments[moments.len() - 1].at.as_secs_f64();
    let frame = |most: f64, name: &str| {
        let mut chart = Chart::new(Axis::linear_to(end), "seconds", Axis::linear(most), name);
        for run in moments.chunk_by(|one, next| (one.phase, one.depth) == (next.phase, next.depth)) {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            if first.phase != Phase::Measure {
                let from = (first.at - first.time).as_secs_f64();
                chart.stretch((from, last.at.as_secs_f64()), first.phase.name());
            }
        }
        chart
    };
    let at = |index: usize| (moments[index].at - moments[index].time / 2).as_secs_f64();
    let indices = 0..moments.len();
    let most = moments.iter().map(super::series::Moment::iops).fold(0.0, f64::max);
    let mut iops = frame(most, "IOPS");
    iops.curve("a", indices.clone().map(|index| (at(index), moments[index].iops())));
    let means = || indices.clone().filter_map(|index| Some((at(index), moments[index].mean_us()?)));
    let mut mean = frame(means().map(|point| point.1).fold(0.0, f64::max), "mean latency, us");
    mean.curve("b", means());
    (iops.finish("IOPS over time"), mean.finish("Mean latency over time"))
}

/// Text as it may stand in HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
