//! The scenarios: what people do, and how often.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::plan::Sizes;

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Small groups that type, write, read, page back, go idle, and now and then drop out and come back
    Chat,
    /// Large rooms in which messages go to everybody; nothing else
    Fanout,
    /// A typing storm: every member types, stops, and types again; no messages
    Typing,
    /// Chat in conversations of all sizes, with more coming and going
    Mixed,
    /// Everybody connects, logs in and joins at once
    ConnectStorm,
    /// Everybody is cut off, misses messages, and comes back at once with `since`
    ReconnectStorm,
    /// Everybody is there and does nothing
    Idle,
}

/// What a person does, as means for each person in seconds; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// Types before writing, so long at least and at most.
    pub(crate) composing: Option<(f64, f64)>,
    /// Of those who begin to type, the share that writes nothing in the end.
    pub(crate) abandons: f64,
    /// Marks as read so long after a message, at least and at most; what comes meanwhile is marked with it.
    pub(crate) reads_after: Option<(f64, f64)>,
    /// Loads a page of history this often.
    pub(crate) pages_every: Option<f64>,
    /// Looks away this often,
    pub(crate) idles_every: Option<f64>,
    /// for so long at least and at most: reads, types and writes nothing then.
    pub(crate) idles_for: (f64, f64),
    /// Loses the connection this often,
    pub(crate) drops_every: Option<f64>,
    /// and is away so long at least and at most.
    pub(crate) away_for: (f64, f64),
}

/// Does nothing but what the scenario itself is about.
const STILL: Behaviour = Behaviour {
    composing: None,
    abandons: 0.0,
    reads_after: None,
    pages_every: None,
    idles_every: None,
    idles_for: (5.0, 20.0),
    drops_every: None,
    away_for: (0.5, 5.0),
};

impl Scenario {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What people do in it.
    pub(crate) const fn behaviour(self) -> Behaviour {
        match self {
            Self::Chat => Behaviour {
                composing: Some((1.0, 4.0)),
                abandons: 0.1,
                reads_after: Some((1.0, 4.0)),
                pages_every: Some(60.0),
                idles_every: Some(60.0),
                drops_every: Some(600.0),
                ..STILL
            },
            Self::Mixed => Behaviour {
                composing: Some((1.0, 4.0)),
                abandons: 0.2,
                reads_after: Some((1.0, 4.0)),
                pages_every: Some(30.0),
                idles_every: Some(30.0),
                drops_every: Some(60.0),
                ..STILL
            },
            // The lengths of a turn at the keyboard: some of them outlast a lease and have to renew it.
            Self::Typing => Behaviour { composing: Some((2.0, 8.0)), ..STILL },
            Self::Fanout | Self::ConnectStorm | Self::ReconnectStorm | Self::Idle => STILL,
        }
    }

    /// Sizes of conversations unless told otherwise.
    pub(crate) fn sizes(self) -> Sizes {
        let text = match self {
            Self::Chat => "2:50,5:30,20:20",
            Self::Mixed => "2:60,5:25,20:10,100:4,500:1",
            Self::Fanout => "500",
            Self::Typing | Self::ConnectStorm | Self::ReconnectStorm | Self::Idle => "20",
        };
        text.parse().expect("written here")
    }

    /// Messages (in `typing`, beginnings of typing) a second of `people`, unless told otherwise.
    pub(crate) fn rate(self, people: u32) -> Option<f64> {
        let people = f64::from(people);
        match self {
            Self::Chat | Self::Mixed => Some(people / 10.0),
            Self::Fanout => Some((people / 10.0).max(1.0)),
            // Everybody types five of six seconds.
            Self::Typing => Some(people / 6.0),
            Self::ConnectStorm | Self::ReconnectStorm | Self::Idle => None,
        }
    }

    /// Whether messages are written at a rate.
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Chat | Self::Fanout | Self::Mixed)
    }

    /// Whether it ends when everybody is there, instead of after a time.
    pub(crate) const fn is_storm(self) -> bool {
        matches!(self, Self::ConnectStorm | Self::ReconnectStorm)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::plan::{Plan, SECOND};
    use super::*;

    /// Six people in two groups who chat.
    pub(crate) fn plan() -> Plan {
        Plan {
            address: "127.0.0.1:1".parse().unwrap(),
            path: "/ws".to_owned(),
            scenario: Scenario::Chat,
            behaviour: Scenario::Chat.behaviour(),
            people: 6,
            sizes: Sizes::all(3),
            memberships: 1,
            rate: Some(5.0),
            closed_loop: false,
            content_chars: 40,
            connect_rate: 100.0,
            connecting: 10,
            seed: 7,
            run: "r".to_owned(),
            warmup_ns: 5 * SECOND,
            duration_ns: 20 * SECOND,
            drain_ns: 10 * SECOND,
            sources: 1,
        }
    }

    #[test]
    fn every_scenario_has_sizes_and_what_it_is_about() {
        for scenario in Scenario::value_variants() {
            assert!(!scenario.sizes().to_string().is_empty());
            assert!(!scenario.writes() || scenario.rate(100).is_some());
            assert!(!scenario.name().is_empty());
        }
    }
}
