//! Latencies by the thousand million in 30 KiB: a log-linear histogram.
//!
//! Up to 128 ns each nanosecond has its bucket; from there on each power of two is parted into 128,
//! so that a quantile is at most 1/128 (0.8 %) too high and never too low.
//!
//! # Not here
//! Which quantiles are reported ([`super::tally`]).

use std::time::Duration;

/// Buckets for each power of two.
const PARTS: u64 = 128;
const PARTS_BITS: u32 = PARTS.ilog2();
/// Longer ones count as this long: 2^40 ns are 18 minutes.
const MAX_NS: u64 = (1 << 40) - 1;

/// Counts durations.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket_of(MAX_NS) + 1], total: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(ns.min(MAX_NS))) {
            *count += 1;
        }
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were counted.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The longest, exactly.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that `per_million` of a million do not exceed; zero if nothing was counted.
    pub fn quantile(&self, per_million: u32) -> Duration {
        let rank = u128::from(self.total) * u128::from(per_million);
        let rank = u64::try_from(rank.div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest_in(bucket).min(self.max_ns));
            }
        }
        self.max()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max_ns = 0;
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < PARTS {
        return usize::try_from(ns).unwrap_or(usize::MAX);
    }
    // `shift` bits are given up: what is left is from 128 to 255.
    let shift = ns.ilog2() - PARTS_BITS;
    let bucket = u64::from(shift) * PARTS + (ns >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

fn highest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    let mantissa = bucket % PARTS + PARTS;
    ((mantissa + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::random::Random;

    #[test]
    fn quantiles_are_those_of_the_sorted_data_within_one_percent_and_never_too_low() {
        let random = Random::from_seed(7);
        let mut histogram = Histogram::default();
        // From 1 ns to 17 s, as many in each power of two.
        let mut sorted: Vec<u64> =
            (0..50_000).map(|_| random.next_u64() >> (30 + random.next_u64() % 34)).collect();
        for ns in &sorted {
            histogram.record(Duration::from_nanos(*ns));
        }
        sorted.sort_unstable();
        for per_million in [1, 10_000, 500_000, 900_000, 990_000, 999_000, 1_000_000] {
            let rank = (sorted.len() as u64 * u64::from(per_million)).div_ceil(1_000_000);
            let exact = sorted[usize::try_from(rank).unwrap().max(1) - 1];
            let estimate = u64::try_from(histogram.quantile(per_million).as_nanos()).unwrap();
            assert!(estimate >= exact, "{per_million}: {estimate} < {exact}");
            assert!(estimate - exact <= exact / 100, "{per_million}: {estimate} for {exact}");
        }
        assert_eq!(histogram.max().as_nanos(), u128::from(*sorted.last().unwrap()));
    }

    #[test]
    fn every_duration_is_in_the_bucket_that_ends_at_or_after_it() {
        for ns in (0..5_000).chain([MAX_NS - 1, MAX_NS, 1 << 20, (1 << 20) - 1, (1 << 20) + 1]) {
            let bucket = bucket_of(ns);
            assert!(highest_in(bucket) >= ns, "{ns}");
            assert!(bucket == 0 || highest_in(bucket - 1) < ns, "{ns}");
        }
    }

    #[test]
    fn nothing_counted_has_no_latency_and_the_longest_is_kept_exactly() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(999_000), Duration::ZERO);
        histogram.record(Duration::from_hours(2));
        assert_eq!(histogram.quantile(500_000), highest_of_all());
        assert_eq!(histogram.max(), Duration::from_hours(2));
        histogram.clear();
        assert_eq!((histogram.total(), histogram.max()), (0, Duration::ZERO));
    }

    fn highest_of_all() -> Duration {
        Duration::from_nanos(MAX_NS)
    }
}
