//! Counters, gauges and histograms that parts of perch update and `/metrics` prints.
//!
//! Updating is one relaxed atomic add: cheap enough for the path of every frame. The text format is
//! Prometheus' (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets, in microseconds.
const BUCKETS_US: [u64; 12] =
    [500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 24_000, 33_000, 66_000, 150_000, 500_000];

/// How durations are spread over fixed buckets from 0.5 to 500 ms.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

/// Builds the text that `/metrics` answers.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Starts an empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one counter with a value for each set of labels (`camera="main"`, or empty).
    pub fn counter<L: AsRef<str>>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        self.head(name, "counter", help);
        self.samples(name, samples);
    }

    /// Writes one gauge.
    pub fn gauge<L: AsRef<str>>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        self.head(name, "gauge", help);
        self.samples(name, samples);
    }

    fn samples<L: AsRef<str>>(&mut self, name: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        for (labels, value) in samples {
            let labels = labels.as_ref();
            let _ = match labels.is_empty() {
                true => writeln!(self.text, "{name} {value}"),
                false => writeln!(self.text, "{name}{{{labels}}} {value}"),
            };
        }
    }

    /// Writes one histogram, in seconds, with what was observed for each set of labels.
    pub fn histogram<'a, L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, &'a Histogram)>,
    ) {
        self.head(name, "histogram", help);
        for (labels, histogram) in samples {
            self.buckets(name, labels.as_ref(), histogram);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a process's life fit in 52 bits")]
    fn buckets(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let (comma, whole) = match labels.is_empty() {
            true => ("", String::new()),
            false => (",", format!("{{{labels}}}")),
        };
        let mut total = 0;
        for (bucket, bound) in histogram.buckets.iter().zip(BUCKETS_US) {
            total += bucket.load(Relaxed);
            let _ = writeln!(self.text, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {total}", bound as f64 / 1e6);
        }
        total += histogram.buckets[BUCKETS_US.len()].load(Relaxed);
        let sum = histogram.sum_us.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(
            self.text,
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}\n{name}_sum{whole} {sum}\n{name}_count{whole} {total}"
        );
    }

    /// The finished page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_are_cumulative_and_end_in_infinity() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(9));
        let mut page = Exposition::new();
        page.histogram("encode_seconds", "Time.", [("", &histogram), ("camera=\"main\"", &histogram)]);
        let text = page.finish();
        assert!(text.contains("encode_seconds_bucket{le=\"0.0005\"} 1\n"), "{text}");
        assert!(text.contains("encode_seconds_bucket{le=\"0.004\"} 2\n"), "{text}");
        assert!(text.contains("encode_seconds_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("encode_seconds_count 3\n"), "{text}");
        assert!(text.contains("encode_seconds_bucket{camera=\"main\",le=\"0.004\"} 2\n"), "{text}");
        assert!(text.contains("encode_seconds_count{camera=\"main\"} 3\n"), "{text}");
    }

    #[test]
    fn labels_stand_in_braces_and_plain_samples_have_none() {
        let mut page = Exposition::new();
        page.counter("frames_total", "Frames.", [("", 1), ("stage=\"jpeg\"", 2)]);
        assert!(page.finish().ends_with("frames_total 1\nframes_total{stage=\"jpeg\"} 2\n"));
    }
}
