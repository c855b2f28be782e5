//! Slows down whoever guesses invite codes from one address, whatever users they log in as.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use crate::rooms::{Moment, Rate, Schedule};

/// Most addresses remembered; past it those whose bucket is full again are forgotten, then guesses from new addresses wait.
const MAX_ADDRESSES: usize = 65_536;

/// Wrong guesses by address. One lock for the server: it is taken by `join_group` only.
pub(super) struct InviteGuard {
    rate: Rate,
    guesses: Mutex<HashMap<IpAddr, Schedule>>,
}

impl InviteGuard {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, guesses: Mutex::new(HashMap::new()) }
    }

    /// Whether the address may try a code.
    ///
    /// # Errors
    /// When it may not: the time after which it may again.
    pub(super) fn check(&self, address: IpAddr, now: Moment) -> Result<(), Duration> {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        match guesses.get(&group(address)) {
            Some(schedule) => schedule.check(self.rate, now),
            None if guesses.len() >= MAX_ADDRESSES => Err(Duration::from_secs(60)),
            None => Ok(()),
        }
    }

    /// Counts a wrong code. Good ones do not count, so that any number of users behind one address can join with them.
    pub(super) fn handle_wrong(&self, address: IpAddr, now: Moment) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= MAX_ADDRESSES {
            guesses.retain(|_, schedule| !schedule.is_idle(now));
        }
        // Over the rate already, by guesses that were under way at once: the next one is refused.
        let _refused_next_time = guesses.entry(group(address)).or_default().try_take(self.rate, now);
    }
}

/// An IPv6 subscriber has a whole /64 (RFC 6177), so that is what is counted.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}
