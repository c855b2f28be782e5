//! What a run is to do: plain data that follows from the command line and goes to every worker, in this process or another.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::scenario::{Behaviour, Scenario};

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where the server is: address and path.
    pub(crate) address: std::net::SocketAddrV4,
    pub(crate) path: String,
    /// What people do.
    pub(crate) scenario: Scenario,
    pub(crate) behaviour: Behaviour,
    /// How many of them, each with one connection.
    pub(crate) people: u32,
    /// How large conversations are.
    pub(crate) sizes: Sizes,
    /// In how many conversations each person is.
    pub(crate) memberships: u32,
    /// Messages a second of all; in `typing`, beginnings of typing; in `connect-storm`, connects.
    pub(crate) rate: Option<f64>,
    /// Send again as soon as the reply is there.
    pub(crate) closed_loop: bool,
    /// Characters of a message.
    pub(crate) content_chars: u32,
    /// Connects a second while everybody arrives.
    pub(crate) connect_rate: f64,
    /// Connections of one worker being set up at the same time.
    pub(crate) connecting: u32,
    /// What all choices follow from.
    pub(crate) seed: u64,
    /// Names the run; stands in every `clientMessageId`.
    pub(crate) run: String,
    pub(crate) warmup_ns: u64,
    pub(crate) duration_ns: u64,
    /// Longest wait at the end for what is still under way.
    pub(crate) drain_ns: u64,
    /// How many source addresses connections are spread over.
    pub(crate) sources: u32,
}

/// One worker's part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Which worker, over all processes.
    pub(crate) worker: u32,
    /// Its people, by their numbers in the whole run.
    pub(crate) people: Range<u32>,
}

impl Part {
    /// The share of a rate of the whole run that is this part's.
    pub(crate) fn share_of(&self, rate: f64, plan: &Plan) -> f64 {
        rate * self.people.len() as f64 / f64::from(plan.people)
    }
}

impl Plan {
    /// Divides the people among at most `workers`: fewer where the largest conversation would not fit into one's part.
    pub(crate) fn parts(&self, workers: u32) -> Vec<Part> {
        let step = self.sizes.largest().min(self.people).max(1);
        let groups = self.people.div_ceil(step);
        let workers = workers.min(groups);
        let edge = |worker: u32| (u64::from(groups) * u64::from(worker) / u64::from(workers)) as u32 * step;
        (0..workers).map(|worker| Part { worker, people: edge(worker)..edge(worker + 1).min(self.people) }).collect()
    }
}

/// Sizes of conversations, with weights: of so many conversations, so many have this size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes(Vec<(u32, u32)>);

impl Sizes {
    /// All of one size.
    pub(crate) fn all(size: u32) -> Self {
        Self(vec![(size, 1)])
    }

    /// The largest, which people are divided among workers by.
    fn largest(&self) -> u32 {
        self.0.iter().map(|(size, _)| *size).max().unwrap_or(1)
    }

    /// Cuts `people` into conversations: each a range of positions. The last one takes the remainder.
    pub(crate) fn cut(&self, people: u32, random: &mut fastrand::Rng) -> Vec<Range<u32>> {
        let total: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut groups = Vec::new();
        let mut start = 0;
        while start < people {
            let mut ticket = random.u32(0..total);
            let drawn = self.0.iter().find(|(_, weight)| {
                let hit = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                hit
            });
            let size = drawn.map_or(1, |(size, _)| *size);
            let end = (start + size).min(people);
            groups.push(start..end);
            start = end;
        }
        groups
    }
}

impl std::str::FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "a size like 20, or sizes with weights like 2:60,8:30,50:10";
        let parse_one = |part: &str| -> Result<(u32, u32), String> {
            let (size, weight) = part.split_once(':').unwrap_or((part, "1"));
            let size = size.trim().parse().map_err(|_| format!("'{part}' is not {wanted}"))?;
            let weight = weight.trim().parse().map_err(|_| format!("'{part}' is not {wanted}"))?;
            if (1..=10_000).contains(&size) && (1..=1_000_000).contains(&weight) {
                Ok((size, weight))
            } else {
                Err(format!("'{part}': sizes are 1 to 10000, weights 1 to 1000000"))
            }
        };
        let sizes: Vec<_> = text.split(',').map(parse_one).collect::<Result<_, _>>()?;
        if sizes.len() > 64 { Err("at most 64 sizes".to_owned()) } else { Ok(Self(sizes)) }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [(size, _)] = self.0[..] {
            return write!(f, "{size}");
        }
        let sizes: Vec<String> = self.0.iter().map(|(size, weight)| format!("{size}:{weight}")).collect();
        f.write_str(&sizes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for text in ["20", "2:60,8:30,50:10"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        for text in ["", "0", "a", "2:", "2:0", "10001"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn everybody_is_in_one_group_and_sizes_follow_the_weights() {
        let sizes: Sizes = "2:3,20:1".parse().unwrap();
        let groups = sizes.cut(100_000, &mut fastrand::Rng::with_seed(1));
        assert_eq!(groups.iter().map(|group| group.len()).sum::<usize>(), 100_000);
        assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
        let large = groups.iter().filter(|group| group.len() == 20).count() as f64 / groups.len() as f64;
        assert!((0.22..0.28).contains(&large), "{large}");
        assert_eq!(groups, sizes.cut(100_000, &mut fastrand::Rng::with_seed(1)));
    }

    #[test]
    fn parts_cover_everybody_without_cutting_groups_of_one_size() {
        let mut plan = super::super::scenario::tests::plan();
        (plan.people, plan.sizes) = (1_000, Sizes::all(20));
        let parts = plan.parts(3);
        assert_eq!((parts[0].people.start, parts[2].people.end), (0, 1_000));
        assert!(parts.windows(2).all(|pair| pair[0].people.end == pair[1].people.start && pair[0].people.end % 20 == 0));
        plan.people = 1_010;
        assert_eq!(plan.parts(3).last().unwrap().people.end, 1_010);
        plan.sizes = Sizes::all(1_000);
        assert_eq!(plan.parts(2).len(), 2);
        plan.people = 1_000;
        assert_eq!(plan.parts(2), [Part { worker: 0, people: 0..1_000 }]);
    }
}
