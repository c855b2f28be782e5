//! Which web pages may connect. A browser sends `Origin` with every WebSocket handshake and lets no page change it; the
//! same-origin policy does not cover WebSockets (RFC 6455, section 10.2), so that the server must look.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Decides by the `Origin` and `Host` of a handshake. Who sends no `Origin` is no browser and is always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Any origin, `null` included.
    Any,
    /// Exactly these, written as browsers write them.
    Listed(Vec<String>),
    /// The page comes from the address that it connects to.
    SameOrigin,
    /// The page comes from this machine. A page of any other name is refused even if it came from the address it connects to:
    /// a name that an attacker points at 127.0.0.1 must not get at a development server, which hands out tokens.
    Loopback,
}

impl OriginPolicy {
    /// Whether a handshake with these headers may go on.
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        match self {
            Self::Any => true,
            Self::Listed(list) => parse(origin).is_ok_and(|origin| list.contains(&origin)),
            Self::SameOrigin => is_same_origin(origin, host),
            Self::Loopback => parse(origin).is_ok_and(|origin| is_loopback(authority(&origin))),
        }
    }
}

/// Whether a `Host` header names this machine: `localhost`, a name under it, 127.0.0.0/8 or `[::1]`, with any port.
pub fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, _)| address.parse() == Ok(Ipv6Addr::LOCALHOST));
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let address = name.parse::<Ipv4Addr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Checks an origin and writes it as browsers do (RFC 6454, section 6.1): lower case, without the scheme's own port.
///
/// # Errors
/// What is wrong with it, for the operator.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    let text = text.to_ascii_lowercase();
    if text == "null" {
        return Err("stands for any sandboxed page or local file");
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err("has no scheme: write it like https://app.example.com");
    };
    let starts_well = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte)) {
        return Err("has no scheme: write it like https://app.example.com");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("has a path: end it after the host or port");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_address = |inner: &str| inner.parse::<Ipv6Addr>().is_ok();
    let is_v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_address);
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_v6 && !is_name {
        return Err("has no proper host: no wildcard, no user, non-ASCII names as xn--");
    }
    let digits_only = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        None => Ok(text),
        Some(port) if !digits_only(port) || port.parse::<u16>().is_err() => Err("has no proper port: 1 to 65535"),
        Some(port) if port == default_port(scheme) => Ok(format!("{scheme}://{host}")),
        Some(_) => Ok(text),
    }
}

fn is_same_origin(origin: &str, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (parse(origin), host) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    parse(&format!("{scheme}://{host}")).is_ok_and(|here| self::authority(&here) == authority)
}

fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or("", |(_, authority)| authority)
}

fn default_port(scheme: &str) -> &'static str {
    match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Option<&str> = Some("chat.example.com");

    #[test]
    fn clients_without_an_origin_are_allowed_by_every_policy() {
        for policy in [OriginPolicy::Any, OriginPolicy::Listed(vec![]), OriginPolicy::SameOrigin, OriginPolicy::Loopback] {
            assert!(policy.allows(None, HOST), "{policy:?}");
        }
    }

    #[test]
    fn a_list_is_matched_exactly() {
        let policy = OriginPolicy::Listed(vec![parse("https://App.example.com:443").unwrap()]);
        for good in ["https://app.example.com", "https://APP.example.com", "https://app.example.com:443"] {
            assert!(policy.allows(Some(good), HOST), "{good}");
        }
        for bad in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://evil-app.example.com",
            "https://a.app.example.com",
            "https://app.example.com@evil.test",
            "https://app.example.com/",
            "https://chat.example.com",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!policy.allows(Some(bad), HOST), "{bad}");
        }
    }

    #[test]
    fn same_origin_compares_host_and_port() {
        let policy = OriginPolicy::SameOrigin;
        for (origin, host) in [
            ("https://chat.example.com", "chat.example.com"),
            ("https://chat.example.com", "Chat.Example.com:443"),
            ("http://chat.example.com:80", "chat.example.com"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(policy.allows(Some(origin), Some(host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.test", "chat.example.com"),
            ("https://chat.example.com:8443", "chat.example.com"),
            ("http://chat.example.com", "chat.example.com:443"),
            ("http://localhost:3000", "localhost:8080"),
            ("https://chat.example.com", ""),
            ("null", "null"),
        ] {
            assert!(!policy.allows(Some(origin), Some(host)), "{origin} {host}");
        }
        assert!(!policy.allows(Some("https://chat.example.com"), None));
    }

    #[test]
    fn loopback_pages_on_any_port_may_use_a_development_server() {
        let policy = OriginPolicy::Loopback;
        for good in
            ["http://localhost:5173", "https://localhost", "http://127.0.0.1:8080", "http://[::1]:3000", "http://app.localhost"]
        {
            assert!(policy.allows(Some(good), Some("127.0.0.1:8080")), "{good}");
        }
        for (bad, host) in [
            ("http://rebound.evil.test:8080", "rebound.evil.test:8080"),
            ("http://localhost.evil.test", "localhost.evil.test"),
            ("http://127.0.0.1.evil.test", "127.0.0.1:8080"),
            ("http://[::2]", "[::1]"),
            ("null", "localhost"),
        ] {
            assert!(!policy.allows(Some(bad), Some(host)), "{bad}");
        }
    }

    #[test]
    fn null_is_for_any_only() {
        assert!(OriginPolicy::Any.allows(Some("null"), HOST));
        assert!(parse("null").is_err());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "app.example.com",
            "https://",
            "https://*.example.com",
            "https://app.example.com/chat",
            "https://app.example.com/",
            "https://me@example.com",
            "https://example.com:",
            "https://example.com:0x50",
            "https://example.com:65536",
            "https://exämple.com",
            "https://[::1",
            "://example.com",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for good in ["https://app.example.com", "http://localhost:5173", "capacitor://localhost", "http://[::1]:80"] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }
}
