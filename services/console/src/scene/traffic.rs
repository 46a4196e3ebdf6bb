//! Messages a second, from the counts that processes tell now and then.

use std::collections::{BTreeMap, VecDeque};

use super::NAME_LIMIT;
use crate::limits::{EXACT, shortened};

/// Peers of one process.
const PEERS_LIMIT: usize = 256;
/// The least microseconds between two counts; honest processes tell them once a second.
const LEAST_US: u64 = 500_000;
/// A rate is that of so many microseconds: what comes every few seconds does not flicker.
const WINDOW_US: u64 = 4_000_000;
/// Milliseconds without a count after which nothing is sent any more.
const SILENCE_MS: u64 = 2_500;
/// A rate is told anew when it has changed by more than one part in so many.
const PART: u64 = 5;

/// Messages a second by peer; those to whom there are none are left out.
pub(super) type Rates = BTreeMap<String, u64>;

/// What one process has counted.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Counts and when they were read, by the clock of the process: the oldest first.
    counts: VecDeque<(u64, BTreeMap<String, u64>)>,
    /// When the last came, by this process's clock.
    heard: u64,
}

impl Meter {
    /// Takes counts that were read `alive_us` after the process began. The rates, if they are other
    /// than `shown` so far.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub(super) fn read(
        &mut self,
        at: u64,
        alive_us: u64,
        sent: BTreeMap<String, u64>,
        shown: &Rates,
    ) -> Result<Option<Rates>, String> {
        if sent.len() > PEERS_LIMIT {
            return Err(format!("its traffic makes no sense: {} peers", sent.len()));
        }
        let short = |(peer, count)| (shortened(peer, NAME_LIMIT), count);
        let sent = sent.into_iter().map(short).collect::<BTreeMap<_, _>>();
        if let Some((last, before)) = self.counts.back() {
            let fell =
                |(peer, count): (&String, &u64)| sent.get(peer).is_some_and(|new| new < count);
            if alive_us < *last || before.iter().any(fell) {
                // Another process.
                self.counts.clear();
            } else if alive_us - last < LEAST_US {
                return Ok(None);
            }
        }
        self.heard = at;
        self.counts.push_back((alive_us, sent));
        // One that is older than the window is where it begins.
        while self.counts.get(1).is_some_and(|(next, _)| WINDOW_US <= alive_us - next) {
            self.counts.pop_front();
        }
        let rates = self.rates();
        let peers = rates.keys().chain(shown.keys());
        let differs = peers.into_iter().any(|peer| {
            let [new, old] = [&rates, shown].map(|rates| rates.get(peer).copied().unwrap_or(0));
            // Whether there is any at all is always told.
            (new == 0) != (old == 0) || new.abs_diff(old).saturating_mul(PART) > old.max(PART)
        });
        Ok(differs.then_some(rates))
    }

    fn rates(&self) -> Rates {
        let (Some((from, first)), Some((to, last))) = (self.counts.front(), self.counts.back())
        else {
            return Rates::new();
        };
        let period = u128::from(to - from).max(1);
        let rate = |(peer, count): (&String, &u64)| {
            // Of whom there was no word before, all was sent since.
            let before = first.get(peer).copied().unwrap_or(0);
            let sent = u128::from(count - before.min(*count)) * 1_000_000;
            let rate = u64::try_from(sent.div_ceil(period)).unwrap_or(EXACT).min(EXACT);
            (rate > 0).then(|| (peer.clone(), rate))
        };
        // The first count of all tells nothing about a rate.
        if self.counts.len() < 2 { Rates::new() } else { last.iter().filter_map(rate).collect() }
    }

    /// Whether nothing was heard for so long that nothing is sent: counts are told when they
    /// change.
    pub(super) fn is_silent(&self, at: u64) -> bool {
        SILENCE_MS <= at.abs_diff(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter, and what it shows.
    #[derive(Default)]
    struct Shown {
        meter: Meter,
        rates: Rates,
    }

    impl Shown {
        /// Reads counts at a second. Whether something else is shown.
        fn read(&mut self, second: f64, sent: &[(&str, u64)]) -> bool {
            let alive_us = (second * 1e6) as u64;
            let sent = sent.iter().map(|(peer, count)| ((*peer).to_owned(), *count)).collect();
            let rates = self.meter.read(0, alive_us, sent, &self.rates).expect("few");
            rates.map(|rates| self.rates = rates).is_some()
        }

        fn to(&self, peer: &str) -> u64 {
            self.rates.get(peer).copied().unwrap_or(0)
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds_and_a_steady_one_is_told_once() {
        let mut shown = Shown::default();
        assert!(!shown.read(1.0, &[("A", 1_000)]), "one count is no rate");
        assert!(shown.read(2.0, &[("A", 1_020)]));
        assert_eq!(shown.to("A"), 20);
        for second in 3..60 {
            // Never quite punctual.
            let (jitter, late) = (second % 3, f64::from(u32::try_from(second % 2).unwrap()) / 50.0);
            let told = shown.read(second as f64 + late, &[("A", 980 + 20 * second + jitter)]);
            assert!(!told, "second {second}: {:?}", shown.rates);
        }
        assert!(shown.read(61.0, &[("A", 2_400), ("B", 4_000)]), "a new peer");
        assert!((800..=1_000).contains(&shown.to("B")), "{:?}", shown.rates);
        for second in 62..66 {
            shown.read(f64::from(second), &[("A", 2_400), ("B", 4_000)]);
        }
        assert!(shown.rates.is_empty(), "nothing is sent any more: {:?}", shown.rates);
    }

    #[test]
    fn what_comes_now_and_then_does_not_flicker() {
        let mut shown = Shown::default();
        let told = (1..60_u64).filter(|second| shown.read(*second as f64, &[("A", second / 3)]));
        let told = told.count();
        assert_eq!((told, shown.to("A")), (1, 1));
    }

    #[test]
    fn whatever_a_process_counts_is_bounded() {
        let mut shown = Shown::default();
        assert!(!shown.read(1.0, &[("A", 0)]));
        assert!(!shown.read(1.1, &[("A", 100)]), "too soon");
        assert!(shown.read(2.0, &[("A", u64::MAX)]));
        assert_eq!(shown.to("A"), EXACT);
        // A process that has begun anew.
        assert!(shown.read(3.0, &[("A", 5)]));
        assert!(shown.rates.is_empty());
        shown.read(0.1, &[("A", 7)]);
        assert!(shown.read(1.1, &[("A", 8)]));
        assert_eq!(shown.to("A"), 1);
        // One that says that it lives longer than can be.
        for count in [9, 10] {
            shown.read(f64::INFINITY, &[("A", count)]);
        }
        let million = (0..1_000_000).map(|peer| (format!("{peer}"), 1)).collect();
        let refused = shown.meter.read(0, 9_000_000, million, &Rates::new()).expect_err("too many");
        assert!(refused.contains("1000000 peers"), "{refused}");
    }
}
