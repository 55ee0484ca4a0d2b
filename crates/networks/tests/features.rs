//! Networks whose features are computed with in other ways: the same numbers, both ways through.

use std::collections::BTreeMap;
use std::sync::Mutex;

use patchwork_core::Seed;
use patchwork_libtorch::channels_last::is_channels_last;
use patchwork_networks::{Dropout, Features, Gradients, Network, NetworkConfig};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// libtorch's generator is one for the process: tests that draw take turns.
static GENERATOR: Mutex<()> = Mutex::new(());

fn numbers(shape: &[i64], factor: f64) -> Tensor {
    let count = shape.iter().product::<i64>();
    let numbers = Tensor::arange(count, (Kind::Double, Device::Cpu)) * factor;
    numbers.sin().reshape(shape)
}

/// A network of which no weight is near zero, as in fresh ones.
fn network(settings: &Value) -> Network {
    let mut config = json!({
        "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
        "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 16, "channel_mult": [1, 2],
        "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1, "sigma_data": 0.5
    });
    for (key, value) in settings.as_object().expect("settings are a table") {
        config[key] = value.clone();
    }
    let config: NetworkConfig =
        serde_json::from_value(config).expect("settings have the right keys");
    let network = {
        let _guard = GENERATOR.lock().expect("no test fails while it draws");
        Network::new(&config, Device::Cpu, 3).expect("the settings fit each other")
    };
    tch::no_grad(|| {
        for (index, mut parameter) in network.parameters().into_iter().enumerate() {
            let noise = numbers(&parameter.tensor.size(), 0.7 + index as f64 * 0.01) * 0.1;
            let _ = parameter.tensor.g_add_(&noise.to_kind(Kind::Float));
        }
    });
    network
}

/// The output and the gradients of a copy for training, by name.
fn passes(network: &Network, kind: Kind) -> BTreeMap<String, Tensor> {
    let network = network.to_training_copy(kind, Gradients::Own);
    let x = numbers(&[3, 5, 16, 16], 0.31);
    let input = if kind == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    };
    let noise = numbers(&[3], 0.9);
    let dropout = Dropout::new(Seed::new(4));
    let y = network.forward(&x.to_kind(input), &noise, None, None, kind, Some(&dropout));
    assert!(y.is_contiguous());
    let y = y.to_kind(Kind::Double);
    (&y * numbers(&y.size(), 1.3)).sum(Kind::Double).backward();
    let gradients = network.parameters().into_iter().map(|parameter| {
        let gradient = parameter.tensor.grad();
        assert!(gradient.defined(), "{}", parameter.name);
        (parameter.name, gradient.to_kind(Kind::Double))
    });
    gradients
        .chain([("output".to_owned(), y.detach())])
        .collect()
}

fn error(found: &Tensor, expected: &Tensor) -> f64 {
    ((found - expected).norm() / expected.norm().clamp_min(1e-12)).double_value(&[])
}

fn architectures() -> [Value; 5] {
    [
        json!({}),
        json!({"encoder_type": "residual", "resample_filter": [1, 3, 3, 1], "embedding_type": "fourier",
               "channel_mult_noise": 2}),
        json!({"encoder_type": "skip", "decoder_type": "skip"}),
        json!({"implicit_mlp": true}),
        json!({"arch": "adm", "model_channels": 64}),
    ]
}

#[test]
fn other_ways_give_the_same_output_and_gradients() {
    for settings in architectures() {
        let plain = passes(&network(&settings), Kind::Double);
        for features in [Features::ChannelsLast, Features::FusedNormalization] {
            let found = passes(&network(&settings).with_features(features), Kind::Double);
            assert_eq!(found.len(), plain.len());
            for (name, expected) in &plain {
                // Weights are float32, and so are a few numbers on the way: sums of the same terms in another order.
                let largest = expected.abs().max().double_value(&[]);
                let difference = (&found[name] - expected).abs().max().double_value(&[]);
                assert!(
                    difference < 1e-5 * largest + 1e-8,
                    "{settings} {features:?} {name}: {difference} of {largest}"
                );
            }
        }
    }
}

/// Each rounds at other places. What rounding comes to is the network's matter, and most in the plain way, which rounds what SiLU reads.
#[test]
fn bfloat16_is_as_near_to_float64_as_the_plain_way() {
    for settings in architectures() {
        let exact = passes(&network(&settings), Kind::Double);
        let [plain, last, fused] = [
            Features::Plain,
            Features::ChannelsLast,
            Features::FusedNormalization,
        ]
        .map(|features| {
            let found = passes(&network(&settings).with_features(features), Kind::BFloat16);
            let all = |tensors: &BTreeMap<String, Tensor>| {
                let flat: Vec<Tensor> = tensors.values().map(|each| each.reshape([-1])).collect();
                Tensor::cat(&flat, 0)
            };
            error(&all(&found), &all(&exact))
        });
        let errors = format!("{settings}: {plain} {last} {fused}");
        assert!(last < 2.0 * plain && fused < 2.0 * plain, "{errors}");
    }
}

#[test]
fn weights_keep_their_numbers_and_names_in_another_order_of_memory() {
    let plain = network(&json!({}));
    let arranged = network(&json!({})).with_features(Features::ChannelsLast);
    let mut convolutions = 0;
    for (plain, arranged) in plain.named_tensors().iter().zip(arranged.named_tensors()) {
        assert_eq!(plain.name, arranged.name);
        assert!(plain.tensor.equal(&arranged.tensor), "{}", plain.name);
        if plain.tensor.dim() == 4 {
            assert!(is_channels_last(&arranged.tensor), "{}", plain.name);
            convolutions += 1;
        }
    }
    assert!(convolutions > 10);
    let copy = arranged.to_training_copy(Kind::BFloat16, Gradients::Own);
    for parameter in copy.parameters() {
        assert!(parameter.tensor.dim() != 4 || is_channels_last(&parameter.tensor));
    }
}
