use super::*;

/// The coordinate channels of the whole image, `[1, 2, h, w]`, on the CPU.
fn full_positions(resolution_h: i64, resolution_w: i64) -> Tensor {
    patch_positions(
        &[0],
        &[0],
        resolution_h,
        resolution_w,
        resolution_h,
        resolution_w,
        Device::Cpu,
    )
}

#[test]
fn a_patch_has_the_coordinates_of_its_place_in_the_full_grid() {
    let full = full_positions(24, 16);
    assert_eq!(full.size(), [1, 2, 24, 16]);
    for (channel, row, col, expected) in [
        (0, 5, 0, -1.0),
        (0, 5, 15, 1.0),
        (1, 0, 3, -1.0),
        (1, 23, 3, 1.0),
    ] {
        assert_eq!(full.double_value(&[0, channel, row, col]), expected);
    }
    let (rows, cols) = ([0, 3, 16], [8, 5, 0]);
    let cropped = crop(&full.expand([3, 2, 24, 16], false), &rows, &cols, 8, 8);
    let positions = patch_positions(&rows, &cols, 8, 8, 24, 16, Device::Cpu);
    assert!(cropped.equal(&positions));
}

#[test]
fn frequencies_of_drawn_sides_match_their_probabilities() {
    for ratio in [0.0, 0.1, 0.5, 1.0] {
        let sides = PatchSides::pixel(64, 64, PatchPart::ALL, ratio).unwrap();
        let draws = 10_000;
        for share in sides.shares() {
            let count = (0..draws)
                .filter(|&draw| {
                    let uniform = f64::from(draw) / f64::from(draws);
                    sides.side_at(PatchSchedule::Stochastic, uniform, 0.0) == share.side
                })
                .count();
            let frequency = count as f64 / f64::from(draws);
            assert!(
                (frequency - share.probability).abs() < 2e-4,
                "{ratio} {share:?}"
            );
        }
    }
}

#[test]
fn every_crop_has_the_coordinates_of_its_place() {
    for (height, width) in [(8_i64, 8_i64), (5, 7)] {
        let full = full_positions(height, width);
        for side in 1..=i64::min(height, width) {
            let corners: Vec<(i64, i64)> = (0..=height - side)
                .flat_map(|row| (0..=width - side).map(move |col| (row, col)))
                .collect();
            let (rows, cols): (Vec<i64>, Vec<i64>) = corners.into_iter().unzip();
            let whole = full.expand([rows.len() as i64, 2, height, width], false);
            let positions = patch_positions(&rows, &cols, side, side, height, width, Device::Cpu);
            for crop in [crop, crop_by_index] {
                let cropped = crop(&whole, &rows, &cols, side, side);
                assert!(cropped.equal(&positions), "{side}");
            }
        }
    }
}

/// Sides as training takes them, against their probabilities.
#[test]
fn both_schedules_use_each_side_for_its_share() {
    let draws: Vec<f64> = {
        let _guard = crate::latents::seeded(13);
        let uniform = Tensor::rand([20_000], (Kind::Double, Device::Cpu));
        Vec::try_from(uniform).unwrap()
    };
    for sides in [
        PatchSides::pixel(64, 64, PatchPart::ALL, 0.5).unwrap(),
        PatchSides::pixel(64, 64, PatchPart::ALL, 0.1).unwrap(),
        PatchSides::latent(32, 32, 0.3).unwrap(),
    ] {
        for share in sides.shares() {
            let p = share.probability;
            let drawn = draws
                .iter()
                .filter(|&&draw| sides.side_at(PatchSchedule::Stochastic, draw, 0.0) == share.side);
            let frequency = drawn.count() as f64 / draws.len() as f64;
            let error = 4.0 * (p * (1.0 - p) / draws.len() as f64).sqrt();
            assert!((frequency - p).abs() < error, "{share:?}: {frequency}");
        }
        // Progressive: by the clock of images, to within one step at each change.
        let (duration, batch) = (1_000_000.0, 64.0);
        let mut seen = 0.0;
        let mut counted = vec![0.0; sides.shares().len()];
        while seen < duration {
            let plan = sides.plan(PatchSchedule::Progressive, 0.5, seen / duration);
            let images = batch * plan.images_multiplier;
            for (count, share) in counted.iter_mut().zip(sides.shares()) {
                if share.side == plan.side {
                    *count += images;
                }
            }
            seen += images;
        }
        for (count, share) in counted.iter().zip(sides.shares()) {
            let error = count / duration - share.probability;
            assert!(
                error.abs() < 4.0 * 2.0 * batch / duration,
                "{share:?}: {error}"
            );
        }
    }
}

#[test]
fn the_sizes_that_are_used_share_the_steps_of_the_others() {
    let probabilities = |sizes: &[PatchPart], ratio| -> Vec<f64> {
        let sides = PatchSides::pixel(32, 32, sizes, ratio).unwrap();
        sides
            .shares()
            .iter()
            .map(|share| share.probability)
            .collect()
    };
    assert_eq!(probabilities(PatchPart::ALL, 0.5), [0.2, 0.3, 0.5]);
    assert_eq!(probabilities(&[PatchPart::Half], 0.5), [0.0, 0.5, 0.5]);
    assert_eq!(probabilities(&[PatchPart::Half], 0.0), [0.0, 1.0, 0.0]);
    assert_eq!(
        probabilities(&[PatchPart::Quarter], 0.25),
        [0.75, 0.0, 0.25]
    );
    assert_eq!(probabilities(&[], 0.25), [0.0, 0.0, 1.0]);
    // A size that no step uses need not divide the image.
    assert!(PatchSides::pixel(30, 30, &[PatchPart::Half], 0.5).is_ok());
}

#[test]
fn multipliers_count_the_images() {
    let sides = PatchSides::pixel(64, 64, PatchPart::ALL, 0.5).unwrap();
    assert_eq!(sides.mean_multiplier(), 1.9);
    let plan = |progress| sides.plan(PatchSchedule::Progressive, 0.99, progress);
    let small = Side::square(16, 4);
    assert_eq!(plan(0.199).side, small);
    assert_eq!(plan(0.199).images_multiplier, 4.0);
    assert_eq!(plan(0.2).side.side(), 32);
    assert_eq!(plan(0.5).side.side(), 64);
    assert_eq!(plan(1.3).side.side(), 64);
    assert_eq!(
        PatchSides::latent(32, 32, 0.5).unwrap().mean_multiplier(),
        1.5
    );
    assert!(PatchSides::pixel(30, 30, PatchPart::ALL, 0.5).is_err());
    // Of a picture that is not square, parts of the shorter side and the whole.
    let sides: Vec<Side> = (PatchSides::pixel(96, 64, PatchPart::ALL, 0.5)
        .unwrap()
        .shares()
        .iter())
    .map(|share| share.side)
    .collect();
    let whole = Side {
        height: 96,
        width: 64,
        multiplier: 1,
    };
    assert_eq!(sides, [small, Side::square(32, 2), whole]);
    assert!(PatchSides::pixel(96, 66, PatchPart::ALL, 0.5).is_err());
    assert!(PatchSides::pixel(32, 32, PatchPart::ALL, f64::NAN).is_err());
}
