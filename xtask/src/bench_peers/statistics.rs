//! What is made of the times.

/// The middle of some numbers, or the mean of the two in the middle; `None` of no numbers.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0)
}

/// How long others took compared with us, by rounds that both ran in. Two forwards of one round saw much the same
/// neighbours, so their ratio is steadier than a ratio of medians.
#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    /// The median of the rounds' ratios, theirs to ours.
    pub(super) ratio: f64,
    /// Rounds in which we were faster.
    pub(super) won: usize,
    /// Rounds that both ran in.
    pub(super) rounds: usize,
}

impl Comparison {
    /// `None` if there is no round that both ran in.
    pub(super) fn of(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Self> {
        let pairs = ours.iter().zip(theirs).filter_map(|(&ours, &theirs)| ours.zip(theirs));
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| theirs / ours).collect();
        let won = ratios.iter().filter(|&&ratio| ratio > 1.0).count();
        Some(Self { ratio: median(&ratios)?, won, rounds: ratios.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_slow_round_that_both_saw_does_not_move_the_ratio() {
        let ours = [Some(1.0), Some(10.0), Some(1.0)];
        let theirs = [Some(1.5), Some(15.0), Some(0.9)];
        assert_eq!(Comparison::of(&ours, &theirs), Some(Comparison { ratio: 1.5, won: 2, rounds: 3 }));
    }

    #[test]
    fn rounds_that_one_was_absent_from_do_not_count() {
        let ours = [Some(1.0), Some(1.0), None];
        let theirs = [Some(2.0), None, Some(9.0)];
        assert_eq!(Comparison::of(&ours, &theirs), Some(Comparison { ratio: 2.0, won: 1, rounds: 1 }));
        assert_eq!(Comparison::of(&ours, &[None, None, Some(1.0)]), None);
    }
}
