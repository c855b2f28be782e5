//! Storms: everybody goes, and comes back at the same moment.

use super::super::plan::SECOND;
use super::super::scenario::Scenario;
use super::{Action, Crowd, Line};

/// Messages that each conversation's founder writes while the others are away.
const MISSED_MESSAGES: u32 = 10;
/// The last moments before the storm, in which the founders go too.
const QUIET_NS: u64 = SECOND / 2;

impl Crowd {
    /// Everybody goes now; from `start` on everybody comes, at once or at the plan's rate.
    pub(super) fn begin_storm(&mut self, start: u64, now: u64) {
        let forgetful = self.plan.scenario == Scenario::ConnectStorm;
        let rate = self.plan.rate.map(|rate| self.part.share_of(rate, &self.plan));
        for person in 0..self.people.len() as u32 {
            if self.people[person as usize].line == Line::Lost {
                continue;
            }
            let founds = self.people[person as usize].memberships.iter().any(|membership| membership.slot == 0);
            if !forgetful && founds {
                self.write_what_others_miss(person, now, start - QUIET_NS);
                self.timers.push(start - QUIET_NS, Action::Leave { person });
            } else {
                self.disconnect(person, !forgetful);
            }
            self.people[person as usize].forgetful = forgetful;
            let due = start + rate.map_or(0, |rate| (f64::from(person) / rate * 1e9) as u64);
            self.timers.push(due, Action::Connect { person });
        }
        self.storm_start = Some(start);
        self.settled_before = 0;
    }

    fn write_what_others_miss(&mut self, person: u32, from: u64, until: u64) {
        for index in 0..self.people[person as usize].memberships.len() as u32 {
            if self.people[person as usize].memberships[index as usize].slot == 0 {
                for message in 0..MISSED_MESSAGES {
                    let due = from + until.saturating_sub(from) * u64::from(message) / u64::from(MISSED_MESSAGES + 1);
                    self.timers.push(due, Action::Send { person, membership: index });
                }
            }
        }
    }

    /// Called when somebody is complete: the storm is over when all are.
    pub(super) fn look_whether_storm_is_over(&mut self, now: u64) {
        let begun = self.storm_start.is_some_and(|start| now >= start);
        if begun && self.storm_end.is_none() && self.all_settled() {
            self.storm_end = Some(now);
        }
    }
}
