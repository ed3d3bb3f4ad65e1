//! The text format of Prometheus (exposition format 0.0.4): families with HELP and TYPE, samples with labels.

use std::fmt::{Display, Write};
use std::time::Duration;

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// What kind of family it is.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// A page of families.
#[derive(Default)]
pub(super) struct Text {
    out: String,
}

// Writing to a string cannot fail.
const WRITTEN: &str = "a string takes everything";

impl Text {
    /// Begins a family: its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}").expect(WRITTEN);
    }

    /// One value.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.out.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            self.out.push(separator);
            write!(self.out, "{label}=\"").expect(WRITTEN);
            for c in text.chars() {
                match c {
                    '\\' | '"' => self.out.extend(['\\', c]),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
            separator = ',';
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        writeln!(self.out, " {value}").expect(WRITTEN);
    }

    /// A histogram: for each bucket its bound, none of the last one, and how many there are in it; and their sum.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        buckets: impl Iterator<Item = (Option<Duration>, u64)>,
        seconds: f64,
    ) {
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for (bound, more) in buckets {
            // They are cumulative here.
            count += more;
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&format!("{name}_sum"), labels, seconds);
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// A family with one sample that has no labels.
    pub(super) fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples() {
        let mut text = Text::default();
        text.single("a_total", Type::Counter, "Of \\ a.\nAnd b.", 7);
        text.family("b", Type::Gauge, "B.");
        text.sample("b", &[("x", "1"), ("y", "a\"b\\c\nd")], 0.5);
        let expected = "# HELP a_total Of \\\\ a.\\nAnd b.\n# TYPE a_total counter\na_total 7\n\
                        # HELP b B.\n# TYPE b gauge\nb{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 0.5\n";
        assert_eq!(text.finish(), expected);
    }
}
