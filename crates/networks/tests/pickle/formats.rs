//! What whole files give.

use patchwork_networks::pickle::{
    ExternalCheckpoint, PickleProblem, parse_checkpoint, parse_edm_snapshot, parse_state_dict,
};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::pickler::{ELEMENTS, Pickler, archive, legacy, object, published, snapshot};

#[test]
fn both_formats_of_pytorch_are_read() {
    let expected = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([2, 3]);
    for file in [legacy(&object()), archive(&object())] {
        let tensors = parse_state_dict(&file).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tensors["a"], expected);
        assert_eq!(tensors["b"], expected.tr());
        let Ok(ExternalCheckpoint::StateDict(tensors)) = parse_checkpoint(&file, None) else {
            panic!("a state dictionary is taken for something else");
        };
        assert_eq!(tensors["a"], expected);
    }
}

#[test]
fn of_several_things_the_named_one_is_read() {
    let tensor = |pickler: Pickler, name: &str, offset| {
        pickler
            .raw(b"}(")
            .text(name)
            .tensor("0", 6, offset, &[1], &[1])
            .raw(b"u")
    };
    let first = tensor(Pickler::new().raw(b"}(").text("net"), "a", 1);
    let file = archive(&tensor(first.text("ema"), "a", 2).raw(b"u.").0);
    for (entry, value) in [("net", 1.0), ("ema", 2.0)] {
        let Ok(ExternalCheckpoint::StateDict(tensors)) = parse_checkpoint(&file, Some(entry))
        else {
            panic!("`{entry}` is not read");
        };
        assert_eq!(tensors["a"].double_value(&[0]), value);
    }
    let message = |entry| parse_checkpoint(&file, entry).unwrap_err().to_string();
    assert!(message(None).contains("several dictionaries of tensors (net, ema)"));
    assert!(message(Some("model")).contains("its entries are: net, ema"));
}

#[test]
fn a_pickled_network_is_read_from_every_container() {
    let arguments = json!({"img_resolution": 16, "in_channels": 3, "out_channels": 3});
    let plain = snapshot("EDMPrecond", "SongUNet", &arguments);
    // The same under another name in an archive, as a training state is.
    let inner = plain[2..].to_vec();
    let mut renamed = vec![0x80, 2];
    let name = inner.windows(3).position(|word| word == b"ema").unwrap();
    renamed.extend(&inner[..name]);
    renamed.extend(b"net");
    renamed.extend(&inner[name + 3..]);
    for (file, entry) in [(plain, None), (archive(&renamed), Some("net"))] {
        let Ok(ExternalCheckpoint::Network(network)) = parse_checkpoint(&file, entry) else {
            panic!("{entry:?} is not read as a network");
        };
        assert_eq!(
            network.tensors["model.enc.weight"],
            Tensor::from_slice(&ELEMENTS)
        );
        assert_eq!(network.config.img_resolution, 16);
        assert_eq!(network.config.sigma_data, 0.25);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for whole in [legacy(&object()), archive(&object())] {
        for length in 0..whole.len() {
            assert!(
                parse_state_dict(&whole[..length]).is_err(),
                "{length} of {}",
                whole.len()
            );
        }
    }
    let whole = published();
    for length in (0..whole.len()).step_by(911) {
        assert!(
            parse_edm_snapshot(&whole[..length], "ema").is_err(),
            "{length}"
        );
    }
}

#[test]
fn names_outside_the_list_are_refused_and_said() {
    let hostile = Pickler::new()
        .global("os", "system")
        .text("true")
        .raw(&[0x85])
        .raw(b"R.")
        .0;
    for file in [legacy(&hostile), archive(&hostile)] {
        match parse_state_dict(&file) {
            Err(PickleProblem::Global { module, name }) => {
                assert_eq!((module.as_str(), name.as_str()), ("os", "system"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        parse_edm_snapshot(&hostile, "ema"),
        Err(PickleProblem::Global { .. })
    ));
}

#[test]
fn views_outside_their_storage_are_refused() {
    for (offset, size, stride) in [
        (1, &[2, 3][..], &[3, 1][..]),
        (0, &[2, 3], &[4, 1]),
        (0, &[1000, 1000], &[0, 0]),
        (-1, &[2], &[1]),
        (0, &[-2], &[1]),
        (0, &[2], &[-1]),
        (
            0,
            &[i32::MAX, i32::MAX, i32::MAX],
            &[i32::MAX, i32::MAX, i32::MAX],
        ),
    ] {
        let object = Pickler::new()
            .raw(b"}")
            .text("a")
            .tensor("0", 6, offset, size, stride)
            .raw(b"s.")
            .0;
        assert!(
            matches!(
                parse_state_dict(&legacy(&object)),
                Err(PickleProblem::Tensor { .. })
            ),
            "{offset} {size:?} {stride:?}"
        );
    }
}
