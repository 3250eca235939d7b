//! What rounds come to: a median with the least and the most of them, percentiles, and ratios taken round by round.

use serde::Serialize;

/// The median of some rounds, and how far they were apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (count, middle) = (sorted.len(), sorted.len() / 2);
        let median = if count.is_multiple_of(2) && count > 0 {
            (at(middle - 1) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(count.saturating_sub(1)) }
    }

    /// Each round of one by the round of the other that was taken beside it.
    pub fn ratio(of: &[f64], by: &[f64]) -> Self {
        let ratios: Vec<f64> = of.iter().zip(by).map(|(of, by)| of / by).collect();
        Self::of(&ratios)
    }
}

/// The value that `percent` of all values are not above.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_of_the_sorted_values() {
        let spread = Spread::of(&[5.0, 1.0, 3.0]);
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 1.0, 5.0));
        assert_eq!(Spread::of(&[4.0, 2.0]).median, 3.0);
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&mut hundred, 50.0), percentile(&mut hundred, 99.0)), (50.0, 99.0));
        assert_eq!(percentile(&mut [7.0], 99.0), 7.0);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was half as fast in the second round, for both.
        let ratio = Spread::ratio(&[2.0, 4.0, 3.0], &[1.0, 2.0, 1.0]);
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 3.0));
    }
}
