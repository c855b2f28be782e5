//! Invite codes: made from one key and the conversation's id, so that none is stored and each can be shown again.
//!
//! The store keeps only the hash of a code: whoever reads the database cannot join a group with what they find.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::{digest, hmac};

use super::secret_file;
use crate::protocol::ConversationId;

/// Name of the key's file inside the data directory.
const FILE_NAME: &str = "invite.key";
/// Keeps these codes apart from whatever else may once be derived from the key.
const CONTEXT: &[u8] = b"parlor invite v1";
/// 160 bits: far out of reach of guessing, and a whole number of base32 digits.
const CODE_BYTES: usize = 20;
/// Crockford's base32 in lower case (<https://www.crockford.com/base32.html>): no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The key that invite codes are made from. Its `Debug` does not show it.
pub struct InviteKey([u8; 32]);

impl InviteKey {
    /// Reads the key from `invite.key` in `dir`, or makes it there, readable by its owner only.
    ///
    /// # Errors
    /// When the file is readable by others or damaged, or with what the file system says.
    pub fn load_or_create(dir: &Path) -> io::Result<Self> {
        secret_file::load_or_create(&dir.join(FILE_NAME)).map(Self)
    }

    /// A key that lasts as long as the process: for a store that keeps nothing either.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        secret_file::random().map(Self)
    }

    /// The code of a group: 32 characters, always the same for the same key.
    pub fn code(&self, conversation: ConversationId) -> Box<str> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(CONTEXT);
        context.update(conversation.as_bytes());
        base32(&context.sign().as_ref()[..CODE_BYTES]).into()
    }
}

impl fmt::Debug for InviteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteKey(…)")
    }
}

/// SHA-256 of a code as people type it: blanks around it and hyphens do not count, nor does case, nor o for 0, nor i or l for 1.
pub fn invite_hash(code: &str) -> [u8; 32] {
    let normal: String = code
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect();
    let hash = digest::digest(&digest::SHA256, normal.as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Five bits for each digit, the first bits first. `bytes` comes in groups of five, so that none are left over.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for digit in (0..8).rev() {
            text.push(char::from(ALPHABET[(bits >> (5 * digit) & 31) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_digits_are_crockfords() {
        assert_eq!(base32(&[0, 0x44, 0x32, 0x14, 0xC7]), "01234567");
        assert_eq!(base32(&[0xFF; 5]), "zzzzzzzz");
        assert_eq!(base32(&[0x84, 0x65, 0x3A, 0x56, 0xD7]), "ghjkmnpq");
    }

    #[test]
    fn a_code_is_the_same_for_the_same_key_and_conversation_only() {
        let (one, two) = (ConversationId::from_bytes([1; 16]), ConversationId::from_bytes([2; 16]));
        let key = InviteKey([7; 32]);
        assert_eq!(key.code(one).len(), 32);
        assert_eq!(key.code(one), InviteKey([7; 32]).code(one));
        assert_ne!(key.code(one), key.code(two));
        assert_ne!(key.code(one), InviteKey([8; 32]).code(one));
        assert_ne!(InviteKey::random().unwrap().code(one), InviteKey::random().unwrap().code(one));
    }

    #[test]
    fn a_code_outlives_the_process_and_is_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let id = ConversationId::from_bytes([1; 16]);
        let key = InviteKey::load_or_create(dir.path()).unwrap();
        assert_eq!(InviteKey::load_or_create(dir.path()).unwrap().code(id), key.code(id));
        assert_eq!(format!("{key:?}"), "InviteKey(…)");
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        let code = InviteKey([7; 32]).code(ConversationId::from_bytes([1; 16]));
        let typed = format!(" {}-{}\n", code[..16].to_uppercase().replace('0', "O"), code[16..].replace('1', "l"));
        assert_eq!(invite_hash(&typed), invite_hash(&code));
        assert_ne!(invite_hash(&code[1..]), invite_hash(&code));
        // SHA-256("abc"), FIPS 180-2, appendix B.1.
        assert_eq!(secret_file::to_hex(&invite_hash("ABC"))[..16], *"ba7816bf8f01cfea");
    }
}
