//! Who is shown as typing to one member, and until when that may be.

/// How long after its lease an indicator may still be on: the server looks for leases that ended every 100 ms, and a busy machine
/// delivers late.
const GRACE_NS: u64 = 3_000_000_000;
/// A member who got a log event this late was behind, and is promised no hints: what is shown is forgotten, and for twice as long
/// nothing is held against the server.
const BEHIND_NS: u64 = 1_000_000_000;

/// One member's view. Few type at a time, so a list does.
#[derive(Debug, Default)]
pub(crate) struct TypingView {
    until: Vec<(u32, u64)>,
    behind_until: u64,
}

impl TypingView {
    /// `typist` is shown until `lease_end`; whether that is new.
    pub(crate) fn started(&mut self, typist: u32, lease_end: u64) -> bool {
        match self.until.iter_mut().find(|(shown, _)| *shown == typist) {
            Some((_, until)) => {
                *until = lease_end;
                false
            }
            None => {
                self.until.push((typist, lease_end));
                true
            }
        }
    }

    /// `typist` is not shown any more.
    pub(crate) fn stopped(&mut self, typist: u32) {
        self.until.retain(|(shown, _)| *shown != typist);
    }

    /// Nobody is.
    pub(crate) fn clear(&mut self) {
        self.until.clear();
    }

    /// A log event took `delay_ns` to come.
    pub(crate) fn delayed(&mut self, delay_ns: u64, now: u64) {
        if delay_ns > BEHIND_NS {
            self.behind_until = now + 2 * BEHIND_NS;
            self.until.clear();
        }
    }

    /// Takes out who is shown for too long.
    pub(crate) fn take_stuck(&mut self, now: u64) -> Vec<u32> {
        if self.until.iter().all(|(_, until)| *until + GRACE_NS >= now) {
            return Vec::new();
        }
        let (kept, stuck): (Vec<_>, Vec<_>) = self.until.drain(..).partition(|(_, until)| *until + GRACE_NS >= now);
        self.until = kept;
        if now < self.behind_until { Vec::new() } else { stuck.into_iter().map(|(typist, _)| typist).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indicator_past_its_lease_is_stuck_once() {
        let mut view = TypingView::default();
        assert!(view.started(1, 100) && !view.started(1, 200) && view.started(2, 100));
        view.stopped(2);
        assert_eq!(view.take_stuck(200 + GRACE_NS), Vec::<u32>::new());
        assert_eq!(view.take_stuck(201 + GRACE_NS), vec![1]);
        assert_eq!(view.take_stuck(900 + GRACE_NS), Vec::<u32>::new());
    }

    #[test]
    fn who_is_behind_is_promised_no_hints() {
        let mut view = TypingView::default();
        view.started(1, 5);
        view.delayed(BEHIND_NS + 1, 6);
        assert_eq!(view.take_stuck(6 + GRACE_NS), Vec::<u32>::new());
        view.started(2, 6 + 2 * BEHIND_NS);
        assert_eq!(view.take_stuck(7 + 2 * BEHIND_NS + GRACE_NS), [2]);
    }
}
