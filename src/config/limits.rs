//! Relations between limits: what each alone allows, but not all together.

use super::ConfigFaults;
use crate::protocol::Limits;
use crate::protocol::limits::{HARD_MAX_MESSAGE_BYTES, OFF};

/// Least size of a message, in bytes: below it not even a token fits.
const MIN_MESSAGE_BYTES: usize = 1024;

/// Fills in what "off" means where memory must stay bounded, then adds a fault for each relation that does not hold.
pub(super) fn checked(mut limits: Limits, faults: &mut ConfigFaults) -> Limits {
    if limits.max_message_bytes == OFF {
        limits.max_message_bytes = HARD_MAX_MESSAGE_BYTES;
    }
    if limits.max_unauthenticated_bytes == OFF {
        limits.max_unauthenticated_bytes = limits.max_message_bytes;
    }
    check_sizes(&limits, faults);
    check_rates(&limits, faults);
    for (flag, time) in [("--typing-lease", limits.typing_lease), ("--drain-time", limits.drain_time)] {
        if time.is_zero() {
            faults.add(flag, "is 0", "give a time of more than 0, such as 6s");
        }
    }
    limits
}

fn check_sizes(limits: &Limits, faults: &mut ConfigFaults) {
    let (message, before_auth) = (limits.max_message_bytes, limits.max_unauthenticated_bytes);
    if message > HARD_MAX_MESSAGE_BYTES {
        faults.add("--max-message-bytes", format!("{message} is more than 16m"), "give at most 16m, or 0 for that");
    }
    for (flag, bytes) in [("--max-message-bytes", message), ("--max-unauthenticated-bytes", before_auth)] {
        if bytes < MIN_MESSAGE_BYTES {
            faults.add(flag, format!("a token does not fit into {bytes} bytes"), "give at least 1k");
        }
    }
    if before_auth > message {
        let problem = format!("{before_auth} is more than --max-message-bytes, {message}");
        faults.add("--max-unauthenticated-bytes", problem, "lower it too, or give 0 to make them the same");
    }
    if limits.max_outbox_bytes < message {
        let problem = format!("{} is less than --max-message-bytes, {message}", limits.max_outbox_bytes);
        faults.add("--max-outbox-bytes", problem, "raise it: one large message would close every receiver");
    }
}

fn check_rates(limits: &Limits, faults: &mut ConfigFaults) {
    for (flag, rate, burst) in [
        ("--message-burst", limits.messages_per_second, limits.message_burst),
        ("--action-burst", limits.actions_per_second, limits.action_burst),
    ] {
        if rate > 0 && burst == 0 {
            faults.add(flag, "0 lets nothing through", "give at least 1, or set the rate to 0 for no limit");
        }
    }
}
