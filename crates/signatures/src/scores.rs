//! Signature of scores: good patches that do not fit together, seen in distances of crops and of whole samples.

use std::collections::BTreeMap;

/// How much further the whole samples may be from the real images than their crops are, both as multiples of the distance
/// of one half of the real images from the other.
const MOST_INCOHERENT: f64 = 2.0;

const REAL_HALVES: &str = "real-halves";

/// A recorded distance.
#[derive(Clone, Copy, Debug)]
pub struct Score<'a> {
    /// What was measured: samples by some name, or a baseline.
    pub subject: &'a str,
    /// Such as `fid` or `fd_crop_half_dinov2`.
    pub metric: &'a str,
    /// Its value.
    pub value: f64,
    /// Images that the network had seen; none of a baseline.
    pub images_seen: Option<i64>,
}

/// The signatures of samples, of each subject and each size of crops. They need the baseline `real-halves`
/// and distances of crops.
pub fn of_scores(scores: &[Score<'_>]) -> Vec<String> {
    let halves: BTreeMap<&str, f64> = (scores.iter())
        .filter(|score| score.subject == REAL_HALVES)
        .map(|score| (score.metric, score.value))
        .collect();
    let trained = || {
        let scores = scores.iter();
        scores.filter(|score| score.images_seen.is_some_and(|images| images > 0))
    };
    let mut found = Vec::new();
    for whole in trained() {
        for (crop, in_words) in [("half", "half"), ("quarter", "a quarter")] {
            let Some(metric) = metric_of_crops(whole.metric, crop) else {
                continue;
            };
            let same = |score: &&Score<'_>| {
                (score.subject, score.images_seen, score.metric)
                    == (whole.subject, whole.images_seen, metric.as_str())
            };
            let Some(crops) = trained().find(same) else {
                continue;
            };
            let baselines = halves.get(whole.metric).zip(halves.get(metric.as_str()));
            let Some((&whole_halves, &crop_halves)) = baselines else {
                continue;
            };
            let (whole_ratio, crop_ratio) = (whole.value / whole_halves, crops.value / crop_halves);
            if whole_ratio > MOST_INCOHERENT * crop_ratio {
                found.push(format!(
                    "patches that do not fit together: crops of {in_words} of the side of `{}` are {crop_ratio:.1} times as \
                     far from the real ones as real halves from each other ({metric} {:.1} and {crop_halves:.1}), whole \
                     images {whole_ratio:.1} times ({} {:.1} and {whole_halves:.1})",
                    whole.subject, crops.value, whole.metric, whole.value
                ));
            }
        }
    }
    found
}

/// The name of a distance of crops, by that of whole images; none for other metrics.
fn metric_of_crops(whole: &str, crop: &str) -> Option<String> {
    const OTHERS: [&str; 2] = ["crop", "infinity"];
    let is_other = |rest: &str| OTHERS.iter().any(|other| rest.starts_with(other));
    if let Some(rest) = whole.strip_prefix("fd_") {
        return (!is_other(rest)).then(|| format!("fd_crop_{crop}_{rest}"));
    }
    let rest = whole.strip_prefix("fid")?;
    let is_plain = rest.is_empty() || rest.starts_with('_') && !is_other(&rest[1..]);
    is_plain.then(|| format!("fid_crop_{crop}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score<'a>(subject: &'a str, metric: &'a str, value: f64) -> Score<'a> {
        Score {
            subject,
            metric,
            value,
            images_seen: (subject != REAL_HALVES).then_some(1000),
        }
    }

    #[test]
    fn crops_like_real_ones_beside_poor_wholes_are_named_with_their_values() {
        let of = |whole: f64, crop: f64| {
            of_scores(&[
                score("sample", "fd_tiny", whole),
                score("sample", "fd_crop_half_tiny", crop),
                score(REAL_HALVES, "fd_tiny", 20.0),
                score(REAL_HALVES, "fd_crop_half_tiny", 10.0),
            ])
        };
        let found = of(200.0, 15.0);
        assert_eq!(found.len(), 1);
        for words in [
            "crops of half of the side of `sample` are 1.5 times",
            "whole images 10.0 times",
            "200.0",
        ] {
            assert!(found[0].contains(words), "{found:?}");
        }
        assert!(of(200.0, 90.0).is_empty());
        // As good in the whole as in its parts.
        assert!(of(25.0, 15.0).is_empty());
        let without_halves = [
            score("sample", "fid", 200.0),
            score("sample", "fid_crop_half", 1.0),
        ];
        assert!(of_scores(&without_halves).is_empty());
    }

    #[test]
    fn crops_are_named_after_the_distance_of_whole_images() {
        for (whole, crops) in [
            ("fid", Some("fid_crop_half")),
            ("fid_clean", Some("fid_crop_half_clean")),
            ("fd_dinov2", Some("fd_crop_half_dinov2")),
            ("fid_infinity", None),
            ("fid_crop_half", None),
            ("fd_crop_half_dinov2", None),
            ("fd_infinity_dinov2", None),
            ("kid", None),
            ("precision", None),
        ] {
            assert_eq!(metric_of_crops(whole, "half").as_deref(), crops, "{whole}");
        }
    }
}
