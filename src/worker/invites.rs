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

    /// Takes one guess out of the address's allowance.
    ///
    /// # Errors
    /// When there is none left: the time after which there is again.
    pub(super) fn try_take(&self, address: IpAddr, now: Moment) -> Result<(), Duration> {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= MAX_ADDRESSES && !guesses.contains_key(&group(address)) {
            guesses.retain(|_, schedule| !schedule.is_idle(now));
            if guesses.len() >= MAX_ADDRESSES {
                return Err(Duration::from_secs(60));
            }
        }
        guesses.entry(group(address)).or_default().try_take(self.rate, now)
    }

    /// The code was good: it does not count.
    pub(super) fn give_back(&self, address: IpAddr) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schedule) = guesses.get_mut(&group(address)) {
            schedule.give_back(self.rate);
        }
    }
}

/// An IPv6 subscriber has a whole /64 (RFC 6177), so that is what is counted.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}
