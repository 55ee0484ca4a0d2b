//! Images a second of forward and backward through a network, at each patch side and precision.
//!
//! `forward_backward [demo|reference] [f32|bf16] [seconds] [threads]`; two threads unless said, each with half of the batch.

use std::io::Write;
use std::time::Instant;

use patchwork_core::Seed;
use patchwork_networks::{Dropout, Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

fn config(name: &str) -> (NetworkConfig, [(i64, i64); 3]) {
    // The demonstration's network, and a larger one for which PyTorch's rates are known.
    let (resolution, channels, blocks, attention, sizes) = match name {
        "reference" => (64, 64, 4, 16, [(64, 4), (32, 8), (16, 16)]),
        _ => (32, 32, 2, 8, [(32, 16), (16, 32), (8, 64)]),
    };
    let text = format!(
        r#"{{"arch": "ddpmpp", "img_resolution": {resolution}, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": {channels},
            "channel_mult": [1, 2, 2], "num_blocks": {blocks}, "attn_resolutions": [{attention}],
            "dropout": 0.05, "sigma_data": 0.5}}"#
    );
    (
        serde_json::from_str(&text).expect("the settings above are valid"),
        sizes,
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "demo".to_owned());
    let kinds = match arguments.next().as_deref() {
        Some("f32") => vec![Kind::Float],
        Some("bf16") => vec![Kind::BFloat16],
        _ => vec![Kind::Float, Kind::BFloat16],
    };
    let seconds: f64 = arguments.next().map_or(Ok(4.0), |text| text.parse())?;
    let threads: i32 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    tch::set_num_threads(threads);
    let (config, sizes) = config(&name);
    let network = Network::new(&config, Device::Cpu, 0)?;
    let parameters: i64 = network
        .parameters()
        .iter()
        .map(|each| each.tensor.numel() as i64)
        .sum();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{name}: {parameters} parameters")?;
    for kind in kinds {
        for (side, batch) in sizes {
            let batch = batch * i64::from(threads) / 2;
            let x = Tensor::randn(
                [batch, config.in_channels, side, side],
                (Kind::Float, Device::Cpu),
            );
            let noise = Tensor::randn([batch], (Kind::Float, Device::Cpu));
            let dropout = Dropout::new(Seed::new(0));
            let step = || {
                for mut parameter in network.parameters() {
                    parameter.tensor.zero_grad();
                }
                let predicted = network.forward(&x, &noise, None, None, kind, Some(&dropout));
                predicted
                    .to_kind(Kind::Float)
                    .square()
                    .sum(Kind::Float)
                    .backward();
            };
            step();
            step();
            let start = Instant::now();
            let mut steps = 0;
            while start.elapsed().as_secs_f64() < seconds {
                step();
                steps += 1;
            }
            let rate = (steps * batch) as f64 / start.elapsed().as_secs_f64();
            writeln!(
                output,
                "{kind:?} side {side:>2} batch {batch:>2}: {rate:8.2} images/s"
            )?;
        }
    }
    Ok(())
}
