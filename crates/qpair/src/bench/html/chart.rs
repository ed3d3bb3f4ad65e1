//! A chart as SVG: a frame with marks, and lines, bars or points in it. No script, no outside resource; the colours are
//! classes, which the page's style sheet defines for light and dark.

use std::fmt::Write as _;

use super::axis::{Axis, short};
use super::escape;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// A chart that is being drawn.
pub(super) struct Chart {
    x: Axis,
    y: Axis,
    body: String,
}

impl Chart {
    /// A frame with both axes, named with their units.
    pub(super) fn new(x: Axis, x_name: &str, y: Axis, y_name: &str) -> Self {
        let mut chart = Self { x, y, body: String::new() };
        for mark in x.marks() {
            let at = chart.across(mark);
            chart.line("grid", (at, TOP), (at, HEIGHT - BOTTOM));
            chart.text("mark", at, HEIGHT - BOTTOM + 16.0, "middle", &short(mark));
        }
        for mark in y.marks() {
            let at = chart.up(mark);
            chart.line("grid", (LEFT, at), (WIDTH - RIGHT, at));
            chart.text("mark", LEFT - 8.0, at + 4.0, "end", &short(mark));
        }
        chart.text("name", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0, "middle", x_name);
        chart.text("name", 4.0, 12.0, "start", y_name);
        chart
    }

    /// A line through points in the order of the points.
    pub(super) fn curve(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let step = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{step}{:.1} {:.1}", self.across(x), self.up(y)).expect("a String takes everything");
        }
        write!(self.body, "<path class=\"curve {class}\" d=\"{path}\"/>").expect("a String takes everything");
    }

    /// A point with a word beside it, and what is shown where a pointer rests on it.
    pub(super) fn point(&mut self, class: &str, (x, y): (f64, f64), word: &str, title: &str) {
        let (across, up) = (self.across(x), self.up(y));
        let title = escape(title);
        write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"4\"><title>{title}</title></circle>"
        )
        .expect("a String takes everything");
        self.text("mark", across, up - 9.0, "middle", word);
    }

    /// A bar from the x axis up to `y`.
    pub(super) fn bar(&mut self, (from, to): (f64, f64), y: f64, title: &str) {
        let (left, right, top) = (self.across(from), self.across(to), self.up(y));
        let (width, height) = ((right - left - 1.0).max(1.0), HEIGHT - BOTTOM - top);
        let title = escape(title);
        write!(
            self.body,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{title}</title></rect>"
        )
        .expect("a String takes everything");
    }

    /// A line from the bottom to the top at `x`, with a word at its upper end.
    pub(super) fn upright(&mut self, x: f64, word: &str) {
        let at = self.across(x);
        self.line("upright", (at, TOP), (at, HEIGHT - BOTTOM));
        self.text("mark", at, TOP - 4.0, "middle", word);
    }

    /// A shaded stretch, named where there is room.
    pub(super) fn stretch(&mut self, (from, to): (f64, f64), word: &str) {
        let (left, right) = (self.across(from), self.across(to));
        let (width, height) = (right - left, HEIGHT - TOP - BOTTOM);
        write!(
            self.body,
            "<rect class=\"stretch\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        )
        .expect("a String takes everything");
        if width > 7.0 * word.len() as f64 {
            self.text("mark", f64::midpoint(left, right), TOP + 12.0, "middle", word);
        }
    }

    /// The whole picture; `title` says what it shows to who cannot see it.
    pub(super) fn finish(self, title: &str) -> String {
        let (title, body) = (escape(title), self.body);
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
             <title>{title}</title>{body}</svg>"
        )
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM)
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        write!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        )
        .expect("a String takes everything");
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        write!(self.body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
            .expect("a String takes everything");
    }
}
