//! Identifiers that are valid by construction.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Why a string is not an identifier. The text is shown to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// Not the hyphenated, 36 character form of a UUID.
    NotUuid,
    /// Empty, longer than 128 bytes, or with a byte outside `A-Z a-z 0-9 . _ : @ | -`.
    NotUserId,
    /// Not below 2^53, the largest range a JSON number carries exactly (RFC 8259, section 6).
    NotSeq,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUuid => "must be a UUID of 36 characters",
            Self::NotUserId => "must be 1 to 128 bytes out of A-Z a-z 0-9 . _ : @ | -",
            Self::NotSeq => "must be an integer from 0 to 2^53 - 1",
        })
    }
}

impl std::error::Error for IdError {}

/// The time in a UUIDv7: its first 64 bits, which sort by time to a quarter of a microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdTime(u64);

impl IdTime {
    /// Takes the bits as [`IdTime::get`] gave them.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits: 48 of milliseconds since 1970, 4 of version, 12 of fraction.
    pub const fn get(self) -> u64 {
        self.0
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes the sixteen bytes of a UUID as they are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Builds a UUIDv7 (RFC 9562, section 5.7) from a time and ten random bytes. The first twelve bits after the
            /// milliseconds are their fraction (section 6.2, method 3), so that ids sort by time to a quarter of a microsecond.
            pub fn new_v7(at: std::time::Duration, mut random: [u8; 10]) -> Self {
                let fraction = u64::from(at.subsec_nanos() % 1_000_000) * 4_096 / 1_000_000;
                random[0] = (fraction >> 8) as u8;
                random[1] = (fraction & 0xff) as u8;
                let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into_bytes())
            }

            /// When it was made.
            pub const fn time(&self) -> IdTime {
                let [a, b, c, d, e, f, g, h, ..] = self.0;
                IdTime(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }

            /// The sixteen bytes, in network order, so that they sort by time.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the hyphenated form, in either case.
            ///
            /// # Errors
            /// [`IdError::NotUuid`] for every other string.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if text.len() != 36 {
                    return Err(IdError::NotUuid);
                }
                let uuid = Uuid::try_parse(text).map_err(|_| IdError::NotUuid)?;
                Ok(Self(uuid.into_bytes()))
            }

            /// Appends the hyphenated lower-case form, without allocating beyond `out`.
            pub fn encode(&self, out: &mut Vec<u8>) {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                out.extend_from_slice(Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut text).as_bytes());
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id! {
    /// Names a conversation: a UUIDv7 chosen by the server.
    ConversationId
}
uuid_id! {
    /// Names a message: a UUIDv7 chosen by the server.
    MessageId
}

/// Names a user: the `sub` of their token, 1 to 128 bytes out of `A-Z a-z 0-9 . _ : @ | -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Longest user id, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks and copies `text`.
    ///
    /// # Errors
    /// [`IdError::NotUserId`] when it is empty, too long, or has a byte outside the alphabet.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._:@|-".contains(b);
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.as_bytes().iter().all(allowed) {
            return Err(IdError::NotUserId);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself, for a name that falls back to the id.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A position in a conversation's log. The first event has 1; 0 is the position before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(u64);

impl Seq {
    /// The position before the first event.
    pub const ZERO: Self = Self(0);
    /// The largest seq: 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Checks the range.
    ///
    /// # Errors
    /// [`IdError::NotSeq`] from 2^53 on.
    pub const fn new(value: u64) -> Result<Self, IdError> {
        if value > Self::MAX.0 { Err(IdError::NotSeq) } else { Ok(Self(value)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one. A log ends at 2^53 - 1; at a million events a second that is 285 years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_outside_the_alphabet_are_refused() {
        for bad in ["", " ", "a b", "ä", "a/b", "a\0", &"x".repeat(129)] {
            assert_eq!(UserId::parse(bad), Err(IdError::NotUserId), "{bad:?}");
        }
        for good in ["a", "auth0|5f7c", "a.b_c:d@e-F9", &"x".repeat(128)] {
            assert!(UserId::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn only_the_hyphenated_form_is_a_conversation_id() {
        let text = "0190f0d8-0000-7000-8000-00000000000a";
        let id = ConversationId::parse(text).expect("a UUID");
        assert_eq!(id.to_string(), text);
        assert_eq!(ConversationId::parse(&text.to_uppercase()), Ok(id));
        for bad in [
            "",
            "0190f0d8000070008000000000000000",
            "{0190f0d8-0000-7000-8000-00000000000a}",
            "zz90f0d8-0000-7000-8000-00000000000a",
        ] {
            assert_eq!(ConversationId::parse(bad), Err(IdError::NotUuid), "{bad:?}");
        }
    }

    #[test]
    fn ids_sort_by_time_within_a_millisecond() {
        let at = |nanos| ConversationId::new_v7(std::time::Duration::from_nanos(nanos), [0xff; 10]);
        let (first, second) = (at(1_795_512_600_000_100_000), at(1_795_512_600_000_101_000));
        assert!(first < second, "{first} {second}");
        assert_eq!(first.to_string().as_bytes()[14], b'7');
    }

    #[test]
    fn seq_ends_below_two_to_the_53() {
        assert!(Seq::new((1 << 53) - 1).is_ok());
        assert_eq!(Seq::new(1 << 53), Err(IdError::NotSeq));
    }
}
