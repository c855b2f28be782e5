//! Who is shown as typing to one member, and until when that may be.
//!
//! An indicator that outlasts its lease may mean that the server forgot it, or that nothing came from the server at all for a while. To
//! tell these apart the member asks the server something then: a server that has answered and still does not take the indicator off
//! has forgotten it.

/// How long after its lease an indicator may still be on: the server looks for leases that ended every 100 ms, and a busy machine
/// delivers late.
const GRACE_NS: u64 = 2_000_000_000;
/// How long after the server has answered.
const AFTER_ANSWER_NS: u64 = 1_000_000_000;
/// A member who got a log event this late was behind, and is promised no hints: what is shown is forgotten, and for twice as long
/// nothing is held against the server.
const BEHIND_NS: u64 = 1_000_000_000;

/// Whether the server was asked about an indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Unneeded,
    Asked,
    AnsweredAt(u64),
}

/// One member's view. Few type at a time, so a list does.
#[derive(Debug, Default)]
pub(crate) struct TypingView {
    shown: Vec<(u32, u64, Probe)>,
    behind_until: u64,
}

impl TypingView {
    /// `typist` is shown until `lease_end`; whether that is new.
    pub(crate) fn started(&mut self, typist: u32, lease_end: u64) -> bool {
        let before = self.shown.len();
        self.stopped(typist);
        let new = self.shown.len() == before;
        self.shown.push((typist, lease_end, Probe::Unneeded));
        new
    }

    /// `typist` is not shown any more.
    pub(crate) fn stopped(&mut self, typist: u32) {
        self.shown.retain(|(shown, ..)| *shown != typist);
    }

    /// Nobody is.
    pub(crate) fn clear(&mut self) {
        self.shown.clear();
    }

    /// A log event took `delay_ns` to come.
    pub(crate) fn delayed(&mut self, delay_ns: u64, now: u64) {
        if delay_ns > BEHIND_NS {
            self.behind_until = now + 2 * BEHIND_NS;
            self.shown.clear();
        }
    }

    /// Whether the server has to be asked about indicators that are on for too long; if so, it counts as asked.
    pub(crate) fn needs_probe(&mut self, now: u64) -> bool {
        let overdue = |(_, until, probe): &&mut (u32, u64, Probe)| *until + GRACE_NS < now && *probe == Probe::Unneeded;
        let asked = self.shown.iter_mut().filter(overdue).map(|(_, _, probe)| *probe = Probe::Asked).count();
        asked > 0
    }

    /// The server has answered.
    pub(crate) fn probed(&mut self, now: u64) {
        let asked = self.shown.iter_mut().filter(|(_, _, probe)| *probe == Probe::Asked);
        asked.for_each(|(_, _, probe)| *probe = Probe::AnsweredAt(now));
    }

    /// Takes out who is shown for too long although the server was asked and has answered.
    pub(crate) fn take_stuck(&mut self, now: u64) -> Vec<u32> {
        let is_stuck = |(_, _, probe): &(u32, u64, Probe)| matches!(probe, Probe::AnsweredAt(at) if at + AFTER_ANSWER_NS < now);
        if !self.shown.iter().any(is_stuck) {
            return Vec::new();
        }
        let (stuck, kept): (Vec<_>, Vec<_>) = self.shown.drain(..).partition(is_stuck);
        self.shown = kept;
        if now < self.behind_until { Vec::new() } else { stuck.into_iter().map(|(typist, ..)| typist).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indicator_past_its_lease_is_stuck_once_the_server_has_answered() {
        let mut view = TypingView::default();
        assert!(view.started(1, 100) && !view.started(1, 200) && view.started(2, 100));
        view.stopped(2);
        assert!(!view.needs_probe(200 + GRACE_NS));
        assert!(view.needs_probe(201 + GRACE_NS) && !view.needs_probe(201 + GRACE_NS));
        assert_eq!(view.take_stuck(900 * GRACE_NS), Vec::<u32>::new(), "a server that stands still is slow, not wrong");
        view.probed(1_000 * GRACE_NS);
        assert_eq!(view.take_stuck(1_000 * GRACE_NS + AFTER_ANSWER_NS), Vec::<u32>::new());
        assert_eq!(view.take_stuck(1_000 * GRACE_NS + AFTER_ANSWER_NS + 1), [1]);
        assert_eq!(view.take_stuck(2_000 * GRACE_NS), Vec::<u32>::new());
    }

    #[test]
    fn an_indicator_that_goes_after_the_answer_is_in_order() {
        let mut view = TypingView::default();
        view.started(1, 100);
        assert!(view.needs_probe(101 + GRACE_NS));
        view.probed(102 + GRACE_NS);
        view.stopped(1);
        assert_eq!(view.take_stuck(9 * GRACE_NS), Vec::<u32>::new());
    }

    #[test]
    fn who_is_behind_is_promised_no_hints() {
        let mut view = TypingView::default();
        view.started(1, 5);
        view.delayed(BEHIND_NS + 1, 6);
        assert!(!view.needs_probe(6 + GRACE_NS));
    }
}
