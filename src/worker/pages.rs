//! Pages of messages and of conversations: asked of the store, and ended where they become too long for one reply.

use std::sync::Arc;

use crate::protocol::limits::MAX_REPLY_BYTES;
use crate::protocol::request::PageRange;
use crate::protocol::{Conversation, ConversationId, ErrorCode, IdTime, Message, Role, encode};
use crate::store::{ConversationCursor, ConversationPage, ConversationView, MessagePage, MessageRange, StoreError};

use super::context::Context;
use super::input::{Asker, ConnectionKey, Input, SessionInput};
use super::sessions::Sessions;

impl Sessions {
    pub(super) fn load_messages(
        &mut self,
        key: ConnectionKey,
        asker: Asker,
        conversation: ConversationId,
        range: PageRange,
        limit: usize,
        context: &mut Context,
    ) {
        self.start_waiting(key, asker.action);
        let range = match range {
            PageRange::Latest => MessageRange::Latest,
            PageRange::Before(seq) => MessageRange::Before(seq),
            PageRange::After(seq) => MessageRange::After(seq),
        };
        let (mailbox, user) = (context.mailbox(), asker.user.clone());
        let done = Box::new(move |result| mailbox.send(Input::Session(SessionInput::MessagesLoaded(asker, range, result))));
        context.shared.store.load_messages(conversation, user, range, limit, done);
    }

    pub(super) fn handle_messages_loaded(
        &mut self,
        asker: &Asker,
        range: MessageRange,
        result: Result<MessagePage, StoreError>,
        context: &mut Context,
    ) {
        match result.map(|page| fit(page, range)) {
            Ok(page) => context.reply(asker, |out| {
                let mut object = encode::Object::begin(out);
                object.array("messages", &page.messages, |out, message: &Arc<Message>| encode::message(out, message));
                object.boolean("hasMore", page.has_more).end();
            }),
            Err(error) => context.refuse_by_store(asker, error),
        }
    }

    pub(super) fn load_conversations(
        &mut self,
        key: ConnectionKey,
        asker: Asker,
        limit: usize,
        cursor: Option<&str>,
        context: &mut Context,
    ) {
        let cursor = match cursor.map(parse_cursor) {
            Some(None) => {
                let message = "payload.cursor must be a nextCursor of an earlier reply";
                return self.refuse_misdeed(key, asker.request_id.as_deref(), ErrorCode::InvalidPayload, message, context);
            }
            Some(Some(cursor)) => Some(cursor),
            None => None,
        };
        self.start_waiting(key, asker.action);
        let (mailbox, user) = (context.mailbox(), asker.user.clone());
        let done = Box::new(move |result| mailbox.send(Input::Session(SessionInput::ConversationsLoaded(asker, result))));
        context.shared.store.load_conversations(user, cursor, limit, done);
    }

    pub(super) fn handle_conversations_loaded(
        &mut self,
        asker: &Asker,
        result: Result<ConversationPage, StoreError>,
        context: &mut Context,
    ) {
        let page = match result {
            Ok(page) => fit_conversations(page),
            Err(error) => return context.refuse_by_store(asker, error),
        };
        let conversations: Vec<Conversation> = page.conversations.iter().map(|view| as_seen(view, context)).collect();
        context.reply(asker, |out| {
            let mut object = encode::Object::begin(out);
            object.array("conversations", &conversations, encode::conversation);
            if let Some(next) = page.next {
                object.string("nextCursor", &format_cursor(next));
            }
            object.end();
        });
    }
}

/// Ends a page where it becomes too long for one reply, in the direction of reading. At least one message stays.
fn fit(mut page: MessagePage, range: MessageRange) -> MessagePage {
    let mut room = MAX_REPLY_BYTES;
    let mut fits = |message: &Arc<Message>| {
        let is_first = room == MAX_REPLY_BYTES;
        room = room.saturating_sub(message.wire_size());
        is_first || room > 0
    };
    let kept = match range {
        MessageRange::After(_) => page.messages.iter().take_while(|message| fits(message)).count(),
        MessageRange::Latest | MessageRange::Before(_) => page.messages.iter().rev().take_while(|message| fits(message)).count(),
    };
    if kept < page.messages.len() {
        page.has_more = true;
        match range {
            MessageRange::After(_) => page.messages.truncate(kept),
            MessageRange::Latest | MessageRange::Before(_) => drop(page.messages.drain(..page.messages.len() - kept)),
        }
    }
    page
}

/// As [`fit`]: the next page starts after the last conversation that fits.
fn fit_conversations(mut page: ConversationPage) -> ConversationPage {
    const FIELDS: usize = 1_024;
    let mut room = MAX_REPLY_BYTES;
    let mut fits = |view: &&ConversationView| {
        let is_first = room == MAX_REPLY_BYTES;
        let size = FIELDS + 6 * view.title.len() + view.last_message.as_ref().map_or(0, |message| message.wire_size());
        room = room.saturating_sub(size);
        is_first || room > 0
    };
    let kept = page.conversations.iter().take_while(|view| fits(view)).count();
    if kept < page.conversations.len() {
        page.conversations.truncate(kept);
        page.next = page.conversations.last().map(|view| ConversationCursor {
            active_at: view.last_message.as_ref().map_or(view.id.time(), |message| message.id.time()),
            conversation: view.id,
        });
    }
    page
}

/// A stored conversation as the wire shows it to the member who asked.
fn as_seen(view: &ConversationView, context: &Context) -> Conversation {
    let is_owner = view.role == Role::Owner;
    Conversation {
        id: view.id,
        kind: view.kind,
        title: view.title.clone(),
        member_count: view.member_count,
        head: view.head,
        last_message: view.last_message.clone(),
        read_seq: view.read_seq,
        unread_count: view.unread,
        created_at: view.created_at,
        invite_code: view.invite.filter(|_| is_owner).and_then(|hash| context.invite_code(view.id, &hash)),
    }
}

/// Opaque to clients: when the last conversation of the page was active, and which it is.
fn format_cursor(cursor: ConversationCursor) -> String {
    format!("{}.{}", cursor.active_at.get(), cursor.conversation)
}

fn parse_cursor(text: &str) -> Option<ConversationCursor> {
    let (active_at, conversation) = text.split_once('.')?;
    Some(ConversationCursor {
        active_at: IdTime::new(active_at.parse().ok()?),
        conversation: ConversationId::parse(conversation).ok()?,
    })
}
