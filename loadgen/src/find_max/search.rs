//! Which rate to try next. Pure: told how each step went.
//!
//! The rate grows until it does not hold, then the gap between the highest rate that held and the lowest that did not is halved a few
//! times. One step of seconds is noisy, so none decides alone where the knee is: a rate counts as broken only when it broke twice, and
//! the highest that held is run once more at the end. Where two steps at a rate disagree, a third decides. A step in which the tester
//! was the bottleneck says nothing, and is repeated; a second one at the same rate ends the search.

/// How fast the rate grows until something breaks.
const GROWTH: f64 = 1.5;
/// How often the gap between the highest rate that held and the lowest that did not is halved.
const HALVINGS: u32 = 3;
/// How often a rate has to hold to be confirmed, or to break to count as broken.
const CONFIRMED: u32 = 2;
/// Most steps in all.
pub(super) const MAX_STEPS: usize = 40;

/// How the steps at one rate went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trial {
    /// Messages a second.
    pub(super) rate: f64,
    /// How many steps held.
    pub(super) held: u32,
    /// How many did not.
    pub(super) broke: u32,
    /// How many said nothing.
    pub(super) void: u32,
}

impl Trial {
    fn has_broken(&self) -> bool {
        self.broke >= CONFIRMED
    }

    /// Whether it held, as far as is known.
    fn holds(&self) -> bool {
        self.held >= CONFIRMED || self.held > 0 && self.broke == 0
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Search {
    trials: Vec<Trial>,
    halvings: u32,
    next: Option<f64>,
    max_rate: f64,
}

impl Search {
    /// Begins with `start`, and tries nothing over `max_rate`.
    pub(super) fn new(start: f64, max_rate: f64) -> Self {
        Self { trials: Vec::new(), halvings: 0, next: Some(start.min(max_rate)), max_rate }
    }

    /// The rate to try next, unless the knee is found.
    pub(super) fn next(&self) -> Option<f64> {
        self.next
    }

    /// Notes how a step at `rate` went, and picks the next.
    pub(super) fn note(&mut self, rate: f64, held: bool) {
        let trial = self.trial(rate);
        if held {
            trial.held += 1;
        } else {
            trial.broke += 1;
        }
        self.next = if trial.holds() || trial.has_broken() { self.pick() } else { Some(rate) };
    }

    /// Notes that a step at `rate` said nothing.
    pub(super) fn note_void(&mut self, rate: f64) {
        let trial = self.trial(rate);
        trial.void += 1;
        self.next = (trial.void < CONFIRMED).then_some(rate);
    }

    /// Nothing more is to be tried.
    pub(super) fn end(&mut self) {
        self.next = None;
    }

    /// The highest rate that held and is confirmed.
    pub(super) fn confirmed(&self) -> Option<Trial> {
        let confirmed = self.below_what_broke().filter(|trial| trial.held >= CONFIRMED);
        confirmed.max_by(|one, other| one.rate.total_cmp(&other.rate))
    }

    fn trial(&mut self, rate: f64) -> &mut Trial {
        let at = self.trials.iter().position(|trial| trial.rate == rate).unwrap_or_else(|| {
            self.trials.push(Trial { rate, held: 0, broke: 0, void: 0 });
            self.trials.len() - 1
        });
        &mut self.trials[at]
    }

    fn pick(&mut self) -> Option<f64> {
        match (self.held(), self.broke()) {
            (Some(held), None) if held.rate < self.max_rate => Some((held.rate * GROWTH).min(self.max_rate)),
            (Some(held), Some(broke)) if self.halvings < HALVINGS => {
                self.halvings += 1;
                Some((held.rate + broke.rate) / 2.0)
            }
            (Some(held), _) if held.held < CONFIRMED => Some(held.rate),
            _ => None,
        }
    }

    /// The lowest rate that broke.
    pub(super) fn broke(&self) -> Option<Trial> {
        self.trials.iter().filter(|trial| trial.has_broken()).min_by(|one, other| one.rate.total_cmp(&other.rate)).copied()
    }

    /// The rate at which nothing could be said twice.
    pub(super) fn void(&self) -> Option<Trial> {
        self.trials.iter().find(|trial| trial.void >= CONFIRMED).copied()
    }

    /// The highest rate that held and is lower than any that broke.
    pub(super) fn held(&self) -> Option<Trial> {
        self.below_what_broke().filter(Trial::holds).max_by(|one, other| one.rate.total_cmp(&other.rate))
    }

    fn below_what_broke(&self) -> impl Iterator<Item = Trial> {
        let below = self.broke().map_or(f64::INFINITY, |broke| broke.rate);
        self.trials.iter().filter(move |trial| trial.rate < below).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried when `holds` says how each step goes, given the rate and how often it was tried before.
    fn tried(max_rate: f64, mut holds: impl FnMut(f64, usize) -> bool) -> (Vec<f64>, Search) {
        let mut search = Search::new(100.0, max_rate);
        let mut rates: Vec<f64> = Vec::new();
        while let Some(rate) = search.next() {
            assert!(rates.len() < MAX_STEPS);
            let before = rates.iter().filter(|tried| **tried == rate).count();
            rates.push(rate);
            search.note(rate, holds(rate, before));
        }
        (rates, search)
    }

    fn knee(search: &Search) -> (Option<f64>, Option<f64>) {
        (search.held().map(|trial| trial.rate), search.broke().map(|trial| trial.rate))
    }

    #[test]
    fn the_gap_around_the_knee_is_halved_and_both_its_ends_are_tried_twice() {
        let (rates, search) = tried(10_000.0, |rate, _| rate <= 200.0);
        assert_eq!(rates, [100.0, 150.0, 225.0, 225.0, 187.5, 206.25, 206.25, 196.875, 196.875]);
        assert_eq!(knee(&search), (Some(196.875), Some(206.25)));
        assert_eq!((search.held().unwrap().held, search.broke().unwrap().broke), (2, 2));
    }

    #[test]
    fn one_bad_step_is_not_the_knee() {
        let (rates, search) = tried(300.0, |rate, before| rate != 150.0 || before > 0);
        assert_eq!(rates, [100.0, 150.0, 150.0, 150.0, 225.0, 300.0, 300.0]);
        assert_eq!(knee(&search), (Some(300.0), None));
    }

    #[test]
    fn one_good_step_is_not_the_knee_either() {
        // 196.875 holds once by luck.
        let (rates, search) = tried(10_000.0, |rate, before| rate < 190.0 || rate < 200.0 && before == 0);
        assert_eq!(rates[8..], [196.875, 196.875, 187.5]);
        assert_eq!(knee(&search), (Some(187.5), Some(196.875)));
        assert_eq!(search.broke(), Some(Trial { rate: 196.875, held: 1, broke: 2, void: 0 }));
    }

    #[test]
    fn it_ends_at_the_highest_rate_or_at_once() {
        assert_eq!(tried(250.0, |_, _| true).0, [100.0, 150.0, 225.0, 250.0, 250.0]);
        let (rates, search) = tried(250.0, |_, _| false);
        assert_eq!((rates, knee(&search)), (vec![100.0, 100.0], (None, Some(100.0))));
    }

    #[test]
    fn a_step_that_says_nothing_is_repeated_once() {
        let mut search = Search::new(100.0, 1_000.0);
        search.note(100.0, true);
        search.note_void(150.0);
        assert_eq!((search.next(), search.void()), (Some(150.0), None));
        search.note(150.0, false);
        assert_eq!(search.next(), Some(150.0));
        search.note_void(150.0);
        assert_eq!((search.next(), search.void().map(|trial| trial.rate)), (None, Some(150.0)));
        assert_eq!(search.held().map(|trial| trial.rate), Some(100.0));
    }

    #[test]
    fn it_ends_whatever_chance_has_each_step_do() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (rates, search) = tried(100_000.0, |rate, _| random.f64() < 1.0 / (1.0 + (rate / 3_000.0).powi(4)));
            let most = rates.iter().map(|rate| rates.iter().filter(|other| *other == rate).count()).max();
            assert!(most <= Some(3), "{seed}: {rates:?}");
            let (Some(held), Some(broke)) = (search.held(), search.broke()) else { continue };
            assert!(held.rate < broke.rate && held.held == 2 && broke.broke == 2, "{seed}: {search:?}");
        }
    }
}
