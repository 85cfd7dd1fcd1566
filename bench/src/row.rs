//! A row of the table: what was measured, the goal, and whether it is met.

use crate::turns::{in_turns, median, sorted};

/// The reason of rows that nobody has looked into.
const NOT_EXPLAINED: &str = "not yet explained";

/// What a row must reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The lowest ratio that is good enough.
    Ratio(f64),
    /// The highest figure that is good enough. Such a row has no peer.
    Limit(f64),
    /// The row is only for information.
    Open,
}

/// Which figures are good.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Better {
    More,
    Less,
}

/// A row: its definition and, after the measurement, its figures.
pub(crate) struct Row {
    pub(crate) part: &'static str,
    pub(crate) work: String,
    pub(crate) peer: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    /// Something that a reader must know about this row.
    pub(crate) note: Option<String>,
    better: Better,
    reason: &'static str,
    /// Of each round the figure of kvs and that of the peer. A row without a peer has only the former.
    rounds: Vec<(f64, Option<f64>)>,
}

impl Row {
    /// A comparison of rates: more is better.
    pub(crate) fn new(part: &'static str, work: impl Into<String>, peer: &'static str) -> Self {
        Self {
            part,
            work: work.into(),
            peer,
            unit: "1/s",
            goal: Goal::Open,
            note: None,
            better: Better::More,
            reason: NOT_EXPLAINED,
            rounds: vec![],
        }
    }

    /// A figure of kvs that must not be greater than the limit.
    pub(crate) fn limited(part: &'static str, work: impl Into<String>, unit: &'static str, limit: f64) -> Self {
        let row = Self::new(part, work, "");
        Self { unit, goal: Goal::Limit(limit), better: Better::Less, ..row }
    }

    pub(crate) fn goal(self, ratio: f64) -> Self {
        Self { goal: Goal::Ratio(ratio), ..self }
    }

    /// A comparison of something of which less is better. The ratio is that of the peer to kvs.
    pub(crate) fn less_is_better(self, unit: &'static str) -> Self {
        Self { unit, better: Better::Less, ..self }
    }

    /// The reason that the table gives if the goal is not met.
    pub(crate) fn if_short(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }

    /// Measures both sides in turns.
    pub(crate) fn compare(self, rounds: usize, ours: impl FnMut() -> f64, peer: impl FnMut() -> f64) -> Self {
        self.measured(in_turns(rounds, ours, peer))
    }

    /// Takes the figures of kvs and of the peer, which were measured in turns.
    pub(crate) fn measured(self, rounds: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { rounds: rounds.into_iter().map(|(ours, peer)| (ours, Some(peer))).collect(), ..self }
    }

    /// Takes the figures of a row without a peer.
    pub(crate) fn figures(self, figures: impl IntoIterator<Item = f64>) -> Self {
        Self { rounds: figures.into_iter().map(|figure| (figure, None)).collect(), ..self }
    }

    /// The median figure of kvs.
    pub(crate) fn ours(&self) -> f64 {
        median(self.rounds.iter().map(|(ours, _)| *ours))
    }

    /// The median figure of the peer.
    pub(crate) fn peers(&self) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.rounds.iter().map(|(_, peer)| *peer).collect();
        figures.map(median)
    }

    /// The ratio of each round, in which more is better, from the lowest to the highest; none without a peer.
    fn ratios(&self) -> Option<Vec<f64>> {
        let ratio = |(ours, peer): &(f64, Option<f64>)| match self.better {
            Better::More => peer.map(|peer| ours / peer),
            Better::Less => peer.map(|peer| peer / ours),
        };
        let ratios: Option<Vec<f64>> = self.rounds.iter().map(ratio).collect();
        ratios.map(sorted)
    }

    /// The median ratio, as the table shows it.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.ratios().map(|ratios| (median(ratios) * 100.0).round() / 100.0)
    }

    /// The lowest and the highest ratio, or the lowest and the highest figure of a row without a peer.
    pub(crate) fn range(&self) -> (f64, f64) {
        let values = self.ratios().unwrap_or_else(|| sorted(self.rounds.iter().map(|(ours, _)| *ours)));
        (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0))
    }

    /// How far the goal is exceeded: 1 is just enough, and more is better. None without a goal.
    pub(crate) fn score(&self) -> Option<f64> {
        match self.goal {
            Goal::Ratio(goal) => self.ratio().map(|ratio| ratio / goal),
            Goal::Limit(limit) => Some(limit / self.ours()),
            Goal::Open => None,
        }
    }

    /// Why the goal is missed; none if it is met or if there is none.
    pub(crate) fn shortfall(&self) -> Option<&'static str> {
        self.score().filter(|score| *score < 1.0).map(|_| self.reason)
    }
}
