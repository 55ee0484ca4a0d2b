//! `resize`: images made square and scaled as Pillow does, one `input/N` each with its `output/N/…`.

use patchwork_dataset::transform::{Size, Transform, apply};
use tch::{Kind, Tensor};

use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let mut ours = Tensors::new();
    for (number, input) in case.after("input/") {
        let [height, width, 3] = input.size()[..] else {
            return Err(format!("`input/{number}` has shape {:?}", input.size()));
        };
        let pixels = Vec::<u8>::try_from(input.to_kind(Kind::Uint8).reshape([-1]))
            .map_err(|error| format!("input/{number}: {error}"))?;
        let from = Size {
            width: width as usize,
            height: height as usize,
        };
        for (output, transform) in [
            ("center_crop", Transform::CenterCrop),
            ("stretch", Transform::Stretch),
        ] {
            let name = format!("output/{number}/{output}");
            let side = case.host_tensor(&name)?.size()[0];
            let resized = apply(transform, &pixels, 3, from, Size::square(side as usize))
                .map_err(|error| format!("{name}: {error}"))?;
            ours.insert(name, Tensor::from_slice(&resized).reshape([side, side, 3]));
        }
    }
    Ok(ours)
}
