//! A histogram with one bucket for each power of two.
//!
//! openraft keeps statistics of batch sizes in the crate of this name, which tabulates 27 MB at its
//! first use. bitacora never reads them (it has metrics of its own), so here the same questions are
//! answered with 65 counters. `docs/adr/0009-small-histogram.md` says why and until when.
#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

/// How often values of each magnitude were seen. `T` is there for the original's sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Place `n` counts the values with `n` significant bits.
    counts: [u64; 65],
    of: PhantomData<T>,
}

/// Percentiles, each rounded up to the largest value of its bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// Number of values.
    pub samples: u64,
    /// A thousandth is at most this.
    pub p0_1: u64,
    /// A hundredth is at most this.
    pub p1: u64,
    /// A twentieth is at most this.
    pub p5: u64,
    /// A tenth is at most this.
    pub p10: u64,
    /// A half is at most this.
    pub p50: u64,
    /// Nine tenths are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// 999 of 1000 are at most this.
    pub p99_9: u64,
}

impl<T> Histogram<T> {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { counts: [0; 65], of: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        let bits = usize::try_from(u64::BITS - value.leading_zeros()).unwrap_or(64);
        if let Some(count) = self.counts.get_mut(bits) {
            *count = count.saturating_add(n);
        }
    }

    /// The percentiles of everything counted.
    pub fn percentile_stats(&self) -> PercentileStats {
        let samples = self.counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let at = |thousandths: u64| self.upper_bound(samples, thousandths);
        PercentileStats {
            samples,
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    fn upper_bound(&self, samples: u64, thousandths: u64) -> u64 {
        let wanted = u128::from(samples) * u128::from(thousandths);
        let mut seen = 0_u128;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count) * 1000;
            if *count > 0 && seen >= wanted {
                return u64::MAX.checked_shr(64 - u32::try_from(bits).unwrap_or(64)).unwrap_or(0);
            }
        }
        0
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// Several histograms under their names, a line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// No lines yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bounds_of_the_right_bucket() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), PercentileStats::default());
        for value in 0..1000 {
            histogram.record(value);
        }
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 1001);
        assert_eq!((stats.p50, stats.p90), (511, 1023));
        assert_eq!(stats.p0_1, 1);
    }
}
