//! Small files that ask for much: each is refused after work and memory in proportion to its length.

use std::fmt::Write;

use patchwork_networks::pickle::{PickleProblem, parse_checkpoint, parse_edm_snapshot};

use crate::allocation::peak;
use crate::fuzz::{bytes_of, largest_allocation};
use crate::pickler::{Pickler, archive_of, legacy, legacy_of};

/// Reads a file that must be refused, within the bound on memory, and gives the reason.
fn refused(file: &[u8]) -> PickleProblem {
    let (result, bytes) = peak(|| parse_checkpoint(file, None));
    let bound = largest_allocation(file.len());
    assert!(bytes <= bound, "{bytes} bytes for a file of {}", file.len());
    match result {
        Err(problem) => problem,
        Ok(content) => panic!("{} bytes of tensors came of it", bytes_of(&content)),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "each pickle is made for one check"
)]
fn check_limit(pickle: Pickler) {
    let problem = refused(&pickle.0);
    assert!(matches!(problem, PickleProblem::Limit { .. }), "{problem}");
}

/// `count` values on a mark, remembered as 0 when `close` has made a container of them.
fn large(count: usize, close: &[u8]) -> Pickler {
    Pickler::new()
        .raw(b"(")
        .raw(&b"N".repeat(count))
        .raw(close)
        .raw(b"q\x000")
}

#[test]
fn copies_of_a_large_container_are_paid_for() {
    let dictionary = Pickler::new().global("collections", "OrderedDict").0[2..].to_vec();
    let set = Pickler::new().global("builtins", "set").0[2..].to_vec();
    for (class, container) in [
        (dictionary, large(40_000, b"d")),
        (set, large(40_000, b"l")),
    ] {
        let remembered = container.raw(&class).raw(b"q\x010");
        check_limit(
            remembered
                .raw(&b"h\x01h\x00\x85R0".repeat(20_000))
                .raw(b"N."),
        );
    }
}

#[test]
fn arguments_without_end_are_not_copied() {
    let class = Pickler::new().global("torch", "device").0[2..].to_vec();
    let pickle = large(40_000, b"t")
        .raw(&class)
        .raw(b"q\x010")
        .raw(&b"h\x01h\x00R0".repeat(20_000))
        .raw(b"N.");
    refused(&pickle.0);
}

#[test]
fn an_embedded_storage_is_paid_for_each_time() {
    // The second of its pickles works hard before it says its number.
    let object = Pickler::new().storage("7", 0).raw(b"NtQ.").0;
    let whole = legacy_of(&object, &[("7", &[])]);
    let magic = whole.iter().position(|byte| *byte == b'.').unwrap() + 1;
    let storage = [&whole[..magic], &b"N0".repeat(20_000), &whole[magic + 2..]].concat();
    let load = Pickler::new().global("torch.storage", "_load_from_bytes").0[2..].to_vec();
    let pickle = Pickler::new()
        .bytes(&storage)
        .raw(b"q\x000")
        .raw(&load)
        .raw(b"q\x010")
        .raw(&b"h\x01h\x00\x85R0".repeat(20_000))
        .raw(b"N.");
    check_limit(pickle);
}

#[test]
fn long_storage_keys_are_refused() {
    // Every reference would repeat the key.
    let key = "7".repeat(60_000);
    let object = Pickler::new()
        .raw(b"}(")
        .text("a")
        .tensor(&key, 6, 0, &[1], &[1]);
    let problem = refused(&legacy(&object.raw(b"u.").0));
    assert!(
        problem.to_string().contains("the key of a storage"),
        "{problem}"
    );
}

#[test]
fn tensors_larger_than_their_storage_allows_are_refused() {
    // One element, repeated: each view is as large as the storage and touches almost nothing of it.
    let elements = vec![0.0f32; 50_000];
    let mut object = Pickler::new().raw(b"}(");
    for index in 0..500 {
        object = object
            .text(&index.to_string())
            .tensor("0", 50_000, 0, &[50_000], &[0]);
    }
    let object = object.raw(b"u.").0;
    let storages: &[(&str, &[f32])] = &[("0", &elements)];
    for file in [legacy_of(&object, storages), archive_of(&object, storages)] {
        let problem = refused(&file);
        assert!(
            problem.to_string().contains("far larger than the file"),
            "{problem}"
        );
    }
}

#[test]
fn modules_that_hold_each_other_are_paid_for_each_time() {
    // Thirty levels, each holding the one below twice: a billion paths.
    let module = |pickler: Pickler, children: Option<[u8; 2]>| {
        let pickler = pickler
            .global("torch.nn.modules.container", "ModuleDict")
            .raw(b")\x81}(")
            .text("_modules")
            .raw(b"}(");
        match children {
            Some(below) => pickler.text("a").raw(&below).text("b").raw(&below),
            None => pickler,
        }
        .raw(b"uub")
    };
    let mut pickler = module(Pickler::new(), None).raw(b"q\x000");
    for level in 1..30u8 {
        pickler = module(pickler, Some([b'h', level - 1])).raw(&[b'q', level, b'0']);
    }
    let pickle = pickler
        .raw(b"}(")
        .text("ema")
        .module("EDMPrecond")
        .text("sigma_data")
        .raw(b"K\x01")
        .text("_modules")
        .raw(b"}(")
        .text("model")
        .module("SongUNet")
        .text("_init_kwargs")
        .raw(b"}(")
        .text("img_resolution")
        .int(16)
        .text("in_channels")
        .int(3)
        .text("out_channels")
        .int(3)
        .raw(b"u")
        .text("_modules")
        .raw(b"}(")
        .text("enc")
        .raw(b"h\x1d")
        .raw(b"u")
        .end_module()
        .raw(b"u")
        .end_module()
        .raw(b"u.");
    check_limit(pickle);
}

#[test]
fn deep_and_cyclic_values_are_harmless() {
    let deep = Pickler::new()
        .raw(b")")
        .raw(&[0x85].repeat(3_000_000))
        .raw(b".");
    check_limit(deep);
    // A module whose state is remembered and then holds the module.
    let cyclic = Pickler::new()
        .raw(b"}")
        .text("ema")
        .global("torch_utils.persistence", "_reconstruct_persistent_obj")
        .raw(b"}(")
        .text("class_name")
        .text("EDMPrecond")
        .text("state")
        .raw(b"}q\x00")
        .raw(b"u")
        .raw(&[0x85])
        .raw(b"Rq\x01s.")
        .0;
    assert!(parse_edm_snapshot(&cyclic, "ema").is_err());
}

#[test]
fn messages_stay_short() {
    let long = "n".repeat(60_000);
    let mut pickle = Pickler::new().raw(b"}(").text(&long).raw(b"q\x00N");
    pickle = pickle.raw(&b"h\x00N".repeat(20_000)).raw(b"u.");
    let mut message = String::new();
    for problem in [
        parse_edm_snapshot(&pickle.0, "ema").unwrap_err(),
        refused(&Pickler::new().global(&long, &long).0),
    ] {
        write!(message, "{problem}").unwrap();
    }
    assert!(message.len() < 4000, "{} characters", message.len());
}
