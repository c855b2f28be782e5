//! The values that flags take beyond plain strings and numbers: counts, sizes, times, and how each says "no limit".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::protocol::limits::{OFF, OFF_TIME};

/// A number of things; `0` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(usize);

/// A number of bytes, with the suffix `k`, `m` or `g` in units of 1,024; `0` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(usize);

/// A number of things each second or minute, or at once. What `0` means is the limit's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

/// A time after which something is given up; `0` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Duration);

/// A length of time that is meant as it stands, `0` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

macro_rules! values {
    ($($name:ident($inner:ty), $value:literal, $parse:expr, $show:expr;)*) => {$(
        impl $name {
            /// The flag's value as `--help` names it.
            pub(super) const VALUE_NAME: &'static str = $value;

            /// Takes a limit as the server holds it, to show it.
            pub(crate) fn new(inner: $inner) -> Self {
                Self(inner)
            }

            /// The limit as the server holds it.
            pub(crate) fn get(self) -> $inner {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$show(self.0))
            }
        }
    )*};
}

values! {
    Count(usize), "COUNT", |text| parse_count(text).map(|count| if count == 0 { OFF } else { count }), show_count;
    Bytes(usize), "BYTES", |text| parse_bytes(text).map(|bytes| if bytes == 0 { OFF } else { bytes }), show_bytes;
    Rate(u32), "COUNT", parse_count::<u32>, |rate: u32| rate.to_string();
    Deadline(Duration), "TIME", |text| parse_time(text).map(|time| if time.is_zero() { OFF_TIME } else { time }), show_time;
    Span(Duration), "TIME", parse_time, show_time;
}

/// A secret given as text. Its `Debug` does not show it.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

impl LogFormat {
    /// The value of the flag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// And what may soon.
    Warn,
    /// And the server's own life: start, drain, stop.
    Info,
    /// And each connection's: login, close, and why a token or an origin was refused.
    Debug,
    /// And the name of each request.
    Trace,
}

impl LogLevel {
    /// The value of the flag, which is also a directive of `tracing_subscriber::EnvFilter`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn parse_count<T: FromStr>(text: &str) -> Result<T, String> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = if digits_only { text.parse().ok() } else { None };
    count.ok_or_else(|| "must be a whole number such as 100".to_owned())
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = parse_count::<usize>(digits).ok().and_then(|count| count.checked_mul(1 << shift));
    bytes.ok_or_else(|| "must be a number of bytes such as 4096, 64k or 1m".to_owned())
}

/// A time with its unit, at most [`OFF_TIME`], which stands for "never".
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let unit_millis = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let count = parse_count::<u64>(digits).ok();
    let millis = unit_millis.zip(count).and_then(|(unit, count)| count.checked_mul(unit));
    let time = millis.map(Duration::from_millis).filter(|time| *time <= OFF_TIME);
    time.ok_or_else(|| "must be a time with its unit (ms, s, m, h, d) such as 500ms or 10s, or 0".to_owned())
}

fn show_count(count: usize) -> String {
    if count == OFF { "off".to_owned() } else { count.to_string() }
}

fn show_bytes(bytes: usize) -> String {
    match bytes {
        OFF => "off".to_owned(),
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}g", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn show_time(time: Duration) -> String {
    if time == OFF_TIME {
        return "off".to_owned();
    }
    let millis = time.as_millis();
    for (unit, unit_millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(unit_millis) {
            return format!("{}{unit}", millis / unit_millis);
        }
    }
    if millis == 0 { "0".to_owned() } else { format!("{millis}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_with_their_unit() {
        for (text, millis) in [("0", 0), ("500ms", 500), ("10s", 10_000), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get(), Duration::from_millis(millis));
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("1d".parse::<Span>(), "24h".parse());
        for bad in ["", "10", "s", "-1s", "1.5s", "1 s", "1h30m", "10S", "99999999999d", "1ſ", "+1s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown_with_their_suffix() {
        for (text, bytes) in [("1000", 1_000), ("64k", 65_536), ("1m", 1 << 20), ("3g", 3 << 30)] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, text));
        }
        assert_eq!("64K".parse::<Bytes>(), "65536".parse());
        for bad in ["", "k", "-1", "1.5m", "64kb", "1 k", "99999999999999999999", "18446744073709551615g", "+1", "1ſ"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn zero_switches_a_limit_off_but_a_span_is_meant_as_it_stands() {
        assert_eq!("0".parse::<Count>().unwrap().get(), OFF);
        assert_eq!("0".parse::<Bytes>().unwrap().get(), OFF);
        assert_eq!("0".parse::<Deadline>().unwrap().get(), OFF_TIME);
        assert_eq!("0s".parse::<Deadline>().unwrap().get(), OFF_TIME);
        assert_eq!("0".parse::<Span>().unwrap().get(), Duration::ZERO);
        assert_eq!("0".parse::<Rate>().unwrap().get(), 0);
        assert_eq!(Count(OFF).to_string(), "off");
        assert_eq!(Deadline(OFF_TIME).to_string(), "off");
        assert!("4294967296".parse::<Rate>().is_err());
    }
}
