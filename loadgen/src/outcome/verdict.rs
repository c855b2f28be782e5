//! What a run comes to, and the exit status that says so.

use super::Outcome;

/// Every gate was met, every promise kept.
const EXIT_PASSED: u8 = 0;
/// The tester was the bottleneck.
const EXIT_VOID: u8 = 3;
/// A promise was broken.
const EXIT_BROKEN: u8 = 4;
/// A gate was not met.
const EXIT_FAILED: u8 = 99;

/// What a run comes to, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// A promise was broken: exit status 4.
    Broken,
    /// The tester was the bottleneck: exit status 3.
    Void,
    /// A gate was not met: exit status 99.
    Failed,
    /// Exit status 0.
    Passed,
}

impl Verdict {
    /// What the process ends with.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Broken => EXIT_BROKEN,
            Self::Void => EXIT_VOID,
            Self::Failed => EXIT_FAILED,
            Self::Passed => EXIT_PASSED,
        }
    }

    /// One word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Void => "void",
            Self::Failed => "failed",
            Self::Passed => "passed",
        }
    }
}

impl Outcome {
    /// What the run comes to.
    pub(crate) fn verdict(&self) -> Verdict {
        let is_void = !self.generator.void.is_empty();
        let verifier = &self.verifier;
        // A tester that was late itself may have missed an end, or the time to see everything; it cannot have made up the rest.
        let may_be_its_own = |kind: &str| matches!(kind, "missing" | "typing_stuck");
        let all_known = verifier.breaches == verifier.details.len() as u64;
        let excused = is_void && all_known && verifier.details.iter().all(|breach| may_be_its_own(&breach.kind));
        if verifier.breaches > 0 && !excused {
            Verdict::Broken
        } else if is_void {
            Verdict::Void
        } else if self.gates.iter().any(|gate| !gate.passed) {
            Verdict::Failed
        } else {
            Verdict::Passed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gate;
    use crate::results::fixture;

    #[test]
    fn the_worst_decides() {
        let mut outcome = fixture::outcome();
        assert_eq!((outcome.verdict(), outcome.verdict().exit_code()), (Verdict::Passed, 0));
        outcome.gates.push(Gate { condition: "ack:p99<1us".to_owned(), measured: "2 µs".to_owned(), passed: false });
        assert_eq!((outcome.verdict(), outcome.verdict().exit_code()), (Verdict::Failed, 99));
        outcome.generator.void.push("too slow".to_owned());
        assert_eq!((outcome.verdict(), outcome.verdict().exit_code()), (Verdict::Void, 3));
        outcome.verifier.breaches = 1;
        assert_eq!((outcome.verdict(), outcome.verdict().exit_code()), (Verdict::Broken, 4));
    }
}
