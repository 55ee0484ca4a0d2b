//! `jpeg_decode`: the JPEG files of the case's folder, decoded as Pillow does.

use patchwork_dataset::compose::compose;
use patchwork_dataset::decode::{MemoryGate, decode};
use tch::Tensor;

use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let gate = MemoryGate::new(1 << 30);
    let mut ours = Tensors::new();
    for (name, _) in case.after("output/") {
        let path = case.folder.join(format!("{name}.jpg"));
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let image = decode(&bytes, &gate).map_err(|error| format!("{name}: {error}"))?;
        let shape = [i64::from(image.height()), i64::from(image.width()), 3];
        let pixels = compose(image, [255; 3]);
        ours.insert(
            format!("output/{name}"),
            Tensor::from_slice(&pixels).reshape(shape),
        );
    }
    Ok(ours)
}
