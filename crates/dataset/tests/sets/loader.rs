//! Patches by position: whatever the batch, the share or the thread.

use std::collections::HashMap;

use patchwork_core::Seed;
use patchwork_dataset::{PatchSize, PatchStream, Prefetch, Share};

use super::{HEIGHT, IMAGES, WIDTH, write_set};

#[test]
fn a_position_has_one_patch_in_any_batch_and_any_share() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_set(folder.path(), true);
    let size = PatchSize {
        height: 5,
        width: 8,
    };
    let stream = PatchStream::new(&set, Seed::new(4), 0.25);
    let all = stream.patches(0..1000, Share::WHOLE, size);
    assert_eq!(stream.patches(130..190, Share::WHOLE, size), all[130..190]);
    for (position, patch) in all.iter().enumerate() {
        let position = position as u64;
        assert_eq!(
            stream.patches(position..position + 1, Share::WHOLE, size),
            [*patch]
        );
    }
    // Each share is its part of the whole, and together they are the whole, also from the middle of an epoch.
    for ranks in [1, 2, 3, 7] {
        for (start, end) in [(0, 120), (29, 150), (5, 6)] {
            let mut seen = start;
            for rank in 0..ranks {
                let share = stream.patches(start..end, Share::new(rank, ranks), size);
                assert!(share.len() as u64 <= (end - start).div_ceil(ranks));
                for patch in share {
                    assert_eq!(patch, all[seen as usize]);
                    seen += 1;
                }
            }
            assert_eq!(seen, end);
        }
    }
    let epoch: std::collections::HashSet<usize> =
        all[IMAGES..2 * IMAGES].iter().map(|p| p.index).collect();
    assert_eq!(epoch.len(), IMAGES);

    // Corners reach every place where the patch fits and no other; a fourth is mirrored, within six deviations.
    let many = stream.patches(0..40_000, Share::WHOLE, size);
    let mut corners = HashMap::new();
    for patch in &many {
        *corners.entry((patch.row, patch.column)).or_insert(0) += 1;
    }
    assert_eq!(
        corners.len(),
        (HEIGHT - size.height + 1) * (WIDTH - size.width + 1)
    );
    let aligned = stream
        .with_corner_step(4)
        .patches(0..500, Share::WHOLE, size);
    let places: std::collections::BTreeSet<(usize, usize)> =
        aligned.iter().map(|p| (p.row, p.column)).collect();
    let expected = [0, 4].map(|row| [0, 4, 8, 12].map(|column| (row, column)));
    assert!(places.into_iter().eq(expected.into_iter().flatten()));
    let mirrored = many.iter().filter(|patch| patch.mirrored).count();
    assert!(mirrored.abs_diff(10_000) < 520, "{mirrored}");
    assert_eq!(
        set.gather_labels(&all[..5]),
        all[..5]
            .iter()
            .map(|patch| (patch.index % 3) as i64)
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_thread_of_its_own_gathers_the_same_batches_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_set(folder.path(), false);
    let stream = PatchStream::new(&set, Seed::new(1), 0.5);
    let mut prefetch: Prefetch<Vec<f32>> = Prefetch::start({
        let set = set.clone();
        move |requests, size, out: &mut Vec<f32>| set.gather(requests, size, out)
    })
    .unwrap();
    let batch = |number: u64| {
        let size = PatchSize::square(4 + number as usize % 5);
        (
            stream.patches(number * 10..number * 10 + 10, Share::WHOLE, size),
            size,
        )
    };
    let ask = |prefetch: &mut Prefetch<Vec<f32>>, number: u64| {
        let (requests, size) = batch(number);
        prefetch.ask(requests, size, vec![0.0; 10 * size.values(set.channels())]);
    };
    assert!(prefetch.take().is_none());
    ask(&mut prefetch, 0);
    for number in 0..20 {
        ask(&mut prefetch, number + 1);
        let fetched = prefetch.take().unwrap().unwrap();
        let (requests, size) = batch(number);
        let mut expected = vec![0.0; 10 * size.values(set.channels())];
        set.gather(&requests, size, &mut expected).unwrap();
        assert_eq!(
            (fetched.requests, fetched.size, fetched.buffer),
            (requests, size, expected)
        );
    }
    // A buffer of the wrong length is that batch's error and no other's.
    let (requests, size) = batch(0);
    prefetch.ask(requests, size, vec![0.0; 3]);
    ask(&mut prefetch, 1);
    assert!(prefetch.take().unwrap().is_ok());
    assert!(prefetch.take().unwrap().is_err());
    assert!(prefetch.take().unwrap().is_ok());
}
