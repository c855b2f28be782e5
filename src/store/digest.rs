//! What a message is found by when it may have been sent before: 64 bits of SHA-256, a quarter of the size of what they stand for.
//! Messages that share a digest by accident are told apart by what it was made of; nobody can find many that do.

use aws_lc_rs::digest::{Context, SHA256};

use crate::protocol::{MessageId, UserId};

/// Stands for a sender and their client message id.
pub(super) fn client_digest(sender: &UserId, client_message_id: &str) -> i64 {
    // No user id holds a NUL, so that no two pairs run together to the same bytes.
    digest(&[sender.as_str().as_bytes(), &[0], client_message_id.as_bytes()])
}

/// Stands for a message whose sender gave it no id of their own. No user id begins with a NUL.
pub(super) fn message_digest(id: MessageId) -> i64 {
    digest(&[&[0], id.as_bytes()])
}

fn digest(parts: &[&[u8]]) -> i64 {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(first)
}
