//! Filling vessels to a common level.

/// Something to pour into: a member with the load it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vessel {
    /// Its level.
    pub(super) level: f64,
    /// By how much one unit raises it; positive.
    pub(super) slope: f64,
    /// How many units it takes; not negative.
    pub(super) most: f64,
}

impl Vessel {
    /// How many units bring it to `level`.
    fn units(&self, level: f64) -> f64 {
        ((level - self.level) / self.slope).max(0.0).min(self.most)
    }
}

/// Pours `amount` units so that the highest level is as low as can be: the lowest vessels are
/// filled to a common level. What is left when all have their most is added in proportion to that.
pub(super) fn pour(vessels: &[Vessel], amount: f64) -> Vec<f64> {
    let room: f64 = vessels.iter().map(|vessel| vessel.most).sum();
    if room <= amount {
        let factor = if room > 0.0 { amount / room } else { 0.0 };
        return vessels.iter().map(|vessel| vessel.most * factor).collect();
    }
    let mut low = vessels.iter().map(|vessel| vessel.level).fold(f64::INFINITY, f64::min);
    let mut high = vessels
        .iter()
        .map(|vessel| vessel.level + vessel.slope * vessel.most.min(amount))
        .fold(f64::NEG_INFINITY, f64::max);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let poured: f64 = vessels.iter().map(|vessel| vessel.units(middle)).sum();
        if poured < amount {
            low = middle;
        } else {
            high = middle;
        }
    }
    vessels.iter().map(|vessel| vessel.units(high)).collect()
}

/// Leaves less of the interval than a 64-bit float can tell.
const HALVINGS: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vessel(level: f64, slope: f64, most: f64) -> Vessel {
        Vessel { level, slope, most }
    }

    fn rounded(units: &[f64]) -> Vec<f64> {
        units.iter().map(|units| (units * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn the_lowest_are_filled_to_a_common_level() {
        let vessels = [vessel(1.0, 1.0, 99.0), vessel(3.0, 1.0, 99.0), vessel(9.0, 1.0, 99.0)];

        assert_eq!(rounded(&pour(&vessels, 6.0)), [4.0, 2.0, 0.0]);
        assert_eq!(rounded(&pour(&vessels, 1.0)), [1.0, 0.0, 0.0]);
        assert_eq!(rounded(&pour(&vessels, 0.0)), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_wide_vessel_takes_more() {
        let vessels = [vessel(0.0, 1.0, 99.0), vessel(0.0, 0.25, 99.0)];

        assert_eq!(rounded(&pour(&vessels, 10.0)), [2.0, 8.0]);
    }

    #[test]
    fn a_full_vessel_leaves_the_rest_to_the_others() {
        let vessels = [vessel(0.0, 1.0, 1.0), vessel(5.0, 1.0, 99.0)];

        assert_eq!(rounded(&pour(&vessels, 4.0)), [1.0, 3.0]);
    }

    #[test]
    fn what_nobody_has_room_for_is_added_in_proportion() {
        let vessels = [vessel(0.0, 1.0, 1.0), vessel(5.0, 1.0, 3.0)];

        assert_eq!(rounded(&pour(&vessels, 8.0)), [2.0, 6.0]);
        assert_eq!(rounded(&pour(&[vessel(0.0, 1.0, 0.0)], 8.0)), [0.0]);
        assert!(pour(&[], 8.0).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_spilt_and_no_level_could_be_lower(
            levels in proptest::collection::vec((0.0..2.0_f64, 1e-6..1e-2_f64, 0.0..1e4_f64), 1..20),
            part in 0.0..1.0_f64,
        ) {
            let vessels: Vec<_> = levels.into_iter().map(|(level, slope, most)| vessel(level, slope, most)).collect();
            let amount = part * vessels.iter().map(|vessel| vessel.most).sum::<f64>();

            let units = pour(&vessels, amount);

            prop_assert!((units.iter().sum::<f64>() - amount).abs() <= 1e-6 * amount.max(1.0));
            let after = |at: usize| vessels[at].level + vessels[at].slope * units[at];
            for at in 0..vessels.len() {
                prop_assert!((0.0..=vessels[at].most + 1e-9).contains(&units[at]));
                for other in 0..vessels.len() {
                    // Whoever got something is not above one that had room.
                    if units[at] > 1e-6 && units[other] < vessels[other].most - 1e-6 {
                        prop_assert!(after(at) <= after(other) + 1e-6);
                    }
                }
            }
        }
    }
}
