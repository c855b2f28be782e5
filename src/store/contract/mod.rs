//! The suite that holds every store to the contract in [`super`]: each clause a named test, and a seeded comparison with a
//! naive model. A store runs it with `contract_tests!(open)`, where `open` makes a [`Subject`].

pub(crate) mod clauses;
pub(crate) mod durable;
pub(crate) mod model;
pub(crate) mod paging;
pub(crate) mod random;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{
    Appended, ConversationPage, ConversationView, Created, Done, InviteHash, Joined, Left, MessagePage, MessageRange,
    NewConversation, NewMessage, ReadMark, RoomSnapshot, Store, StoreError, StoreLimits,
};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, MessageId, Seq, UnixMillis, UserId};

/// The limits of stores under test.
pub(crate) const LIMITS: StoreLimits = StoreLimits { max_members: 4, max_conversations_per_user: 5 };
/// Far longer than any operation takes: a callback that does not come fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store under test, empty at first, and how to close it and open it again if it keeps what it has.
pub(crate) struct Subject {
    store: Option<Arc<dyn Store>>,
    reopen: Option<Box<dyn Fn() -> Arc<dyn Store>>>,
}

impl Subject {
    /// A store that keeps nothing.
    pub(crate) fn volatile(store: impl Store + 'static) -> Self {
        Self { store: Some(Arc::new(store)), reopen: None }
    }

    /// A store that `open` opens again after it was dropped.
    pub(crate) fn durable<S: Store + 'static>(open: impl Fn() -> S + 'static) -> Self {
        let open = move || -> Arc<dyn Store> { Arc::new(open()) };
        Self { store: Some(open()), reopen: Some(Box::new(open)) }
    }

    /// Closes a durable store and opens it again; nothing for another one. Says whether it did.
    pub(crate) fn reopen(&mut self) -> bool {
        let Some(open) = &self.reopen else { return false };
        self.store = None;
        self.store = Some(open());
        true
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("open but for the middle of reopen")
    }

    pub(crate) fn send(&self, message: NewMessage) -> Result<Appended, StoreError> {
        call(|done| self.store().append_message(message, done))
    }

    /// Sends a message that is stored as a new one.
    pub(crate) fn say(&self, conversation: ConversationId, sender: &str, content: &str) -> Arc<crate::protocol::Message> {
        let appended = self.send(text(conversation, sender, content)).expect("a member may write");
        assert!(!appended.duplicate, "a message without a client message id is always a new one");
        appended.message
    }

    pub(crate) fn mark(&self, conversation: ConversationId, who: &str, seq: u64) -> Result<ReadMark, StoreError> {
        call(|done| self.store().mark_read(conversation, user(who), at_seq(seq), done))
    }

    pub(crate) fn create(&self, new: NewConversation) -> Created {
        self.try_create(new).expect("created")
    }

    pub(crate) fn try_create(&self, new: NewConversation) -> Result<Created, StoreError> {
        call(|done| self.store().create_conversation(new, done))
    }

    pub(crate) fn group(&self, members: &[&str]) -> ConversationId {
        self.create(group(members, None)).conversation
    }

    pub(crate) fn join(&self, invite: InviteHash, who: &str) -> Result<Joined, StoreError> {
        let name = Arc::from(format!("Name of {who}"));
        call(|done| self.store().join_by_invite(invite, user(who), name, UnixMillis::new(7), done))
    }

    pub(crate) fn leave(&self, conversation: ConversationId, who: &str) -> Result<Left, StoreError> {
        call(|done| self.store().leave(conversation, user(who), UnixMillis::new(8), done))
    }

    pub(crate) fn put_user(&self, who: &str, name: &str) {
        call(|done| self.store().put_user(user(who), Arc::from(name), done)).expect("remembered");
    }

    pub(crate) fn view(&self, conversation: ConversationId, who: &str) -> Result<ConversationView, StoreError> {
        call(|done| self.store().load_conversation(conversation, user(who), done))
    }

    pub(crate) fn page(&self, who: &str, cursor: Option<super::ConversationCursor>, limit: usize) -> ConversationPage {
        call(|done| self.store().load_conversations(user(who), cursor, limit, done)).expect("a page")
    }

    pub(crate) fn messages(&self, id: ConversationId, who: &str, range: MessageRange, limit: usize) -> MessagePage {
        call(|done| self.store().load_messages(id, user(who), range, limit, done)).expect("a page")
    }

    pub(crate) fn events(&self, conversation: ConversationId, after: u64, limit: usize) -> Vec<LogEvent> {
        call(|done| self.store().load_events(conversation, at_seq(after), limit, done)).expect("events")
    }

    pub(crate) fn room(&self, conversation: ConversationId, recent: usize) -> RoomSnapshot {
        call(|done| self.store().open_room(conversation, recent, done)).expect("a room")
    }
}

/// Starts an operation; its outcome comes through the receiver.
pub(crate) fn start<T: Send + 'static>(operation: impl FnOnce(Done<T>)) -> Receiver<Result<T, StoreError>> {
    let (sender, receiver) = channel();
    // A test that failed already no longer listens.
    operation(Box::new(move |outcome| drop(sender.send(outcome))));
    receiver
}

/// Waits for an operation that was started.
pub(crate) fn outcome<T>(receiver: &Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    receiver.recv_timeout(PATIENCE).expect("the callback is called")
}

/// Runs an operation to its end.
pub(crate) fn call<T: Send + 'static>(operation: impl FnOnce(Done<T>)) -> Result<T, StoreError> {
    outcome(&start(operation))
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).expect("a user id")
}

pub(crate) fn at_seq(seq: u64) -> Seq {
    Seq::new(seq).expect("a seq")
}

/// A conversation id that no other call returns.
pub(crate) fn fresh_conversation() -> ConversationId {
    ConversationId::from_bytes(fresh_id())
}

/// A message id that no other call returns.
pub(crate) fn fresh_message() -> MessageId {
    MessageId::from_bytes(fresh_id())
}

/// A message id of that time that no other call returns.
pub(crate) fn fresh_message_at(at: UnixMillis) -> MessageId {
    let mut id = fresh_id();
    id[..6].copy_from_slice(&at.get().to_be_bytes()[2..]);
    MessageId::from_bytes(id)
}

fn fresh_id() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(1));
    let mut id = [0; 16];
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

/// A message without a client message id.
pub(crate) fn text(conversation: ConversationId, sender: &str, content: &str) -> NewMessage {
    NewMessage {
        id: fresh_message(),
        conversation,
        sender: user(sender),
        sender_name: Arc::from(format!("Name of {sender}")),
        content: content.into(),
        client_message_id: None,
        reply_to: None,
        created_at: UnixMillis::new(5),
    }
}

/// A message with a client message id.
pub(crate) fn text_as(conversation: ConversationId, sender: &str, client_id: &str, content: &str) -> NewMessage {
    NewMessage { client_message_id: Some(client_id.into()), ..text(conversation, sender, content) }
}

/// A group whose first member creates it.
pub(crate) fn group(members: &[&str], invite: Option<InviteHash>) -> NewConversation {
    NewConversation {
        id: fresh_conversation(),
        kind: ConversationKind::Group,
        title: "".into(),
        creator: user(members[0]),
        members: members.iter().map(|id| user(id)).collect(),
        invite,
        created_at: UnixMillis::new(1),
    }
}

/// The direct conversation of two users.
pub(crate) fn direct(creator: &str, other: &str) -> NewConversation {
    NewConversation { kind: ConversationKind::Direct, ..group(&[creator, other], None) }
}

/// Makes one test of each clause.
macro_rules! contract_tests {
    ($open:expr) => {
        $crate::store::contract::contract_tests! { @each $open;
            clauses::seq_is_dense_from_one_in_each_conversation,
            clauses::writes_to_one_conversation_commit_and_answer_in_call_order,
            clauses::racing_writers_still_get_dense_seqs_in_callback_order,
            clauses::a_message_is_read_back_as_it_was_stored,
            clauses::a_repeat_is_answered_with_the_original,
            clauses::a_repeat_with_another_body_is_a_conflict,
            clauses::client_message_ids_are_the_senders_own_and_the_conversations_own,
            clauses::repeats_started_together_store_one_message,
            clauses::who_is_not_a_member_sees_nothing_and_writes_nothing,
            clauses::two_users_have_one_direct_conversation,
            clauses::direct_conversations_started_together_are_one,
            clauses::a_direct_conversation_has_the_others_name_and_no_owner,
            clauses::a_direct_conversation_cannot_be_left,
            clauses::unread_counts_others_messages_and_no_membership_events,
            clauses::marks_never_move_back_nor_past_the_head,
            clauses::sending_does_not_move_the_senders_mark,
            clauses::who_joins_reads_from_the_head_and_may_page_all_history,
            clauses::joining_twice_is_no_second_event,
            clauses::a_full_group_cannot_be_joined,
            clauses::an_unknown_invite_is_not_found,
            clauses::nobody_is_put_into_more_conversations_than_one_may_be_in,
            clauses::nobody_joins_more_conversations_than_one_may_be_in,
            clauses::what_exists_is_found_by_who_is_in_as_many_conversations_as_one_may_be,
            clauses::places_in_one_batch_are_counted_one_by_one,
            clauses::a_leaving_owner_hands_over_to_the_longest_standing_member,
            clauses::an_empty_group_goes_to_whoever_joins_next,
            clauses::who_left_may_come_back,
            clauses::names_are_those_of_the_last_login_or_the_id,
            clauses::last_seen_is_remembered,
            paging::conversations_page_by_latest_activity,
            paging::messages_page_in_both_directions,
            paging::messages_page_over_membership_events,
            paging::events_are_listed_without_a_gap,
            paging::a_room_opens_with_its_newest_events,
            clauses::reads_see_what_was_acknowledged,
            clauses::a_store_that_works_says_so,
            clauses::the_epoch_is_short_printable_text,
            durable::everything_survives_a_reopen,
            durable::repeats_are_recognised_after_a_reopen,
            durable::the_epoch_survives_a_reopen,
            durable::what_was_started_before_a_close_is_answered,
            random::agrees_with_the_model_one_at_a_time,
            random::agrees_with_the_model_in_bursts,
        }
    };
    (@each $open:expr; $($module:ident::$clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::store::contract::$module::$clause(&$open);
            }
        )*
    };
}
pub(crate) use contract_tests;
