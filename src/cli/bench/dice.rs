//! Numbers that look random and are the same in every run, and what is drawn by them. In: a seed. Out: numbers.

use crate::splitmix::SplitMix;

/// A row of numbers; clones go on in the same way.
#[derive(Debug, Clone)]
pub(super) struct Dice(SplitMix);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(SplitMix(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound.max(1))
    }

    /// Whether a thing happens that happens once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Small numbers far more often than large ones: each in proportion to `1 / (number + 1)`, about, as words of
    /// a language and people who write are spread.
    pub(super) fn power_law(&mut self, bound: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (((bound as f64 + 1.0).powf(unit) - 1.0) as u64).min(bound - 1)
    }

    /// Different numbers by the power law, in the order in which they fell.
    pub(super) fn different(&mut self, count: usize, bound: u64) -> Vec<u32> {
        let mut is_in = vec![false; bound as usize];
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count.min(bound as usize) {
            let number = self.power_law(bound) as usize;
            if !std::mem::replace(&mut is_in[number], true) {
                numbers.push(number as u32);
            }
        }
        numbers
    }

    /// Characters of an alphabet of ASCII letters.
    pub(super) fn letters(&mut self, alphabet: &[u8], count: usize, out: &mut String) {
        // One roll is enough for eight letters of an alphabet of up to 256.
        let mut left = 0;
        let mut roll = 0;
        for _ in 0..count {
            if left == 0 {
                (roll, left) = (self.next(), 8);
            }
            out.push(char::from(alphabet[(roll & 0xff) as usize % alphabet.len()]));
            (roll, left) = (roll >> 8, left - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_frequent_and_all_lie_below_the_bound() {
        let mut dice = Dice::new(1);
        let rolls: Vec<u64> = (0..10_000).map(|_| dice.power_law(1_000)).collect();
        let share = |from, to| rolls.iter().filter(|roll| (from..to).contains(*roll)).count();
        assert!(rolls.iter().all(|roll| *roll < 1_000));
        // A third of all each, since 1, 10, 100 and 1,000 are as far from one another.
        for (from, to) in [(0, 9), (9, 99), (99, 1_000)] {
            assert!((3_000..3_700).contains(&share(from, to)), "{from}..{to}: {}", share(from, to));
        }
    }

    #[test]
    fn different_numbers_are_different() {
        let mut numbers = Dice::new(2).different(400, 500);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 400);
        assert_eq!(Dice::new(2).different(9, 5).len(), 5, "there are no more");
    }
}
