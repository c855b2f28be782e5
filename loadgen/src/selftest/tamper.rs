//! Carries out a fault on the frames that a server sends. Pure: text in, texts out.

use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Fault;

/// How many frames that a fault could hit are let through first, so that it strikes in mid-traffic.
const LET_THROUGH: u32 = 40;
/// The same of pages of history, and of joins, of which there are fewer.
const LET_THROUGH_FEW: u32 = 4;
/// By how much everything is delayed in [`Fault::DelayAll`].
const DELAY: Duration = Duration::from_millis(400);
/// By how much one frame is, in [`Fault::DelayOne`]: others overtake it.
const OVERTAKEN: Duration = Duration::from_millis(700);
/// A message that nobody sent, and a conversation that nobody is in.
const NO_MESSAGE: &str = "0190f0d8-0000-7000-8000-000000000000";
const NO_CONVERSATION: &str = "0190f0d8-0000-7000-8000-00000000000f";
/// What nobody wrote.
const OTHER_TEXT: &str = "something else";

/// What becomes of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// To be sent on, in this order.
    pub(super) on: Vec<String>,
    /// What everything that passes here has to wait for, in line.
    pub(super) wait: Duration,
    /// To be sent after so long, out of line.
    pub(super) later: Option<(Duration, String)>,
}

impl Passed {
    fn on(text: &str) -> Self {
        Self::all([text.to_owned()])
    }

    fn all(on: impl Into<Vec<String>>) -> Self {
        Self { on: on.into(), ..Self::default() }
    }
}

/// Carries out one fault, over all connections of a run.
#[derive(Debug)]
pub(super) struct Tamper {
    fault: Fault,
    seen: u32,
    struck: bool,
    /// The connection that a lasting fault, or one in two steps, is about.
    victim: Option<u64>,
    /// Held back, or remembered.
    kept: Option<Value>,
}

impl Tamper {
    /// Will do this.
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, seen: 0, struck: false, victim: None, kept: None }
    }

    /// Whether it was done.
    pub(super) fn has_struck(&self) -> bool {
        self.struck || matches!(self.fault, Fault::None)
    }

    /// Passes a text of the server's on to `connection`.
    pub(super) fn pass(&mut self, connection: u64, text: &str) -> Passed {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Passed::on(text) };
        match self.fault {
            Fault::None => Passed::on(text),
            Fault::DelayAll => {
                self.struck = true;
                Passed { wait: DELAY, ..Passed::on(text) }
            }
            Fault::Silence => self.silence(connection, text, &value),
            Fault::StuckTyping => self.stick(connection, text, value),
            Fault::Reorder => self.reorder(connection, text, value),
            Fault::Double => self.double(connection, text, value),
            Fault::OtherReply => self.answer_for_another(text, value),
            Fault::Forget => self.forget(text, value),
            _ => {
                if self.struck || !self.is_target(&value) {
                    return Passed::on(text);
                }
                self.struck = true;
                self.strike(text, &mut value)
            }
        }
    }

    /// Whether the fault could hit this frame and enough have passed.
    fn is_target(&mut self, value: &Value) -> bool {
        let kind = value["type"].as_str().unwrap_or_default();
        let length = |list: &str| value["payload"][list].as_array().map_or(0, Vec::len);
        let (fits, let_through) = match self.fault {
            Fault::WrongReply | Fault::ZeroReply | Fault::OtherReply | Fault::SwallowReply => {
                (kind == "send_message", LET_THROUGH)
            }
            Fault::StuckTyping => (kind == "typing_stopped", 0),
            Fault::OtherEpoch => (kind == "join_conversation", LET_THROUGH_FEW),
            Fault::CutRecovery | Fault::HoleInRecovery | Fault::AlterRecovery => {
                (kind == "join_conversation" && value["payload"]["recovered"] == true && length("events") >= 2, 0)
            }
            Fault::EmptyPage | Fault::HoleInPage | Fault::ReorderPage | Fault::AlterPage | Fault::MisdirectPage => {
                (kind == "load_messages" && length("messages") >= 3, LET_THROUGH_FEW)
            }
            _ => (kind == "message_created", LET_THROUGH),
        };
        self.seen += u32::from(fits);
        fits && self.seen > let_through
    }

    fn strike(&self, text: &str, value: &mut Value) -> Passed {
        let payload = &mut value["payload"];
        match self.fault {
            Fault::Drop | Fault::SwallowReply => return Passed::default(),
            Fault::Repeat => return Passed::all([text.to_owned(), text.to_owned()]),
            Fault::DelayOne => return Passed { later: Some((OVERTAKEN, text.to_owned())), ..Passed::default() },
            Fault::Alter => payload["content"] = json!(OTHER_TEXT),
            Fault::Substitute => payload["id"] = json!(NO_MESSAGE),
            Fault::Misdirect => payload["conversationId"] = json!(NO_CONVERSATION),
            Fault::WrongReply => payload["message"]["seq"] = json!(payload["message"]["seq"].as_u64().unwrap_or(0) + 1),
            Fault::ZeroReply => payload["message"]["seq"] = json!(0),
            Fault::OtherEpoch => payload["epoch"] = json!("another"),
            Fault::CutRecovery => drop(payload["events"].as_array_mut().and_then(Vec::pop)),
            Fault::HoleInRecovery => drop(payload["events"].as_array_mut().map(|events| events.remove(0))),
            Fault::AlterRecovery => payload["events"][0]["payload"]["content"] = json!(OTHER_TEXT),
            Fault::EmptyPage => (payload["messages"], payload["hasMore"]) = (json!([]), json!(true)),
            // Not the first: a page may begin anywhere.
            Fault::HoleInPage => drop(payload["messages"].as_array_mut().map(|messages| messages.remove(1))),
            Fault::ReorderPage => payload["messages"].as_array_mut().into_iter().for_each(|messages| messages.swap(0, 1)),
            Fault::AlterPage => payload["messages"][1]["content"] = json!(OTHER_TEXT),
            Fault::MisdirectPage => payload["messages"][1]["conversationId"] = json!(NO_CONVERSATION),
            Fault::None | Fault::Silence | Fault::Reorder | Fault::DelayAll | Fault::Double => {}
            Fault::OtherReply | Fault::Forget | Fault::StuckTyping => {}
        }
        Passed::all([value.to_string()])
    }

    fn silence(&mut self, connection: u64, text: &str, value: &Value) -> Passed {
        if self.victim.is_none() && self.is_target(value) {
            self.victim = Some(connection);
            self.struck = true;
        }
        if self.victim == Some(connection) && value["type"] == "message_created" { Passed::default() } else { Passed::on(text) }
    }

    /// From the first end of somebody's typing on, one member hears nothing more of their typing.
    fn stick(&mut self, connection: u64, text: &str, value: Value) -> Passed {
        if self.kept.is_none() && self.is_target(&value) {
            (self.victim, self.kept, self.struck) = (Some(connection), Some(value), true);
            return Passed::default();
        }
        let is_typing = matches!(value["type"].as_str(), Some("typing_started" | "typing_stopped"));
        let same = |kept: &Value| ["conversationId", "userId"].iter().all(|name| kept["payload"][name] == value["payload"][name]);
        let swallowed = is_typing && self.victim == Some(connection) && self.kept.as_ref().is_some_and(same);
        if swallowed { Passed::default() } else { Passed::on(text) }
    }

    /// Holds one message back until the next of the same conversation has passed on the same connection.
    fn reorder(&mut self, connection: u64, text: &str, value: Value) -> Passed {
        if self.struck {
            return Passed::on(text);
        }
        let Some(held) = &self.kept else {
            if !self.is_target(&value) {
                return Passed::on(text);
            }
            self.victim = Some(connection);
            self.kept = Some(value);
            return Passed::default();
        };
        let same = value["payload"]["conversationId"] == held["payload"]["conversationId"];
        if self.victim != Some(connection) || value["type"] != "message_created" || !same {
            return Passed::on(text);
        }
        self.struck = true;
        Passed::all([text.to_owned(), held.to_string()])
    }

    /// Remembers one message and puts it in the place of a later one of the same conversation.
    fn double(&mut self, connection: u64, text: &str, mut value: Value) -> Passed {
        if self.struck || value["type"] != "message_created" {
            return Passed::on(text);
        }
        let Some(first) = &self.kept else {
            if self.is_target(&value) {
                self.victim = Some(connection);
                self.kept = Some(value);
            }
            return Passed::on(text);
        };
        let same = value["payload"]["conversationId"] == first["payload"]["conversationId"];
        if self.victim != Some(connection) || !same {
            return Passed::on(text);
        }
        self.struck = true;
        let seq = value["payload"]["seq"].clone();
        value["payload"] = first["payload"].clone();
        value["payload"]["seq"] = seq;
        Passed::all([value.to_string()])
    }

    /// Remembers the message of one reply and puts it into a later reply of the same conversation.
    fn answer_for_another(&mut self, text: &str, mut value: Value) -> Passed {
        if self.struck || value["type"] != "send_message" {
            return Passed::on(text);
        }
        let Some(first) = &self.kept else {
            if self.is_target(&value) {
                self.kept = Some(value["payload"]["message"].clone());
            }
            return Passed::on(text);
        };
        if value["payload"]["message"]["conversationId"] != first["conversationId"] {
            return Passed::on(text);
        }
        self.struck = true;
        value["payload"]["message"] = first.clone();
        Passed::all([value.to_string()])
    }

    /// Remembers one message and leaves it out of every page from then on.
    fn forget(&mut self, text: &str, mut value: Value) -> Passed {
        if self.kept.is_none() && self.is_target(&value) {
            self.kept = Some(value["payload"]["id"].clone());
        }
        let (Some(id), "load_messages") = (&self.kept, value["type"].as_str().unwrap_or_default()) else {
            return Passed::on(text);
        };
        let Some(messages) = value["payload"]["messages"].as_array_mut() else { return Passed::on(text) };
        let before = messages.len();
        messages.retain(|message| message["id"] != *id);
        self.struck |= messages.len() < before;
        Passed::all([value.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64) -> String {
        json!({"type": "message_created", "payload": {"conversationId": "c", "seq": seq, "id": format!("m-{seq}"), "content": "x"}}).to_string()
    }

    /// What reaches connection 1 of so many messages.
    fn passed(fault: Fault, count: u64) -> Vec<String> {
        strike(fault, (1..=count).map(message).collect())
    }

    /// What reaches connection 1 of these.
    fn strike(fault: Fault, texts: Vec<String>) -> Vec<String> {
        let mut tamper = Tamper::new(fault);
        let passed = texts.iter().flat_map(|text| tamper.pass(1, text).on).collect();
        assert!(tamper.has_struck(), "{fault:?}");
        passed
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn seqs(texts: &[String]) -> Vec<u64> {
        texts.iter().map(|text| read(text)["payload"]["seq"].as_u64().unwrap()).collect()
    }

    #[test]
    fn each_fault_strikes_once_and_as_it_says() {
        let at = u64::from(LET_THROUGH);
        assert_eq!(seqs(&passed(Fault::None, 50)), (1..=50).collect::<Vec<_>>());
        assert_eq!(seqs(&passed(Fault::Drop, 50)).len(), 49);
        assert_eq!(seqs(&passed(Fault::Silence, 50)).len() as u64, at);
        assert_eq!(seqs(&passed(Fault::Repeat, 50)).len(), 51);
        assert_eq!(seqs(&passed(Fault::Reorder, at + 2))[LET_THROUGH as usize..], [at + 2, at + 1]);
        assert_eq!(passed(Fault::Alter, 50).iter().filter(|text| text.contains(OTHER_TEXT)).count(), 1);
        assert_eq!(seqs(&passed(Fault::Double, 50)), (1..=50).collect::<Vec<_>>());
        let doubled = passed(Fault::Double, 50);
        assert_eq!(doubled.iter().filter(|text| text.contains(&format!("\"m-{}\"", at + 1))).count(), 2);
    }

    #[test]
    fn a_reply_is_changed_or_swallowed() {
        let reply = |seq: u64| {
            let message = json!({"conversationId": "c", "seq": seq, "id": format!("m-{seq}")});
            json!({"type": "send_message", "requestId": seq.to_string(), "payload": {"message": message}}).to_string()
        };
        let struck = |fault| strike(fault, (1..=u64::from(LET_THROUGH) + 2).map(reply).collect());
        let seqs = |texts: &[String]| -> Vec<u64> {
            texts[LET_THROUGH as usize..].iter().map(|text| read(text)["payload"]["message"]["seq"].as_u64().unwrap()).collect()
        };
        assert_eq!(seqs(&struck(Fault::WrongReply)), [42, 42]);
        assert_eq!(seqs(&struck(Fault::ZeroReply)), [0, 42]);
        assert_eq!(seqs(&struck(Fault::OtherReply)), [41, 41]);
        assert_eq!(read(&struck(Fault::OtherReply)[41])["requestId"], "42", "it answers what was asked");
        assert_eq!(seqs(&struck(Fault::SwallowReply)), [42]);
    }

    #[test]
    fn a_recovery_loses_an_event_or_has_another_text() {
        let event = |seq: u64| json!({"type": "message_created", "payload": {"seq": seq, "content": "x"}});
        let payload = json!({"epoch": "e", "recovered": true, "events": [event(1), event(2), event(3)]});
        let join = json!({"type": "join_conversation", "payload": payload}).to_string();
        let events = |fault| read(&strike(fault, vec![join.clone()])[0])["payload"]["events"].clone();
        assert_eq!(events(Fault::CutRecovery), json!([event(1), event(2)]));
        assert_eq!(events(Fault::HoleInRecovery), json!([event(2), event(3)]));
        assert_eq!(events(Fault::AlterRecovery)[0]["payload"]["content"], OTHER_TEXT);
        let joins = vec![join; LET_THROUGH_FEW as usize + 1];
        assert_eq!(read(strike(Fault::OtherEpoch, joins).last().unwrap())["payload"]["epoch"], "another");
    }

    #[test]
    fn a_page_is_misread_or_misses_what_was_delivered() {
        let of = |seq: u64| json!({"conversationId": "c", "seq": seq, "id": format!("m-{seq}"), "content": "x"});
        let payload = json!({"messages": [of(41), of(42), of(43)], "hasMore": false});
        let page = json!({"type": "load_messages", "payload": payload}).to_string();
        let pages = vec![page.clone(); LET_THROUGH_FEW as usize + 1];
        let last = |fault| read(strike(fault, pages.clone()).last().unwrap())["payload"].clone();
        assert_eq!(last(Fault::EmptyPage), json!({"messages": [], "hasMore": true}));
        assert_eq!(last(Fault::HoleInPage)["messages"], json!([of(41), of(43)]));
        assert_eq!(last(Fault::ReorderPage)["messages"], json!([of(42), of(41), of(43)]));
        assert_eq!(last(Fault::AlterPage)["messages"][1]["content"], OTHER_TEXT);
        assert_eq!(last(Fault::MisdirectPage)["messages"][1]["conversationId"], NO_CONVERSATION);
        let texts = (1..=50).map(message).chain([page]).collect();
        let forgotten = strike(Fault::Forget, texts);
        assert_eq!(seqs(&forgotten[..50]), (1..=50).collect::<Vec<_>>());
        assert_eq!(read(&forgotten[50])["payload"]["messages"], json!([of(42), of(43)]));
    }
}
