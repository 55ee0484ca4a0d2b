//! Resizing against the numbers recorded from Pillow.

use std::path::Path;

use patchwork_dataset::transform::Transform;
use safetensors::SafeTensors;

#[test]
fn lanczos_agrees_with_pillow_within_one() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/parity/resize-lanczos/tensors.safetensors");
    let bytes = std::fs::read(case).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, input) in tensors.tensors() {
        let Some(number) = name.strip_prefix("input/") else {
            continue;
        };
        let [height, width, 3] = *input.shape() else {
            panic!("{name}: {:?}", input.shape())
        };
        for (output, transform) in [
            ("center_crop", Transform::CenterCrop),
            ("stretch", Transform::Stretch),
        ] {
            let expected = tensors
                .tensor(&format!("output/{number}/{output}"))
                .unwrap();
            let side = expected.shape()[0];
            let resized = transform.apply(input.data(), width, height, side).unwrap();
            assert_eq!(resized.len(), expected.data().len());
            let differences = resized
                .iter()
                .zip(expected.data())
                .map(|(a, b)| a.abs_diff(*b));
            assert!(
                differences.max() <= Some(1),
                "{output} of {width} x {height} to {side}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 10);
}
