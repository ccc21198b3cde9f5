//! Times of many things, and figures of several runs. In: numbers. Out: medians and percentiles.

use std::time::Duration;

/// The value below which so many in a hundred lie (nearest rank); zero of nothing.
pub(super) fn percentile(values: &mut [f64], hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * hundredths).div_ceil(100);
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// The middle one of several values; of two, the lower.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50)
}

/// How long each of many things took.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<f64>);

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    pub(super) fn extend(&mut self, other: &Times) {
        self.0.extend_from_slice(&other.0);
    }

    /// Some of them, by position.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> Times {
        let end = range.end.min(self.0.len());
        Times(self.0[range.start.min(end)..end].to_vec())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds.
    pub(super) fn median(&self) -> f64 {
        percentile(&mut self.0.clone(), 50)
    }

    /// In milliseconds.
    pub(super) fn p99(&self) -> f64 {
        percentile(&mut self.0.clone(), 99)
    }

    /// In milliseconds.
    pub(super) fn longest(&self) -> f64 {
        percentile(&mut self.0.clone(), 100)
    }
}

/// Figures of one run, each with a key that says what it is and in which unit; `None`: the relay gave no answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures(Vec<(String, Option<f64>)>);

impl Figures {
    pub(super) fn put(&mut self, key: impl Into<String>, value: f64) {
        self.0.push((key.into(), Some(value)));
    }

    pub(super) fn put_no_answer(&mut self, key: impl Into<String>) {
        self.0.push((key.into(), None));
    }

    /// Median and 99th percentile of these times.
    pub(super) fn put_times(&mut self, key: &str, times: &Times) {
        self.put(format!("{key}_median_milliseconds"), times.median());
        self.put(format!("{key}_p99_milliseconds"), times.p99());
    }

    pub(super) fn append(&mut self, other: Figures) {
        self.0.extend(other.0);
    }

    pub(super) fn get(&self, key: &str) -> Option<Option<f64>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// The median of each figure over several runs; no answer in one of them is no answer.
    pub(super) fn medians(runs: &[Figures]) -> Figures {
        let Some(first) = runs.first() else { return Figures::default() };
        let figure = |key: &String| {
            let values: Vec<Option<f64>> = runs.iter().filter_map(|run| run.get(key)).collect();
            let values: Option<Vec<f64>> = values.into_iter().collect();
            (key.clone(), values.map(median))
        };
        Figures(first.0.iter().map(|(key, _)| figure(key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (hundredths, value) in [(1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)] {
            assert_eq!(percentile(&mut hundred, hundredths), value);
        }
        assert_eq!(percentile(&mut [7.0], 99), 7.0);
        assert_eq!(percentile(&mut [], 50), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn medians_are_taken_by_key() {
        let run = |one: f64, other: Option<f64>| Figures(vec![("a".into(), Some(one)), ("b".into(), other)]);
        let runs = [run(1.0, Some(9.0)), run(5.0, None), run(3.0, Some(7.0))];
        assert_eq!(Figures::medians(&runs), run(3.0, None));
        assert_eq!(Figures::medians(&[]), Figures::default());
    }
}
