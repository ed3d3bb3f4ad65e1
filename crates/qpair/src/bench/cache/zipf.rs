//! Popularity: rank `k` of `n` is asked for in proportion to `k^-theta`.
//!
//! ```text
//!    |#                          the histogram of k^-theta lies under the curve x^-theta, moved by a half; a point
//!    |##                         under the curve comes from the inverse of its integral, without a table of the ranks,
//!    |####__                     and is drawn again if it lies above the bar of its rank, which is rare
//!    +----------- k
//! ```
//!
//! Rejection-inversion (Hörmann and Derflinger, 1996): a draw costs two powers, whatever the number of ranks.

use crate::bench::workload::Rng;

/// Draws ranks from 0; the first is the most popular.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zipf {
    ranks: u64,
    theta: f64,
    /// The integral up to the left end of the first bar, and to the right end of the last one.
    first: f64,
    last: f64,
    /// Points that lie no farther than this in front of their rank need no look at the bar.
    sure: f64,
}

impl Zipf {
    /// For so many ranks (at least one) and a skew above 0.
    pub(crate) fn new(ranks: u64, theta: f64) -> Self {
        assert!(ranks > 0 && theta > 0.0, "{ranks} ranks, {theta}");
        let mut new = Self { ranks, theta, first: 0.0, last: 0.0, sure: 0.0 };
        new.first = new.integral(1.5) - 1.0;
        new.last = new.integral(ranks as f64 + 0.5);
        new.sure = 2.0 - new.inverse(new.integral(2.5) - new.bar(2.0));
        new
    }

    /// The next rank.
    pub(crate) fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            // 53 bits, as many as a float has.
            let chance = (rng.next() >> 11) as f64 / (1u64 << 53) as f64;
            let under = self.last + chance * (self.first - self.last);
            let point = self.inverse(under);
            let rank = point.round().clamp(1.0, self.ranks as f64);
            if rank - point <= self.sure || under >= self.integral(rank + 0.5) - self.bar(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn bar(&self, rank: f64) -> f64 {
        rank.powf(-self.theta)
    }

    /// Of the curve, from 1.
    fn integral(&self, x: f64) -> f64 {
        let rest = 1.0 - self.theta;
        if rest.abs() < NEAR_ONE { x.ln() } else { (x.powf(rest) - 1.0) / rest }
    }

    fn inverse(&self, area: f64) -> f64 {
        let rest = 1.0 - self.theta;
        if rest.abs() < NEAR_ONE { area.exp() } else { (area * rest + 1.0).powf(rest.recip()) }
    }
}

/// Closer to a skew of 1 the quotients lose their digits.
const NEAR_ONE: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_they_should() {
        for theta in [0.5, 0.99, 1.0, 1.4] {
            let (zipf, mut rng) = (Zipf::new(1000, theta), Rng::new(7));
            let draws = 400_000;
            let mut counts = vec![0u32; 1000];
            (0..draws).for_each(|_| counts[zipf.draw(&mut rng) as usize] += 1);
            let all: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
            let share = |ranks: std::ops::Range<usize>| {
                let expected: f64 = ranks.clone().map(|rank| (rank as f64 + 1.0).powf(-theta)).sum::<f64>() / all;
                let got = f64::from(counts[ranks].iter().sum::<u32>()) / f64::from(draws);
                assert!((got - expected).abs() < 0.05 * expected, "{theta}: {got} is not near {expected}");
            };
            [0..1, 1..2, 2..5, 5..50, 50..500, 500..1000].into_iter().for_each(share);
        }
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let (zipf, mut rng) = (Zipf::new(1, 0.9), Rng::new(1));
        assert!((0..1000).all(|_| zipf.draw(&mut rng) == 0));
    }
}
