//! Every `denoiser` and `edm_pickle` case: outputs and gradients against the published implementation's numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_networks::checkpoint::{load_network, network_to_bytes, read_safetensors};
use patchwork_networks::pickle::read_edm_snapshot;
use patchwork_networks::{Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// The project's own cases; those of another folder are for the parity suite.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity")
}

fn case(folder: &Path) -> serde_json::Value {
    let bytes = std::fs::read(folder.join("case.json")).expect("every case has a description");
    serde_json::from_slice(&bytes).expect("descriptions are JSON")
}

fn folders(kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(cases())
        .expect("the parity cases are there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.is_dir() && case(path)["kind"] == kind)
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no case of kind {kind}");
    found
}

fn group(tensors: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    tensors
        .iter()
        .filter_map(|(name, tensor)| {
            Some((
                name.strip_prefix(prefix)?.to_owned(),
                tensor.shallow_clone(),
            ))
        })
        .collect()
}

fn relative_error(ours: &Tensor, theirs: &Tensor) -> f64 {
    let ours = ours.to_kind(Kind::Double);
    let theirs = theirs.to_kind(Kind::Double);
    ((&ours - &theirs).norm() / (theirs.norm() + 1e-30)).double_value(&[])
}

/// EDM's preconditioning, with F in `kind`.
fn denoise(network: &Network, inputs: &BTreeMap<String, Tensor>, x: &Tensor, kind: Kind) -> Tensor {
    let data = network.config().sigma_data;
    let sigma = inputs["sigma"].view([-1, 1, 1, 1]);
    let variance = sigma.square() + data * data;
    let mut input = x / variance.sqrt();
    if let Some(positions) = inputs.get("x_pos") {
        input = Tensor::cat(&[input, positions.shallow_clone()], 1);
    }
    let noise = inputs["sigma"].log() / 4.0;
    let labels = inputs.get("class_labels");
    let raw = network.forward(
        &input,
        &noise,
        labels,
        inputs.get("augment_labels"),
        kind,
        None,
    );
    x * (data * data) / &variance + raw.to_kind(Kind::Float) * (&sigma * data) / variance.sqrt()
}

#[test]
fn denoiser_cases_agree_in_outputs_and_gradients() {
    for folder in folders("denoiser") {
        let case = case(&folder);
        let tolerance = case["tolerance"]["rel"].as_f64().unwrap();
        let config: NetworkConfig = serde_json::from_value(case["network"].clone()).unwrap();
        let tensors = read_safetensors(&folder.join("tensors.safetensors")).unwrap();
        let network = Network::new(&config, Device::Cpu, 1).unwrap();
        network.load(&group(&tensors, "param/")).unwrap();
        let inputs = group(&tensors, "input/");
        let x = inputs["x"].copy().set_requires_grad(true);
        let denoised = denoise(&network, &inputs, &x, Kind::Float);
        (&denoised * &inputs["probe"]).sum(Kind::Float).backward();
        let mut gradients: BTreeMap<String, Tensor> = network
            .parameters()
            .into_iter()
            .map(|parameter| (format!("model.{}", parameter.name), parameter.tensor.grad()))
            .collect();
        gradients.insert("input/x".to_owned(), x.grad());
        let mut worst = relative_error(&denoised, &tensors["output/denoised"]);
        for (name, theirs) in group(&tensors, "grad/") {
            let error = relative_error(&gradients[&name], &theirs);
            assert!(
                error <= tolerance,
                "{}: gradient of {name}: {error:e}",
                folder.display()
            );
            worst = worst.max(error);
        }
        assert!(worst <= tolerance, "{}: {worst:e}", folder.display());

        // Half the bits lose little: bfloat16 with weights cast at use, and with weights cast before.
        let _guard = tch::no_grad_guard();
        let reference = &tensors["output/denoised"];
        let low = denoise(&network, &inputs, &inputs["x"], Kind::BFloat16);
        assert!(
            relative_error(&low, reference) < 0.02,
            "{}: bfloat16",
            folder.display()
        );
        let copy = denoise(
            &network.to_kind_copy(Kind::BFloat16),
            &inputs,
            &inputs["x"],
            Kind::BFloat16,
        );
        assert!(
            relative_error(&copy, reference) < 0.02,
            "{}: bfloat16 copy",
            folder.display()
        );
    }
}

#[test]
fn published_snapshots_are_read() {
    for folder in folders("edm_pickle") {
        let case = case(&folder);
        let snapshot =
            read_edm_snapshot(&folder.join(case["file"].as_str().unwrap()), "ema").unwrap();
        let tensors = read_safetensors(&folder.join("tensors.safetensors")).unwrap();
        let theirs = group(&tensors, "param/");
        assert!(snapshot.tensors.keys().eq(theirs.keys()));
        for (name, tensor) in &theirs {
            assert_eq!(&snapshot.tensors[name], tensor, "{name}");
        }
        let network = Network::new(&snapshot.config, Device::Cpu, 1).unwrap();
        network.load(&snapshot.tensors).unwrap();
        let inputs = group(&tensors, "input/");
        let denoised = tch::no_grad(|| denoise(&network, &inputs, &inputs["x"], Kind::Float));
        assert!(
            relative_error(&denoised, &tensors["output/denoised"])
                <= case["tolerance"]["rel"].as_f64().unwrap()
        );
    }
}

#[test]
fn names_and_shapes_are_the_published_ones() {
    for folder in folders("denoiser") {
        let config: NetworkConfig =
            serde_json::from_value(case(&folder)["network"].clone()).unwrap();
        let theirs: BTreeMap<String, Vec<i64>> = group(
            &read_safetensors(&folder.join("tensors.safetensors")).unwrap(),
            "param/model.",
        )
        .into_iter()
        .map(|(name, tensor)| (name, tensor.size()))
        .collect();
        let network = Network::new(&config, Device::Cpu, 0).unwrap();
        let ours: BTreeMap<String, Vec<i64>> = network
            .named_tensors()
            .into_iter()
            .map(|parameter| (parameter.name, parameter.tensor.size()))
            .collect();
        assert_eq!(ours, theirs, "{}", folder.display());
    }
}

#[test]
fn checkpoints_come_back_whole_and_byte_for_byte() {
    let folder = cases().join("denoiser-ncsnpp");
    let config: NetworkConfig = serde_json::from_value(case(&folder)["network"].clone()).unwrap();
    let network = Network::new(&config, Device::Cpu, 7).unwrap();
    let bytes = network_to_bytes(&network).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let again = load_network(file.path(), Device::Cpu).unwrap();
    assert_eq!(again.config(), &config);
    assert_eq!(network_to_bytes(&again).unwrap(), bytes);
    assert!(
        read_safetensors(file.path())
            .unwrap()
            .keys()
            .all(|name| name.starts_with("model."))
    );
    std::fs::write(file.path(), &bytes[..bytes.len() - 1]).unwrap();
    assert!(load_network(file.path(), Device::Cpu).is_err());
}
