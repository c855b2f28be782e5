//! What can be done to the frames that a server sends, and what the verifier must say to it. Pure: text in, texts out.

use std::time::Duration;

use serde_json::{Value, json};

/// How many frames that a fault could hit are let through first, so that it strikes in mid-traffic.
const LET_THROUGH: u32 = 40;
/// By how much everything is delayed in [`Fault::DelayAll`].
const DELAY: Duration = Duration::from_millis(400);
/// By how much one frame is, in [`Fault::DelayOne`]: others overtake it.
const OVERTAKEN: Duration = Duration::from_millis(700);

/// Something that goes wrong once, or for one connection from some moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: the run must pass.
    None,
    /// A message does not arrive.
    Drop,
    /// From some moment on no message arrives at one connection.
    Silence,
    /// A message arrives twice in a row.
    Repeat,
    /// Two messages of a conversation arrive in the wrong order.
    Reorder,
    /// A message arrives after those that followed it.
    DelayOne,
    /// Everything arrives late.
    DelayAll,
    /// A message arrives with another text.
    Alter,
    /// A message arrives at one member with another identity.
    Substitute,
    /// A message takes the place of a later one, so that it is there twice.
    Double,
    /// A message arrives under the name of a conversation that nobody is in.
    Misdirect,
    /// A reply names a place that is not the message's.
    WrongReply,
    /// A resumed join leaves out its last event.
    CutRecovery,
    /// A resumed join leaves out an event in the middle.
    HoleInRecovery,
    /// The end of somebody's typing does not arrive.
    StuckTyping,
}

impl Fault {
    /// All, the honest run first.
    pub(super) const ALL: [Self; 15] = [
        Self::None,
        Self::Drop,
        Self::Silence,
        Self::Repeat,
        Self::Reorder,
        Self::DelayOne,
        Self::DelayAll,
        Self::Alter,
        Self::Substitute,
        Self::Double,
        Self::Misdirect,
        Self::WrongReply,
        Self::CutRecovery,
        Self::HoleInRecovery,
        Self::StuckTyping,
    ];

    /// What is done, in a few words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing is done",
            Self::Drop => "a message is dropped",
            Self::Silence => "one connection gets no more messages",
            Self::Repeat => "a message is repeated",
            Self::Reorder => "two messages are reordered",
            Self::DelayOne => "a message is delayed past others",
            Self::DelayAll => "everything is delayed by 400 ms",
            Self::Alter => "a text is altered",
            Self::Substitute => "a message is replaced for one member",
            Self::Double => "a message takes a second place",
            Self::Misdirect => "a message is misdirected",
            Self::WrongReply => "a reply names another place",
            Self::CutRecovery => "a recovery is cut short",
            Self::HoleInRecovery => "a recovery has a hole",
            Self::StuckTyping => "the end of typing is dropped",
        }
    }

    /// The kinds of breach of which one must be found; empty where none may be.
    pub(super) const fn caught_as(self) -> &'static [&'static str] {
        match self {
            Self::None | Self::DelayAll => &[],
            Self::Drop => &["gap"],
            // Whether anything was acknowledged after the last message seen is all that can be told.
            Self::Silence => &["missing", "unrecovered"],
            Self::Repeat => &["repeat"],
            Self::Reorder | Self::DelayOne => &["gap"],
            Self::Alter => &["altered"],
            Self::Substitute => &["order", "wrong_ack"],
            Self::Double => &["doubled"],
            Self::Misdirect => &["foreign"],
            Self::WrongReply => &["wrong_ack"],
            Self::CutRecovery => &["unrecovered"],
            Self::HoleInRecovery => &["gap"],
            Self::StuckTyping => &["typing_stuck"],
        }
    }
}

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
        let (fits, let_through) = match self.fault {
            Fault::WrongReply => (kind == "send_message", LET_THROUGH),
            Fault::StuckTyping => (kind == "typing_stopped", 0),
            Fault::CutRecovery | Fault::HoleInRecovery => {
                let events = value["payload"]["events"].as_array().map_or(0, Vec::len);
                (kind == "join_conversation" && value["payload"]["recovered"] == true && events >= 2, 0)
            }
            _ => (kind == "message_created", LET_THROUGH),
        };
        self.seen += u32::from(fits);
        fits && self.seen > let_through
    }

    fn strike(&self, text: &str, value: &mut Value) -> Passed {
        let payload = &mut value["payload"];
        match self.fault {
            Fault::Drop => return Passed::default(),
            Fault::Repeat => return Passed::all([text.to_owned(), text.to_owned()]),
            Fault::DelayOne => return Passed { later: Some((OVERTAKEN, text.to_owned())), ..Passed::default() },
            Fault::Alter => payload["content"] = json!("something else"),
            Fault::Substitute => payload["id"] = json!("0190f0d8-0000-7000-8000-000000000000"),
            Fault::Misdirect => payload["conversationId"] = json!("0190f0d8-0000-7000-8000-00000000000f"),
            Fault::WrongReply => payload["message"]["seq"] = json!(payload["message"]["seq"].as_u64().unwrap_or(0) + 1),
            Fault::CutRecovery => drop(payload["events"].as_array_mut().and_then(Vec::pop)),
            Fault::HoleInRecovery => drop(payload["events"].as_array_mut().map(|events| events.remove(0))),
            Fault::None | Fault::Silence | Fault::Reorder | Fault::DelayAll | Fault::Double | Fault::StuckTyping => {}
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64) -> String {
        json!({"type": "message_created", "payload": {"conversationId": "c", "seq": seq, "id": format!("m-{seq}"), "content": "x"}}).to_string()
    }

    /// What reaches connection 1 of so many messages.
    fn passed(fault: Fault, count: u64) -> Vec<String> {
        let mut tamper = Tamper::new(fault);
        let texts = (1..=count).flat_map(|seq| tamper.pass(1, &message(seq)).on).collect();
        assert!(tamper.has_struck(), "{fault:?}");
        texts
    }

    fn seqs(texts: &[String]) -> Vec<u64> {
        texts.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["payload"]["seq"].as_u64().unwrap()).collect()
    }

    #[test]
    fn each_fault_strikes_once_and_as_it_says() {
        let at = u64::from(LET_THROUGH);
        assert_eq!(seqs(&passed(Fault::None, 50)), (1..=50).collect::<Vec<_>>());
        assert_eq!(seqs(&passed(Fault::Drop, 50)).len(), 49);
        assert_eq!(seqs(&passed(Fault::Silence, 50)).len() as u64, at);
        assert_eq!(seqs(&passed(Fault::Repeat, 50)).len(), 51);
        assert_eq!(seqs(&passed(Fault::Reorder, at + 2))[LET_THROUGH as usize..], [at + 2, at + 1]);
        assert_eq!(passed(Fault::Alter, 50).iter().filter(|text| text.contains("something else")).count(), 1);
        assert_eq!(seqs(&passed(Fault::Double, 50)), (1..=50).collect::<Vec<_>>());
        let doubled = passed(Fault::Double, 50);
        assert_eq!(doubled.iter().filter(|text| text.contains(&format!("\"m-{}\"", at + 1))).count(), 2);
    }

    #[test]
    fn a_recovery_loses_an_event() {
        let join = json!({"type": "join_conversation", "payload": {"recovered": true, "events": [1, 2, 3]}}).to_string();
        let cut = Tamper::new(Fault::CutRecovery).pass(1, &join).on;
        assert!(cut[0].contains("[1,2]"), "{cut:?}");
        let hole = Tamper::new(Fault::HoleInRecovery).pass(1, &join).on;
        assert!(hole[0].contains("[2,3]"), "{hole:?}");
    }
}
