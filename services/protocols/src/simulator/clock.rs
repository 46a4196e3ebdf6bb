//! A node's own time.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

const MILLION: u32 = 1_000_000;

/// Begins with the node's last start, and runs steadily, a little fast or slow. In integers, so
/// that an alarm never goes off before the node's own time for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Duration,
    speed_ppm: u32,
}

impl Clock {
    /// Starts at `started` of the world's time, at a speed within `drift_ppm` of true.
    pub(super) fn start(started: Duration, drift_ppm: u32, random: &mut StdRng) -> Self {
        let speed_ppm = if drift_ppm == 0 {
            MILLION
        } else {
            random.random_range(MILLION - drift_ppm..=MILLION + drift_ppm)
        };
        Self { started, speed_ppm }
    }

    /// What the clock shows at `now` of the world's time.
    pub(super) fn read(&self, now: Duration) -> Duration {
        let elapsed = now - self.started;
        if self.speed_ppm == MILLION {
            return elapsed;
        }
        duration(elapsed.as_nanos() * u128::from(self.speed_ppm) / u128::from(MILLION))
    }

    /// The world's time at which the clock will show `after` more than it shows at `now`.
    pub(super) fn when(&self, now: Duration, after: Duration) -> Duration {
        if self.speed_ppm == MILLION {
            return now.saturating_add(after);
        }
        let shown = self.read(now).saturating_add(after).as_nanos() * u128::from(MILLION);
        self.started.saturating_add(duration(shown.div_ceil(u128::from(self.speed_ppm))))
    }
}

fn duration(nanoseconds: u128) -> Duration {
    Duration::from_nanos_u128(nanoseconds.min(Duration::MAX.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_never_goes_off_early_by_the_node_s_own_clock() {
        for speed_ppm in [990_000, 999_999, 1_000_000, 1_000_001, 1_010_000, 1_999_999] {
            let clock = Clock { started: Duration::from_nanos(17), speed_ppm };
            for now in (17..5_000_000_000).step_by(123_456_789).map(Duration::from_nanos) {
                for after in [0, 1, 7, 999, 1_000_003, 3_000_000_001].map(Duration::from_nanos) {
                    let when = clock.when(now, after);
                    assert!(clock.read(when) >= clock.read(now) + after);
                    assert!(clock.read(when) <= clock.read(now) + after + Duration::from_nanos(2));
                }
            }
        }
    }

    #[test]
    fn an_alarm_set_for_ever_does_not_overflow() {
        for speed_ppm in [1, 1_000_000, 1_999_999] {
            let clock = Clock { started: Duration::from_secs(1), speed_ppm };
            let when = clock.when(Duration::from_secs(9), Duration::MAX);
            assert!(when > Duration::from_secs(1 << 40));
        }
    }
}
