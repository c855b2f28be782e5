//! Tokens for the connections, and the user that each of them names.

mod obtain;

use std::fs;
use std::path::Path;

use crate::fault::Fault;
pub(crate) use obtain::obtain;

/// A token and its user.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// As it goes over the wire.
    pub(crate) text: String,
    /// The `sub` claim.
    pub(crate) user: String,
}

/// Reads at least `count` tokens, one a line.
pub(crate) fn load(path: &Path, count: usize) -> Result<Vec<Token>, Fault> {
    let text = fs::read_to_string(path).map_err(Fault::while_doing(&path.display().to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(count);
    let tokens: Vec<Token> = lines.map(parse).collect::<Result<_, _>>()?;
    if tokens.len() < count {
        return Err(Fault::new(format!("{} holds {} tokens, {count} are needed", path.display(), tokens.len())));
    }
    Ok(tokens)
}

/// Tokens for servers that do not look at them: each is the user's id, and as long as a UUID.
pub(crate) fn made_up(count: usize) -> Vec<Token> {
    let named = |index: usize| format!("00000000-0000-4000-8000-{index:012}");
    (0..count).map(|index| Token { text: named(index), user: named(index) }).collect()
}

/// The signature is the server's to check; only the user's name is read.
fn parse(line: &str) -> Result<Token, Fault> {
    let user = line.split('.').nth(1).and_then(decode_base64url).and_then(|claims| subject(&claims));
    let user = user.ok_or_else(|| Fault::new("a line of the token file is not a JWT with a `sub`"))?;
    Ok(Token { text: line.to_owned(), user })
}

fn subject(claims: &[u8]) -> Option<String> {
    let claims = std::str::from_utf8(claims).ok()?;
    let after = claims.split_once("\"sub\"")?.1.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (user, _) = after.split_once('"')?;
    // A user id has no characters that JSON escapes; anything else is not ours to guess at.
    (!user.is_empty() && !user.contains('\\')).then(|| user.to_owned())
}

/// RFC 4648 section 5, without padding.
fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_read_from_the_claims() {
        // {"sub":"u-7","exp":4102444800}
        let token = parse("e30.eyJzdWIiOiJ1LTciLCJleHAiOjQxMDI0NDQ4MDB9.c2ln").unwrap();
        assert_eq!(token.user, "u-7");
    }

    #[test]
    fn lines_without_a_user_are_refused() {
        assert!(parse("hello").is_err());
        assert!(parse("e30.e30.c2ln").is_err());
        assert!(parse("e30.+/.c2ln").is_err());
    }
}
