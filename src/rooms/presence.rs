//! Who is online: counts connections of each user and lets a reload pass unnoticed.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use crate::protocol::UserId;

use super::Moment;

#[derive(Debug)]
struct Attendance {
    connections: usize,
    /// Which departure the user's newest entry in `leaving` is; an older entry is void.
    departure: u64,
}

/// The presence of the users whose home this is. A user is online from the first connection until `grace` after the last.
#[derive(Debug)]
pub struct Presence {
    grace: Duration,
    users: HashMap<UserId, Attendance>,
    /// Users without a connection, by the time at which the last one went. The grace is constant, so it is in order.
    /// Bounded by the rate of logins: each entry is a user who was connected within the last `grace`.
    leaving: VecDeque<(Moment, UserId, u64)>,
    departures: u64,
}

impl Presence {
    /// Nobody is online. `grace` is how long after the last connection a user still counts as online.
    pub fn new(grace: Duration) -> Self {
        Self { grace, users: HashMap::new(), leaving: VecDeque::new(), departures: 0 }
    }

    /// Counts a connection; whether the user comes online by it.
    pub fn handle_connected(&mut self, user: &UserId) -> bool {
        if let Some(attendance) = self.users.get_mut(user) {
            attendance.connections += 1;
            return false;
        }
        self.users.insert(user.clone(), Attendance { connections: 1, departure: 0 });
        true
    }

    /// Counts a connection less. After the last one the grace starts.
    pub fn handle_disconnected(&mut self, user: &UserId, now: Moment) {
        let Some(attendance) = self.users.get_mut(user) else { return };
        attendance.connections = attendance.connections.saturating_sub(1);
        if attendance.connections == 0 {
            self.departures += 1;
            attendance.departure = self.departures;
            self.leaving.push_back((now, user.clone(), self.departures));
        }
    }

    /// Takes one user offline whose grace is over, and says when their last connection went.
    pub fn next_offline(&mut self, now: Moment) -> Option<(UserId, Moment)> {
        while self.leaving.front().is_some_and(|(left_at, ..)| *left_at + self.grace <= now) {
            let (left_at, user, departure) = self.leaving.pop_front()?;
            let is_gone =
                self.users.get(&user).is_some_and(|attendance| attendance.connections == 0 && attendance.departure == departure);
            if is_gone {
                self.users.remove(&user);
                return Some((user, left_at));
            }
        }
        None
    }

    /// Everybody who is online, those in their grace included.
    pub fn online(&self) -> impl Iterator<Item = &UserId> {
        self.users.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn alice() -> UserId {
        UserId::parse("alice").expect("valid")
    }

    #[test]
    fn the_first_connection_brings_a_user_online_and_the_last_one_takes_them_offline_after_the_grace() {
        let mut presence = Presence::new(GRACE);
        assert!(presence.handle_connected(&alice()));
        assert!(!presence.handle_connected(&alice()));
        presence.handle_disconnected(&alice(), Moment::from_millis(0));
        assert_eq!(presence.next_offline(Moment::from_millis(60_000)), None);
        presence.handle_disconnected(&alice(), Moment::from_millis(60_000));
        assert_eq!(presence.next_offline(Moment::from_millis(64_999)), None);
        assert_eq!(presence.next_offline(Moment::from_millis(65_000)), Some((alice(), Moment::from_millis(60_000))));
        assert!(presence.handle_connected(&alice()));
    }

    #[test]
    fn a_reload_within_the_grace_is_no_absence_and_starts_the_grace_anew() {
        let mut presence = Presence::new(GRACE);
        presence.handle_connected(&alice());
        presence.handle_disconnected(&alice(), Moment::from_millis(0));
        assert!(!presence.handle_connected(&alice()));
        assert_eq!(presence.next_offline(Moment::from_millis(5_000)), None);
        presence.handle_disconnected(&alice(), Moment::from_millis(4_000));
        presence.handle_connected(&alice());
        presence.handle_disconnected(&alice(), Moment::from_millis(6_000));
        assert_eq!(presence.next_offline(Moment::from_millis(9_500)), None, "the older departure is void");
        assert_eq!(presence.next_offline(Moment::from_millis(11_000)), Some((alice(), Moment::from_millis(6_000))));
    }
}
