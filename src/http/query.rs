//! Query parameters of a request.

/// A query parameter, decoded (<https://url.spec.whatwg.org/#urlencoded-parsing>); `None` if it is missing or not UTF-8.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_percent_decoded() {
        assert_eq!(parameter("sub=a%40b.c&name=Al+%C3%A9", "sub"), Some("a@b.c".into()));
        assert_eq!(parameter("sub=a&name=Al+%C3%A9", "name"), Some("Al é".into()));
        assert_eq!(parameter("sub=100%&x", "sub"), Some("100%".into()));
        assert_eq!(parameter("sub=%ff", "sub"), None);
        assert_eq!(parameter("", "sub"), None);
    }
}
