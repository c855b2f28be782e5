//! Who is typing in a room: leases that end by themselves.

use std::time::Duration;

use crate::protocol::UserId;

use super::Moment;

/// Most users typing in one room at once; one more is not announced. Rooms larger than `typing_max_joined` announce nobody.
const MAX_TYPISTS: usize = 128;

/// What a `typing_start` means for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypingStart {
    /// Tell them, with the lease's full time.
    Announce,
    /// They know and their lease is still long.
    Known,
}

#[derive(Debug)]
struct Lease {
    user: UserId,
    /// The connection that types; its end ends the lease.
    connection: u64,
    ends_at: Moment,
    announced_at: Moment,
}

/// The typing leases of one room.
#[derive(Debug, Default)]
pub struct TypingLeases {
    leases: Vec<Lease>,
}

impl TypingLeases {
    /// Starts or extends a lease. A repeat is announced again when a third of the lease has passed since the last time, so
    /// that the others' leases outlive a client that repeats every half of it, and a client that hammers costs them nothing.
    pub fn handle_start(&mut self, user: &UserId, connection: u64, now: Moment, lease: Duration) -> TypingStart {
        if let Some(held) = self.leases.iter_mut().find(|held| held.user == *user) {
            held.connection = connection;
            held.ends_at = now + lease;
            if now.since(held.announced_at) < lease / 3 {
                return TypingStart::Known;
            }
            held.announced_at = now;
            return TypingStart::Announce;
        }
        if self.leases.len() == MAX_TYPISTS {
            return TypingStart::Known;
        }
        self.leases.push(Lease { user: user.clone(), connection, ends_at: now + lease, announced_at: now });
        TypingStart::Announce
    }

    /// Ends the user's lease; whether there was one.
    pub fn handle_stop(&mut self, user: &str) -> bool {
        self.remove(|lease| lease.user.as_str() == user).is_some()
    }

    /// Ends the lease that this connection holds; whether there was one.
    pub fn handle_disconnect(&mut self, user: &str, connection: u64) -> bool {
        self.remove(|lease| lease.connection == connection && lease.user.as_str() == user).is_some()
    }

    /// Ends one lease that is over at `now` and says whose it was.
    pub fn next_expired(&mut self, now: Moment) -> Option<UserId> {
        self.remove(|lease| lease.ends_at <= now).map(|lease| lease.user)
    }

    /// Who is typing now.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.leases.iter().map(|lease| &lease.user)
    }

    /// Whether nobody is typing.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    fn remove(&mut self, which: impl Fn(&Lease) -> bool) -> Option<Lease> {
        let at = self.leases.iter().position(which)?;
        Some(self.leases.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn user(id: &str) -> UserId {
        UserId::parse(id).expect("valid")
    }

    #[test]
    fn a_lease_ends_by_itself_and_only_then() {
        let mut typing = TypingLeases::default();
        assert_eq!(typing.handle_start(&user("a"), 1, Moment::from_millis(0), LEASE), TypingStart::Announce);
        assert_eq!(typing.next_expired(Moment::from_millis(5_999)), None);
        assert_eq!(typing.next_expired(Moment::from_millis(6_000)), Some(user("a")));
        assert!(typing.is_empty());
    }

    #[test]
    fn a_repeat_extends_and_is_announced_only_after_a_third_of_the_lease() {
        let mut typing = TypingLeases::default();
        typing.handle_start(&user("a"), 1, Moment::from_millis(0), LEASE);
        assert_eq!(typing.handle_start(&user("a"), 1, Moment::from_millis(100), LEASE), TypingStart::Known);
        assert_eq!(typing.handle_start(&user("a"), 1, Moment::from_millis(3_000), LEASE), TypingStart::Announce);
        assert_eq!(typing.next_expired(Moment::from_millis(8_999)), None);
        assert_eq!(typing.next_expired(Moment::from_millis(9_000)), Some(user("a")));
    }

    #[test]
    fn only_the_typing_connection_ends_the_lease_by_going() {
        let mut typing = TypingLeases::default();
        typing.handle_start(&user("a"), 1, Moment::from_millis(0), LEASE);
        assert!(!typing.handle_disconnect("a", 2));
        assert!(typing.handle_disconnect("a", 1));
        assert!(!typing.handle_stop("a"));
    }

    #[test]
    fn the_number_of_typists_is_bounded() {
        let mut typing = TypingLeases::default();
        for n in 0..MAX_TYPISTS {
            typing.handle_start(&user(&format!("u{n}")), 1, Moment::default(), LEASE);
        }
        assert_eq!(typing.handle_start(&user("more"), 1, Moment::default(), LEASE), TypingStart::Known);
        assert_eq!(typing.users().count(), MAX_TYPISTS);
    }
}
