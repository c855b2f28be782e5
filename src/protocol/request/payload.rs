//! The payload of each action (PROTOCOL.md section 4).

use super::fault::Fault;
use super::field::{Field, Object, Scope};
use super::{Action, ActionName, ConversationId, ErrorCode, PageRange, RequestLimits, Since};
use crate::protocol::limits::{
    DEFAULT_CONVERSATION_PAGE, DEFAULT_PAGE, MAX_CONVERSATION_PAGE, MAX_CURSOR_BYTES, MAX_EPOCH_BYTES, MAX_INVITE_CODE_BYTES,
    MAX_PAGE, MAX_TOKEN_BYTES,
};

/// Reads the payload of the action `name`. `echo` is where that of a `ping` is written.
pub(super) fn read<'a>(
    name: ActionName,
    payload: Object<'_, 'a>,
    limits: RequestLimits,
    echo: &'a mut Vec<u8>,
) -> Result<Action<'a>, Fault> {
    match name {
        ActionName::Auth => {
            let [token] = payload.unique_fields(["token"])?;
            Ok(Action::Auth { token: token.opaque(MAX_TOKEN_BYTES)? })
        }
        ActionName::Ping => {
            payload.encode(echo);
            Ok(Action::Ping { payload: echo })
        }
        ActionName::JoinConversation => join_conversation(payload),
        ActionName::LeaveConversation => Ok(Action::LeaveConversation { conversation: conversation(payload)? }),
        ActionName::SendMessage => send_message(payload, limits),
        ActionName::LoadConversations => load_conversations(payload),
        ActionName::LoadMessages => load_messages(payload),
        ActionName::TypingStart => Ok(Action::TypingStart { conversation: conversation(payload)? }),
        ActionName::TypingStop => Ok(Action::TypingStop { conversation: conversation(payload)? }),
        ActionName::MarkRead => {
            let [conversation, seq] = payload.unique_fields(["conversationId", "seq"])?;
            Ok(Action::MarkRead { conversation: conversation.conversation()?, seq: seq.seq()? })
        }
        ActionName::CreateConversation => create_conversation(payload),
        ActionName::CreateGroup => {
            let [name, member_ids] = payload.unique_fields(["name", "memberIds"])?;
            let member_ids = member_ids.if_present(|field| field.user_ids())?;
            Ok(Action::CreateGroup { name: name.visible_name()?, member_ids: member_ids.unwrap_or_default() })
        }
        ActionName::JoinGroup => {
            let [invite_code] = payload.unique_fields(["inviteCode"])?;
            Ok(Action::JoinGroup { invite_code: invite_code.opaque(MAX_INVITE_CODE_BYTES)? })
        }
        ActionName::LeaveGroup => Ok(Action::LeaveGroup { conversation: conversation(payload)? }),
    }
}

/// A payload that is a `conversationId` and nothing else.
fn conversation(payload: Object<'_, '_>) -> Result<ConversationId, Fault> {
    let [conversation] = payload.unique_fields(["conversationId"])?;
    conversation.conversation()
}

fn join_conversation<'a>(payload: Object<'_, 'a>) -> Result<Action<'a>, Fault> {
    let [conversation, since, limit] = payload.unique_fields(["conversationId", "since", "limit"])?;
    let conversation = conversation.conversation()?;
    let since = since.if_present(read_since)?;
    let limit = limit.if_present(|field| field.page_limit(MAX_PAGE))?;
    Ok(Action::JoinConversation { conversation, since, limit: limit.unwrap_or(DEFAULT_PAGE) })
}

fn read_since<'a>(since: Field<'_, 'a>) -> Result<Since<'a>, Fault> {
    let [epoch, seq] = since.object(Scope::Since)?.unique_fields(["epoch", "seq"])?;
    Ok(Since { epoch: epoch.opaque(MAX_EPOCH_BYTES)?, seq: seq.seq()? })
}

fn send_message<'a>(payload: Object<'_, 'a>, limits: RequestLimits) -> Result<Action<'a>, Fault> {
    let names = ["conversationId", "content", "clientMessageId", "replyTo"];
    let [conversation, content, client_message_id, reply_to] = payload.unique_fields(names)?;
    Ok(Action::SendMessage {
        conversation: conversation.conversation()?,
        content: content.text(limits.max_content_chars)?,
        client_message_id: client_message_id.if_present(|field| field.client_message_id())?,
        reply_to: reply_to.if_present(|field| field.message())?,
    })
}

fn load_conversations<'a>(payload: Object<'_, 'a>) -> Result<Action<'a>, Fault> {
    let [limit, cursor] = payload.unique_fields(["limit", "cursor"])?;
    let limit = limit.if_present(|field| field.page_limit(MAX_CONVERSATION_PAGE))?;
    let cursor = cursor.if_present(|field| field.opaque(MAX_CURSOR_BYTES))?;
    Ok(Action::LoadConversations { limit: limit.unwrap_or(DEFAULT_CONVERSATION_PAGE), cursor })
}

fn load_messages<'a>(payload: Object<'_, 'a>) -> Result<Action<'a>, Fault> {
    let [conversation, before, after, limit] = payload.unique_fields(["conversationId", "before", "after", "limit"])?;
    let conversation = conversation.conversation()?;
    let before = before.if_present(|field| field.seq())?;
    let after = after.if_present(|field| field.seq())?;
    let range = match (before, after) {
        (None, None) => PageRange::Latest,
        (Some(before), None) => PageRange::Before(before),
        (None, Some(after)) => PageRange::After(after),
        (Some(_), Some(_)) => {
            return Err(Fault::new(ErrorCode::InvalidPayload, "payload.before and payload.after must not come together"));
        }
    };
    let limit = limit.if_present(|field| field.page_limit(MAX_PAGE))?;
    Ok(Action::LoadMessages { conversation, range, limit: limit.unwrap_or(DEFAULT_PAGE) })
}

fn create_conversation<'a>(payload: Object<'_, 'a>) -> Result<Action<'a>, Fault> {
    let [member_ids, title] = payload.unique_fields(["memberIds", "title"])?;
    let ids = member_ids.user_ids()?;
    if ids.is_empty() {
        return Err(member_ids.wrong("must name at least one user"));
    }
    Ok(Action::CreateConversation { member_ids: ids, title: title.if_present(|field| field.visible_name())? })
}
