//! Rate limits by the generic cell rate algorithm (ITU-T I.371): one number for each bucket.

use std::time::Duration;

use super::Moment;

/// How much is allowed: so many a second sustained, so many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Microseconds that one event costs; 0 when there is no limit.
    interval_us: u64,
    /// How far ahead of time a bucket may run.
    tolerance_us: u64,
}

impl Rate {
    /// `burst` events at once and `per_second` sustained. With `per_second` 0 there is no limit.
    pub fn per_second(per_second: u32, burst: u32) -> Self {
        Self::new(per_second, burst, 1_000_000)
    }

    /// `per_minute` events at once and in each minute. With 0 there is no limit.
    pub fn per_minute(per_minute: u32) -> Self {
        Self::new(per_minute, per_minute, 60_000_000)
    }

    fn new(count: u32, burst: u32, period_us: u64) -> Self {
        if count == 0 {
            return Self { interval_us: 0, tolerance_us: 0 };
        }
        let interval_us = (period_us / u64::from(count)).max(1);
        Self { interval_us, tolerance_us: interval_us * u64::from(burst.max(1) - 1) }
    }
}

/// One bucket: when the events so far would have been over at the sustained rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    paid_until_us: u64,
}

impl Schedule {
    /// Takes one event out of the bucket.
    ///
    /// # Errors
    /// When there is none: the time after which there is one again. The bucket is left as it was.
    pub fn try_take(&mut self, rate: Rate, now: Moment) -> Result<(), Duration> {
        self.check(rate, now)?;
        if rate.interval_us > 0 {
            self.paid_until_us = self.paid_until_us.max(now.millis() * 1_000) + rate.interval_us;
        }
        Ok(())
    }

    /// Puts one event back that was taken for something that turned out not to count.
    pub fn give_back(&mut self, rate: Rate) {
        self.paid_until_us = self.paid_until_us.saturating_sub(rate.interval_us);
    }

    /// Whether the bucket holds one event, without taking it.
    ///
    /// # Errors
    /// As [`Schedule::try_take`].
    pub fn check(&self, rate: Rate, now: Moment) -> Result<(), Duration> {
        let now_us = now.millis() * 1_000;
        let ahead = self.paid_until_us.saturating_sub(now_us);
        if rate.interval_us == 0 || ahead <= rate.tolerance_us {
            return Ok(());
        }
        Err(Duration::from_micros(ahead - rate.tolerance_us))
    }

    /// Whether the bucket is full again, so that it can be forgotten.
    pub fn is_idle(&self, now: Moment) -> bool {
        self.paid_until_us <= now.millis() * 1_000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_one_waits_for_its_interval() {
        let rate = Rate::per_second(10, 3);
        let mut bucket = Schedule::default();
        let start = Moment::from_millis(5_000);
        for _ in 0..3 {
            assert_eq!(bucket.try_take(rate, start), Ok(()));
        }
        assert_eq!(bucket.try_take(rate, start), Err(Duration::from_millis(100)));
        assert_eq!(bucket.try_take(rate, start + Duration::from_millis(99)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.try_take(rate, start + Duration::from_millis(100)), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        let mut bucket = Schedule::default();
        for _ in 0..10_000 {
            assert_eq!(bucket.try_take(Rate::per_second(0, 0), Moment::from_millis(1)), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn no_window_lets_more_through_than_burst_and_rate(
            per_second in 1_u32..50, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..300, 1..200),
        ) {
            let rate = Rate::per_second(per_second, burst);
            let (mut bucket, mut now, mut passed) = (Schedule::default(), Moment::from_millis(1), 0_u64);
            let start = now;
            for gap in gaps {
                now = now + Duration::from_millis(gap);
                passed += u64::from(bucket.try_take(rate, now).is_ok());
                let allowed = u64::from(burst) + now.since(start).as_micros() as u64 / (1_000_000 / u64::from(per_second));
                prop_assert!(passed <= allowed, "{passed} passed, {allowed} allowed");
            }
        }
    }
}
