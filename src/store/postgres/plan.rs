//! Which writes share a statement. Writes to one conversation keep their order, those to different ones need none: so a batch is a
//! few phases, each one statement, that run one after the other.

use hashbrown::{HashMap, HashSet};

use super::write::Write;
use crate::protocol::{ConversationId, UserId};

/// Most phases in a transaction: bounds how long its locks are held.
pub(super) const MAX_PHASES: usize = 16;

/// Writes that one statement carries out, by their places in the batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages, in call order for each conversation.
    Appends(Vec<usize>),
    /// Marks, at most one of each member.
    Marks(Vec<usize>),
    /// A conversation to create, a joining or a leaving.
    Alone(usize),
}

/// The phases of a batch under construction.
#[derive(Default)]
pub(super) struct Plan<'a> {
    phases: Vec<Phase>,
    /// In which phase each conversation's last write is.
    last: HashMap<ConversationId, usize>,
    marked: HashSet<(usize, ConversationId, &'a UserId)>,
}

impl<'a> Plan<'a> {
    /// The phases of as many of `writes`, from the first on, as fit, and how many these are.
    pub(super) fn of(writes: &'a [Write]) -> (Vec<Phase>, usize) {
        let mut plan = Self::default();
        let planned = writes.iter().enumerate().take_while(|(place, write)| plan.add(*place, write)).count();
        (plan.phases, planned)
    }

    fn add(&mut self, place: usize, write: &'a Write) -> bool {
        let conversation = write.conversation();
        let first = self.last.get(&conversation).copied().unwrap_or(0);
        let index = match write {
            Write::Append(..) => self.place_append(first),
            Write::MarkRead(_, user, ..) => self.place_mark(first, conversation, user),
            Write::Create(..) | Write::Join(..) | Write::Leave(..) => self.phases.len(),
        };
        if index == self.phases.len() {
            if index == MAX_PHASES {
                return false;
            }
            self.phases.push(match write {
                Write::Append(..) => Phase::Appends(Vec::new()),
                Write::MarkRead(..) => Phase::Marks(Vec::new()),
                Write::Create(..) | Write::Join(..) | Write::Leave(..) => Phase::Alone(place),
            });
        }
        match &mut self.phases[index] {
            Phase::Appends(places) | Phase::Marks(places) => places.push(place),
            Phase::Alone(_) => {}
        }
        if let Write::MarkRead(_, user, ..) = write {
            self.marked.insert((index, conversation, user));
        }
        self.last.insert(conversation, index);
        true
    }

    fn place_append(&self, first: usize) -> usize {
        let fits = |index: &usize| matches!(self.phases[*index], Phase::Appends(_));
        (first..self.phases.len()).find(fits).unwrap_or(self.phases.len())
    }

    fn place_mark(&self, first: usize, conversation: ConversationId, user: &'a UserId) -> usize {
        let fits = |index: &usize| {
            matches!(self.phases[*index], Phase::Marks(_)) && !self.marked.contains(&(*index, conversation, user))
        };
        (first..self.phases.len()).find(fits).unwrap_or(self.phases.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::{at_seq, group, text, user};
    use super::super::write::Reply;
    use super::*;

    fn append(conversation: ConversationId) -> Write {
        Write::Append(text(conversation, "ann", "x"), Reply::new(Box::new(|_| ())))
    }

    fn mark(conversation: ConversationId, who: &str) -> Write {
        Write::MarkRead(conversation, user(who), at_seq(1), Reply::new(Box::new(|_| ())))
    }

    fn id(number: u8) -> ConversationId {
        ConversationId::from_bytes([number; 16])
    }

    #[test]
    fn conversations_share_phases_and_each_keeps_its_order() {
        let (a, b) = (id(1), id(2));
        let writes = [append(a), mark(a, "ann"), append(b), mark(b, "bob"), append(a), append(b)];
        let (phases, planned) = Plan::of(&writes);
        let expected = [Phase::Appends(vec![0, 2]), Phase::Marks(vec![1, 3]), Phase::Appends(vec![4, 5])];
        assert_eq!((&phases[..], planned), (&expected[..], 6));
    }

    #[test]
    fn a_member_has_one_mark_in_a_phase() {
        let writes = [mark(id(1), "ann"), mark(id(1), "bob"), mark(id(1), "ann"), mark(id(2), "ann")];
        let (phases, _) = Plan::of(&writes);
        assert_eq!(phases, [Phase::Marks(vec![0, 1, 3]), Phase::Marks(vec![2])]);
    }

    #[test]
    fn what_creates_or_changes_members_stands_alone() {
        let mut new = group(&["ann"], None);
        new.id = id(1);
        let leave = Write::Leave(id(1), user("ann"), crate::protocol::UnixMillis::new(0), Reply::new(Box::new(|_| ())));
        let writes = [append(id(2)), Write::Create(new, Reply::new(Box::new(|_| ()))), append(id(1)), leave, append(id(1))];
        let (phases, _) = Plan::of(&writes);
        let expected =
            [Phase::Appends(vec![0]), Phase::Alone(1), Phase::Appends(vec![2]), Phase::Alone(3), Phase::Appends(vec![4])];
        assert_eq!(phases, expected);
    }

    #[test]
    fn what_would_need_too_many_phases_waits_for_the_next_batch() {
        let writes: Vec<Write> = (0..MAX_PHASES).flat_map(|_| [append(id(1)), mark(id(1), "ann")]).collect();
        let (phases, planned) = Plan::of(&writes);
        assert_eq!((phases.len(), planned), (MAX_PHASES, MAX_PHASES));
    }
}
