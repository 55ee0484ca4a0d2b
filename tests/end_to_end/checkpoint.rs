//! `patchwork checkpoint`: a published pickle in, ours looked at, an export out, and what happens to mistakes.

use crate::program::Program;

const PICKLE: &str = "tests/fixtures/parity/edm-pickle/network-snapshot-000001.pkl";

#[test]
fn a_published_pickle_is_imported_inspected_and_exported() {
    let program = Program::new();
    let place = |name: &str| program.home().join(name).to_str().unwrap().to_owned();
    let (ours, half) = (place("ours.safetensors"), place("half.safetensors"));
    let said = program.succeed(&["checkpoint", "import", PICKLE, "--out", &ours]);
    assert_eq!(said.trim_end(), ours);
    program.succeed(&[
        "checkpoint",
        "export",
        &ours,
        "--out",
        &half,
        "--dtype",
        "float16",
    ]);

    let inspect = |file: &str| -> serde_json::Value {
        let text = program.succeed(&["checkpoint", "inspect", file, "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    };
    let (theirs, mine, exported) = (inspect(PICKLE), inspect(&ours), inspect(&half));
    assert_eq!(theirs["format"], "edm-pickle");
    assert_eq!(mine["format"], "safetensors");
    for key in ["settings", "parameters", "tensors"] {
        assert_eq!(theirs[key], mine[key], "{key}");
    }
    assert_eq!(mine["settings"]["model_channels"], 8);
    assert_eq!(exported["settings"], mine["settings"]);
    assert_eq!(exported["tensors"][0]["dtype"], "float16");
    let table = program.succeed(&["checkpoint", "inspect", &ours]);
    for word in [
        "safetensors",
        "img_resolution",
        "model.enc.16x16_conv.weight",
        "8×5×3×3",
    ] {
        assert!(table.contains(word), "`{word}` is missing in: {table}");
    }

    // Nothing is overwritten without `--force`, and nothing is left behind.
    let before = std::fs::read(&ours).unwrap();
    let output = program.run(&["checkpoint", "import", PICKLE, "--out", &ours]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains(&ours) && message.contains("--force"),
        "{message}"
    );
    program.succeed(&["checkpoint", "import", PICKLE, "--out", &ours, "--force"]);
    assert_eq!(std::fs::read(&ours).unwrap(), before);
}

#[test]
fn files_that_are_no_checkpoint_are_refused_with_one_message() {
    let program = Program::new();
    let out = program.home().join("out.safetensors");
    let junk = program.home().join("junk.pkl");
    let hostile = program.home().join("hostile.pkl");
    std::fs::write(&junk, "not a checkpoint").unwrap();
    std::fs::write(
        &hostile,
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    )
    .unwrap();
    let plain = "tests/fixtures/parity/denoiser-ddpmpp/tensors.safetensors";
    let out_text = out.to_str().unwrap();
    for (file, word) in [
        (junk.to_str().unwrap(), "known format"),
        (hostile.to_str().unwrap(), "`os.system`"),
        ("no/such/file.pkl", "no/such/file.pkl"),
        (plain, "--config"),
    ] {
        let output = program.run(&["checkpoint", "import", file, "--out", out_text]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(word), "`{word}` is missing in: {message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        assert!(
            !message.contains("panicked") && !message.contains("caused by"),
            "{message}"
        );
        assert!(!out.exists(), "something was made in spite of: {message}");
    }
}

#[test]
fn a_network_of_another_program_is_refused_with_the_command_that_converts_it() {
    let program = Program::new();
    let init = format!("stages.train.init_from={PICKLE}");
    let out = program.home().join("samples");
    for arguments in [
        &["run", "pipelines/smoke.toml", "--set", &init][..],
        &["sample", PICKLE, "--out", out.to_str().unwrap()],
    ] {
        let output = program.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        let command = format!("patchwork checkpoint import {PICKLE} --out network.safetensors");
        assert!(message.contains(&command), "{message}");
    }
    // Nothing is begun.
    assert!(!program.home().join("samples.work").exists());
    assert!(!program.home().join("artifacts/prepare").exists());
}
