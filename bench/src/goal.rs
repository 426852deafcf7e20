//! What a metric is to reach, and whether it has.

use std::fmt;

/// A bound on a metric, for which less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This many times the best peer.
    Best(f64),
    /// This many times a certain contender.
    Peer(f64, &'static str),
    /// Not more than this, whatever the peers do.
    Absolute(f64),
    /// Ends at all.
    Finishes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best(factor) => write!(f, "≤ {factor}"),
            Self::Peer(factor, peer) if *factor == 1.0 => write!(f, "≤ {peer}"),
            Self::Peer(factor, peer) => write!(f, "≤ {factor} × {peer}"),
            Self::Absolute(value) if *value == 0.0 => f.write_str("none"),
            Self::Absolute(value) => write!(f, "≤ {value}"),
            Self::Finishes => f.write_str("finishes"),
        }
    }
}

/// What to reach on the first attempt, and what we are after; none for metrics that are shown and not judged.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// What to reach on the first attempt.
    pub must: Bound,
    /// What we are after.
    pub moonshot: Bound,
}

impl Goal {
    /// Both as multiples of the best peer.
    #[must_use]
    pub const fn best(must: f64, moonshot: f64) -> Option<Self> {
        Some(Self { must: Bound::Best(must), moonshot: Bound::Best(moonshot) })
    }

    /// The verdict on `ours`. `contender` answers with the value of a contender by its name.
    #[must_use]
    pub fn judge(
        &self,
        ours: Option<f64>,
        best: Option<f64>,
        contender: impl Fn(&str) -> Option<f64>,
    ) -> Verdict {
        let Some(ours) = ours else { return Verdict::Missed };
        let holds = |bound| match bound {
            Bound::Best(factor) => best.map(|best| ours <= factor * best),
            Bound::Peer(factor, peer) => contender(peer).map(|value| ours <= factor * value),
            Bound::Absolute(value) => Some(ours <= value),
            Bound::Finishes => Some(true),
        };
        match (holds(self.must), holds(self.moonshot)) {
            (_, Some(true)) => Verdict::Moonshot,
            (Some(true), _) => Verdict::Must,
            (Some(false), _) => Verdict::Missed,
            (None, _) => Verdict::Open,
        }
    }
}

/// How a metric stands to its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As good as we are after.
    Moonshot,
    /// As good as it must be.
    Must,
    /// Not there.
    Missed,
    /// There is no goal, or nobody to compare with.
    Open,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moonshot => "moonshot",
            Self::Must => "must",
            Self::Missed => "missed",
            Self::Open => "–",
        })
    }
}

#[cfg(test)]
mod tests {
    //! Verdicts on each side of each bound.

    use super::{Bound, Goal, Verdict};

    #[test]
    fn bounds_are_multiples_of_the_best_peer() {
        let goal = Goal::best(1.0, 0.5).expect("there is one");
        let judge = |ours, best| goal.judge(ours, best, |_| None);
        assert_eq!(judge(Some(5.0), Some(10.0)), Verdict::Moonshot);
        assert_eq!(judge(Some(10.0), Some(10.0)), Verdict::Must);
        assert_eq!(judge(Some(11.0), Some(10.0)), Verdict::Missed);
        assert_eq!(judge(Some(11.0), None), Verdict::Open);
        assert_eq!(judge(None, Some(10.0)), Verdict::Missed);
    }

    #[test]
    fn finishing_may_be_all_that_is_asked() {
        let goal = Goal { must: Bound::Finishes, moonshot: Bound::Peer(0.4, "x") };
        let judge = |ours| goal.judge(ours, None, |name| (name == "x").then_some(10.0));
        assert_eq!(judge(Some(4.0)), Verdict::Moonshot);
        assert_eq!(judge(Some(400.0)), Verdict::Must);
        assert_eq!(judge(None), Verdict::Missed);
    }
}
