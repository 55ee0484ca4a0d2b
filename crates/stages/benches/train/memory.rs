//! The most memory that a training takes, of a process of its own.

use patchwork_artifacts::resources;
use patchwork_diffusion::{Side, StepPlan};
use patchwork_networks::Network;

use crate::Arguments;
use crate::subject::{Subject, images, parameters, round, training};

/// Steps: the second has the optimiser's moments beside its features.
const STEPS: u64 = 2;

/// Trains a few steps on whole images and prints the peak that the kernel has seen.
pub(crate) fn measure_memory(subject: &Subject, batch: i64, arguments: &Arguments) {
    let [precision] = arguments.precisions[..] else {
        panic!("memory is a process's: give one --precision");
    };
    assert!(
        !arguments.device.is_cuda(),
        "libtorch does not tell how much memory a GPU has given; `nvidia-smi` does while the speed is measured"
    );
    let config = &subject.config;
    let count = parameters(&Network::new(config, arguments.device, 0).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path(), config.img_resolution as usize);
    let mut training = training(
        config,
        batch,
        precision,
        arguments.device,
        arguments.fast_paths,
    );
    let side = Side::square(config.img_resolution, 1);
    let plan = StepPlan {
        side,
        images_multiplier: 1.0,
    };
    for step in 0..STEPS {
        let Ok(_) = training.run(plan, 1, |_, side| {
            Ok::<_, std::convert::Infallible>(round(
                &data,
                step,
                side,
                batch as u64,
                patchwork_dataset::Share::WHOLE,
                arguments.device,
            ))
        });
    }
    println!(
        "{}: {:.1} M parameters, batch {batch} of {side}x{side}, {precision:?}: {} MiB at most",
        subject.name,
        count as f64 / 1e6,
        resources::memory().unwrap().peak_bytes >> 20,
        side = side.side(),
    );
}
