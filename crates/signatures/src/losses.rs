//! Signatures of losses: a largest patch size that stays behind, an oscillating loss.

/// What the names of series of losses by patch size begin with; the rest is the size in pixels.
pub const LOSS_BY_PATCH_SIZE: &str = "loss_by_side/";

/// How far the loss a pixel of the largest patch size, full images where there are any, may be above that of the next one.
/// More context makes it lower.
const MOST_BEHIND: f64 = 1.0;

/// The minimum number of points of either size: each is the mean of a few steps, whose losses vary by factors.
const FEWEST_POINTS: i64 = 8;

/// How far above its lowest mean so far a loss may rise; around 1 in a sound training.
const MOST_RISE: f64 = 1.5;

/// The losses of one training.
#[derive(Clone, Debug, Default)]
pub struct Losses<'a> {
    /// Series of losses a pixel by patch size, each with the number and the mean of its points in the second half of training.
    pub by_patch_size: Vec<(&'a str, i64, f64)>,
    /// The highest of `loss_ratio`.
    pub highest_ratio: Option<f64>,
}

/// The signatures of the losses of one training.
pub fn of_losses(losses: &Losses<'_>) -> Vec<String> {
    let mut sizes: Vec<(u32, f64)> = (losses.by_patch_size.iter())
        .filter(|(_, points, _)| *points >= FEWEST_POINTS)
        .filter_map(|(name, _, mean)| {
            Some((name.strip_prefix(LOSS_BY_PATCH_SIZE)?.parse().ok()?, *mean))
        })
        .collect();
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut found = Vec::new();
    if let [(full, of_full), (patch, of_patch), ..] = sizes[..]
        && of_full > MOST_BEHIND * of_patch
    {
        found.push(format!(
            "the largest patch size stays behind: over the second half of training the loss a pixel is {of_full:.3} at patch \
             size {full} and {of_patch:.3} at {patch}, although larger patches have more context"
        ));
    }
    if let Some(highest) = losses.highest_ratio
        && highest > MOST_RISE
    {
        found.push(format!(
            "oscillating loss: it rose to {highest:.2} times its lowest mean so far (`loss_ratio`); a lower learning rate or a \
             longer ramp may steady it"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_largest_size_that_stays_behind_is_named() {
        let of = |full: f64, points: i64| {
            of_losses(&Losses {
                by_patch_size: vec![
                    ("loss_by_side/16", 20, 1.2),
                    ("loss_by_side/32", points, full),
                    ("loss_by_side/8", 20, 1.5),
                ],
                highest_ratio: None,
            })
        };
        assert!(of(1.0, 20).is_empty());
        let found = of(1.3, 20);
        assert!(
            found[0].contains("1.300 at patch size 32 and 1.200 at 16"),
            "{found:?}"
        );
        // Of the two sizes that have points enough the larger one is ahead.
        assert!(of(1.3, 3).is_empty());
        let one_size = Losses {
            by_patch_size: vec![("loss_by_side/32", 20, 9.0)],
            highest_ratio: None,
        };
        assert!(of_losses(&one_size).is_empty());
    }

    #[test]
    fn a_loss_that_rises_far_above_its_lowest_mean_is_named() {
        let of = |highest_ratio| {
            of_losses(&Losses {
                by_patch_size: Vec::new(),
                highest_ratio,
            })
        };
        assert!(of(Some(1.15)).is_empty() && of(None).is_empty());
        let found = of(Some(2.5));
        assert!(found[0].contains("2.50 times"), "{found:?}");
    }
}
