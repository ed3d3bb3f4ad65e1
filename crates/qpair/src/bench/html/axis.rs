//! One axis of a chart: from values to places, and where its marks stand.

/// Marks that an axis has at most, about.
const MARKS: f64 = 6.0;

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// From 0 to a round number that is not below `most`.
    pub(super) fn linear(most: f64) -> Self {
        let step = round_step(most);
        Self { from: 0.0, to: (most / step).ceil().max(1.0) * step, log: false }
    }

    /// From 0 to `most`.
    pub(super) fn linear_to(most: f64) -> Self {
        Self { from: 0.0, to: if most > 0.0 { most } else { 1.0 }, log: false }
    }

    /// Over whole powers of ten around `least` and `most`, which are positive.
    pub(super) fn log(least: f64, most: f64) -> Self {
        let (from, to) = (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()));
        Self { from, to: if to > from { to } else { from * 10.0 }, log: true }
    }

    /// The same from `from` to `to`, two powers of two or of ten.
    pub(super) fn log_between(from: f64, to: f64) -> Self {
        Self { from, to, log: true }
    }

    /// Where a value lies: 0 is the start of the axis, 1 its end. Values beyond it lie at its ends.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that have a mark.
    pub(super) fn marks(&self) -> Vec<f64> {
        if self.log {
            let (first, last) = (self.from.log10().ceil() as i32, self.to.log10().floor() as i32);
            let tens: Vec<f64> = (first..=last).map(|power| 10_f64.powi(power)).collect();
            if tens.len() > 2 {
                return tens;
            }
            let between = (first - 1..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|lead| lead * 10_f64.powi(power)));
            return between.filter(|mark| (self.from..=self.to * 1.001).contains(mark)).collect();
        }
        let step = round_step(self.to);
        (0..).map(|number| f64::from(number) * step).take_while(|mark| *mark <= self.to * 1.001).collect()
    }
}

/// The step between marks up to `most`: 1, 2 or 5 times a power of ten.
fn round_step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let rough = most / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let lead = [1.0, 2.0, 5.0].into_iter().find(|lead| lead * power >= rough).unwrap_or(10.0);
    lead * power
}

/// A number with at most three digits and a letter for thousands, millions and so on.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        for (most, to, marks) in [(95_000.0, 100_000.0, 6), (1.0, 1.0, 6), (0.0, 1.0, 6), (7.3, 8.0, 5)] {
            let axis = Axis::linear(most);
            assert_eq!((axis.to, axis.marks().len()), (to, marks), "{most}");
            assert_eq!((axis.place(0.0), axis.place(to), axis.place(2.0 * to)), (0.0, 1.0, 1.0));
        }
    }

    #[test]
    fn log_axes_have_marks_at_powers_of_ten_or_between() {
        let axis = Axis::log(3.0, 4_000.0);
        assert_eq!(axis.marks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert!((axis.place(100.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.place(0.0), 0.0, "nothing is below the start");
        assert_eq!(Axis::log_between(16.0, 64.0).marks(), [20.0, 50.0]);
        assert_eq!(Axis::log(10.0, 10.0).marks().len(), 4, "a single value has an axis");
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, 12.34, 999.6, 1_000.0, 47_110.0, 1_234_567.0, 2e9].map(short);
        assert_eq!(texts, ["0", "0.5", "12.3", "1000", "1k", "47.1k", "1.23M", "2G"]);
    }
}
