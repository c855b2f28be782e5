//! A log event as the one frame that all its receivers share.

use std::sync::Arc;

use super::frame::FrameBuilder;
use super::{LogEvent, UnixMillis, encode};

/// A complete WebSocket frame with a log event, and where in it the payload stands, so that a join reply can quote it.
#[derive(Clone, Debug)]
pub struct EventFrame {
    /// The event's name.
    pub name: &'static str,
    /// Header and text.
    pub frame: Arc<[u8]>,
    payload_at: usize,
}

impl EventFrame {
    /// Encodes `event` once, for everybody.
    pub fn encode(builder: &mut FrameBuilder, event: &LogEvent, now: UnixMillis) -> Self {
        let name = encode::log_event_name(event);
        let text = builder.begin();
        let before = text.len();
        let mut payload_len = 0;
        encode::event(text, name, now, |out| {
            let start = out.len();
            encode::log_event_payload(out, event);
            payload_len = out.len() - start;
        });
        debug_assert!(text.len() > before + payload_len);
        let frame: Arc<[u8]> = Arc::from(builder.finish());
        // The payload is the envelope's last field, so that only the envelope's closing brace follows it.
        let payload_at = frame.len() - 1 - payload_len;
        Self { name, frame, payload_at }
    }

    /// The payload object alone.
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload_at..self.frame.len() - 1]
    }
}
