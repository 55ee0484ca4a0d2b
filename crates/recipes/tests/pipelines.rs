//! What a pipeline file may say, what it comes to, and how everything else is refused.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::{Path, PathBuf};

use patchwork_recipes::{Pipeline, SeedRange, Stage, StageSettings, load, load_stage};
use patchwork_terms::{Kind, Labels};

const SMALL: &str = r#"name = "small"

[stages.prepare]
source = "builtin:twemoji"
resolution = 32

[stages.reference]

[stages.train]
duration_images = 1000
learning_rate_rampup_images = 100

[stages.train.network]
model_channels = 32
channel_mult = [1, 2, 2]
attn_resolutions = [8]

[stages.sample]

[stages.evaluate]
"#;

/// A folder with `p.toml` and, where given, `base.toml`.
fn folder(pipeline: &str, base: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, pipeline).unwrap();
    if let Some(base) = base {
        std::fs::write(folder.path().join("base.toml"), base).unwrap();
    }
    (folder, path)
}

fn resolved(pipeline: &str, overrides: &[&str]) -> Pipeline {
    let (_folder, path) = folder(pipeline, None);
    only(&path, &texts(overrides))
}

/// The one pipeline of a file without a `[matrix]`.
fn only(path: &Path, overrides: &[String]) -> Pipeline {
    let mut variants = load(path, overrides).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(variants.len(), 1);
    assert!(variants[0].values.is_empty());
    variants.remove(0).pipeline
}

/// The message without the temporary folder.
fn refusal(pipeline: &str, base: Option<&str>, overrides: &[&str]) -> String {
    let (folder, path) = folder(pipeline, base);
    let error = load(&path, &texts(overrides)).expect_err("the pipeline is refused");
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// SMALL with one piece of text put in place of another.
fn edited(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "nothing to edit: {from}");
    SMALL.replacen(from, to, 1)
}

#[test]
fn defaults_fill_in_what_was_not_typed() {
    let pipeline = resolved(SMALL, &[]);
    assert_eq!((pipeline.name.as_str(), pipeline.seed), ("small", 0));
    let names: Vec<_> = pipeline
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["prepare", "reference", "train", "sample", "evaluate"]
    );
    let needs: Vec<_> = pipeline
        .stages
        .iter()
        .map(|stage| stage.needs.join(" "))
        .collect();
    assert_eq!(
        needs,
        ["", "prepare", "prepare", "train", "reference sample"]
    );
    let StageSettings::Prepare(prepare) = &pipeline.stages[0].settings else {
        panic!()
    };
    assert_eq!(prepare.background, [255; 3]);
    assert_eq!(prepare.labels, Labels::None);
    assert_eq!(prepare.emoji.as_ref().unwrap().groups.len(), 8);
    let StageSettings::Train(train) = &pipeline.stages[2].settings else {
        panic!()
    };
    assert_eq!(
        (train.batch_size, train.ema_half_life_images),
        (256, 500_000)
    );
    assert_eq!(
        (train.network.num_blocks, train.network.side_divisor()),
        (4, 4)
    );
    let StageSettings::Sample(sample) = &pipeline.stages[3].settings else {
        panic!()
    };
    assert_eq!(
        sample.seeds,
        [SeedRange {
            first: 0,
            last: 999
        }]
    );
    assert_eq!(pipeline.stages[2].execution.device, "cpu");
}

/// The number of images in a shard, which is part of fingerprints.
#[test]
fn shards_of_large_images_hold_fewer() {
    let images_per_shard = |overrides: &[&str]| {
        let pipeline = resolved(SMALL, overrides);
        let StageSettings::Prepare(prepare) = &pipeline.stages[0].settings else {
            panic!()
        };
        let StageSettings::Sample(sample) = &pipeline.stages[3].settings else {
            panic!()
        };
        (prepare.images_per_shard, sample.images_per_shard)
    };
    assert_eq!(images_per_shard(&[]), (1024, 1000));
    let cases: [(&[&str], (u32, u32)); 3] = [
        (&["stages.prepare.resolution=256"], (1024, 1000)),
        (&["stages.prepare.resolution=512"], (256, 256)),
        (
            &["stages.prepare.resolution=512", "stages.prepare.channels=1"],
            (768, 768),
        ),
    ];
    for (set, expected) in cases {
        let attention = "stages.train.network.attn_resolutions=[128]";
        assert_eq!(images_per_shard(&[set, &[attention]].concat()), expected);
    }
}

#[test]
fn settings_serialise_without_their_kind_and_stages_come_back_whole() {
    let pipeline = resolved(
        SMALL,
        &["stages.sample.seeds=5,7-9,10", "stages.train.threads=2"],
    );
    let json = serde_json::to_value(&pipeline.stages[3].settings).unwrap();
    assert_eq!(json["seeds"], serde_json::json!(["5", "7-10"]));
    assert_eq!(json["s_max"], serde_json::Value::Null);
    assert!(json.get("kind").is_none() && json.get("device").is_none());
    let text = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&text).unwrap(), pipeline);
}

#[test]
fn equal_choices_in_another_order_are_equal_settings() {
    let with = |text: &str| resolved(&format!("{SMALL}{text}"), &[]).stages;
    let groups = |list: &str| with(&format!("[stages.prepare.emoji]\ngroups = {list}\n"));
    assert_eq!(
        groups(r#"["flags", "objects"]"#),
        groups(r#"["objects", "flags"]"#)
    );
    let augmented = |list: &str| {
        let operations = format!("stages.train.augment_operations={list}");
        resolved(
            SMALL,
            &["stages.train.augment_probability=0.1", &operations],
        )
    };
    assert_eq!(
        augmented(r#"["yflip", "xflip"]"#),
        augmented(r#"["xflip", "yflip", "xflip"]"#)
    );
    let seeds = |text: &str| resolved(SMALL, &[&format!("stages.sample.seeds={text}")]);
    assert_eq!(seeds("0-9,10-19"), seeds("0-19"));
}

#[test]
fn what_is_laid_over_a_preset_is_told_with_both_values() {
    let base = SMALL.replace("name = \"small\"\n", "seed = 3\n");
    let this = "name = \"p\"\nextends = \"base.toml\"\nseed = 3\n[stages.train]\nbatch_size = 4\n\
                duration_images = 1_000\n[matrix]\n\"stages.sample.steps\" = [5]\n";
    let (_folder, path) = folder(this, Some(&base));
    let overrides = texts(&["stages.train.network.channel_mult=[1, 2, 4]", "device=cuda"]);
    let variants = load(&path, &overrides).unwrap();
    let over = variants[0].pipeline.over_preset.clone().unwrap();
    assert_eq!(over.file, "base.toml");
    let changes: Vec<(&str, &str, Option<&str>)> = over
        .changed
        .iter()
        .map(|(key, changed)| {
            let preset = changed.preset.as_deref();
            (key.as_str(), changed.value.as_str(), preset)
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("device", "cuda", None),
            ("stages.sample.steps", "5", None),
            ("stages.train.batch_size", "4", None),
            (
                "stages.train.network.channel_mult",
                "[1, 2, 4]",
                Some("[1, 2, 2]")
            ),
        ]
    );
    let json = serde_json::to_string(&variants[0].pipeline).unwrap();
    let read: Pipeline = serde_json::from_str(&json).unwrap();
    assert_eq!(read, variants[0].pipeline);
    assert_eq!(resolved(SMALL, &[]).over_preset, None);
}

#[test]
fn extends_merges_deeply_and_this_file_wins() {
    let base = r#"
[stages.prepare]
source = "builtin:twemoji"
resolution = 64
[stages.train]
duration_images = 1000
[stages.train.network]
model_channels = 64
attn_resolutions = [8]
"#;
    let this = "name = \"p\"\nextends = \"base.toml\"\n[stages.prepare]\nresolution = 32\n\
                [stages.train.network]\nchannel_mult = [1, 2]\nattn_resolutions = [16]\n";
    let (_folder, path) = folder(this, Some(base));
    let pipeline = only(&path, &[]);
    let StageSettings::Train(train) = &pipeline.stage("train").unwrap().settings else {
        panic!()
    };
    let network = &train.network;
    assert_eq!((network.model_channels, train.duration_images), (64, 1000));
    assert_eq!(
        (
            network.channel_mult.as_slice(),
            network.attn_resolutions.as_slice()
        ),
        (&[1, 2][..], &[16][..])
    );

    let typo = base.replace("resolution = 64", "resolutoin = 64");
    let message = refusal(this, Some(&typo), &[]);
    assert_eq!(
        message,
        "base.toml:4:1: unknown key `resolutoin` in [stages.prepare]; did you mean `resolution`?"
    );
    let circle = format!("extends = \"p.toml\"\n{base}");
    let message = refusal(this, Some(&circle), &[]);
    assert!(
        message.starts_with("base.toml:1:11: ") && message.contains("p.toml → base.toml → p.toml"),
        "{message}"
    );
    let message = refusal("name = \"p\"\nextends = \"gone.toml\"\n", None, &[]);
    assert!(
        message.starts_with("p.toml:2:11: cannot read `gone.toml`"),
        "{message}"
    );
}

#[test]
fn overrides_are_toml_values_or_bare_words() {
    let pipeline = resolved(
        SMALL,
        &[
            "stages.train.batch_size=64",
            "stages.sample.solver=euler",
            "stages.sample.seeds=0-99",
            "stages.train.network.channel_mult=[1, 2]",
            "stages.train.network.attn_resolutions=[16]",
            "seed=7",
        ],
    );
    assert_eq!(pipeline.seed, 7);
    let StageSettings::Train(train) = &pipeline.stages[2].settings else {
        panic!()
    };
    assert_eq!((train.batch_size, train.network.levels()), (64, 2));
    let StageSettings::Sample(sample) = &pipeline.stages[3].settings else {
        panic!()
    };
    assert_eq!(
        (sample.solver.name(), sample.seeds[0].count()),
        ("euler", 100)
    );

    let refused = |text: &str| refusal(SMALL, None, &[text]);
    assert_eq!(
        refused("stages.train.batchsize=64"),
        "--set stages.train.batchsize=64: unknown key `batchsize` in [stages.train]; \
         did you mean `batch_size`?"
    );
    assert!(refused("stages.trian.batch_size=64").contains("did you mean `train`?"));
    assert!(refused("stages.train.batch_size").contains("no `=`"));
    assert!(refused("stages.train.batch_size=[1").contains("not valid TOML"));
}

#[test]
fn one_device_is_that_of_all_stages_that_compute_and_name_none() {
    let devices = |pipeline: &str, overrides: &[&str]| -> Vec<String> {
        let stages = resolved(pipeline, overrides).stages;
        stages
            .into_iter()
            .map(|stage| stage.execution.device)
            .collect()
    };
    assert_eq!(
        devices(SMALL, &["stages.sample.device=cpu", "device=cuda:1"]),
        ["cpu", "cuda:1", "cuda:1", "cpu", "cuda:1"]
    );
    let typed = format!("device = \"cuda\"\n{SMALL}");
    assert_eq!(
        devices(&typed, &[]),
        ["cpu", "cuda", "cuda", "cuda", "cuda"]
    );
    // What needs a device has one, wherever it is named.
    resolved(SMALL, &["stages.train.tf32=true", "device=cuda"]);
    let message = refusal(SMALL, None, &["device=gpu"]);
    assert!(
        message.contains("`device` is `gpu`; a device is `cpu`, `cuda` or `cuda:0`"),
        "{message}"
    );

    let (_folder, path) = folder(&typed, None);
    let alone = |kind: Kind| {
        let single = load_stage(kind, kind.name(), Some(&path), &[], &[]);
        single.unwrap().stage.execution.device
    };
    assert_eq!(alone(Kind::Prepare), "cpu");
    assert_eq!(alone(Kind::Train), "cuda");
}

/// Checks the message of a pipeline in which `from` is replaced by `to`.
fn check(from: &str, to: &str, expected: &str) {
    let message = refusal(&edited(from, to), None, &[]);
    assert!(
        message.contains(expected),
        "\n got: {message}\nwant: {expected}"
    );
}

#[test]
fn refusals_say_where_and_what() {
    check(
        "name = \"small\"",
        "nam = \"small\"",
        "p.toml:1:1: unknown key `nam`; did you mean `name`?",
    );
    check(
        "name = \"small\"",
        "",
        "p.toml:1:1: `name` is missing: a string",
    );
    check(
        "name = \"small\"",
        "name = \"a b\"",
        "p.toml:1:8: `name` is `a b`; names have",
    );
    check(
        "resolution = 32\n",
        "",
        "p.toml:3:9: `resolution` in [stages.prepare] is missing",
    );
    check(
        "resolution = 32",
        "resolution = \"32\"",
        "p.toml:5:14: `resolution` in [stages.prepare] must be a whole number, 0 or above, not the string \"32\"",
    );
    check(
        "resolution = 32",
        "resolution = 2",
        "is 2, not between 4 and 4096",
    );
    check(
        "resolution = 32",
        "resolution = 32 32",
        "p.toml:5:14: not valid TOML",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nsolver = \"huen\"",
        "not \"huen\"; did you mean `heun`?",
    );
    check(
        "[stages.sample]",
        "[stages.sampel]",
        "p.toml:18:9: `sampel` in [stages] is not a kind of stage, so it needs a `kind`: prepare, autoencoder, encode, \
         reference, train, sample, reconstruct, evaluate; did you mean `sample`?",
    );
    check(
        "[stages.sample]",
        "[stages.other]\nkind = \"sampel\"",
        "did you mean `sample`?",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\ndevice = \"gpu\"",
        "a device is `cpu`, `cuda` or `cuda:0`",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\ncheckpoint_minutes = 1",
        "unknown key `checkpoint_minutes`",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nseeds = \"0-9,5\"",
        "`5` and `0-9` overlap",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nsigma_max = 0.001",
        "is 0.002, which is not below `sigma_max` = 0.001",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nrho = inf",
        "not a number above 0",
    );
    check(
        "[stages.sample]",
        "[matrix]\n\"stages.sample.steps\" = []\n[stages.sample]",
        "`stages.sample.steps` in [matrix] has no values",
    );
    for (setting, problem) in [
        (
            "classes = \"cat\"",
            "`classes` in [stages.sample] names classes, but training is not",
        ),
        ("classes = [\"cat\", -1]", "classes are numbered from 0"),
        ("classes = [[\"cat\"], \"dog\"]", "classes"),
        (
            "labels = \"balanced\"\nclasses = [1]",
            "chooses others; leave out one of them",
        ),
        ("seeds = 3\ninterpolate = 4", "name two or more"),
        ("seeds = \"0-99999\"\ninterpolate = 4", "these are too many"),
        (
            "seeds = \"3,7\"\ns_churn = 1\ninterpolate = 4",
            "needs deterministic steps",
        ),
        ("seeds = \"3,7\"\ninterpolate = 1", "interpolate"),
        (
            "region = { side = 8, height = 6 }",
            "has 8 x 6 pixels, but a network of 3 levels needs",
        ),
        (
            "region = { row = 16, side = 8, height = 24 }",
            "of 8 x 24 pixels at row 16",
        ),
    ] {
        let stage = format!("[stages.sample]\n{setting}");
        check("[stages.sample]", &stage, problem);
    }
    for (seeds, metrics, problem) in [
        (
            "0-38",
            "\"confidence\"",
            "needs 40 images, and `sample` samples 39",
        ),
        (
            "0-2",
            "\"manifold\"",
            "than `nearest_k` = 3, and of `sample` there are 3",
        ),
    ] {
        let stages = format!(
            "[stages.sample]\nseeds = \"{seeds}\"\n[stages.evaluate]\nmetrics = [{metrics}]"
        );
        let changed = SMALL.replace(
            "[stages.reference]",
            "[stages.reference]\nkeep_features = 100",
        );
        let changed = changed.replace("[stages.sample]\n\n[stages.evaluate]", &stages);
        let (_folder, path) = folder(&changed, None);
        let error = load(&path, &[]).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    for key in ["timeout_minutes", "max_minutes", "stall_minutes"] {
        check(
            "[stages.train]",
            &format!("[stages.train]\n{key} = 1e300"),
            "not above 0 and up to 5.256e8",
        );
    }
    let hundred: Vec<String> = (1..=100).map(|value| value.to_string()).collect();
    let hundred = hundred.join(", ");
    check(
        "[stages.sample]",
        &format!(
            "[matrix]\nseed = [{hundred}]\n\"stages.sample.steps\" = [{hundred}]\n\"stages.train.batch_size\" = [1, 2]\n\
             [stages.sample]"
        ),
        "makes it more than 10000 combinations",
    );
    check(
        "[stages.sample]",
        "[matrix]\nstages.sample.steps = [1]\n[stages.sample]",
        "`stages` in [matrix] must be a dotted key in quotes",
    );
    check(
        "[stages.sample]",
        "[matrix]\n\"stages.sample.step\" = [4]\n[stages.sample]",
        "unknown key `step` in [stages.sample]; did you mean `steps`?",
    );
    check(
        "builtin:twemoji",
        "builtin:emoji",
        "the only one is `builtin:twemoji`",
    );
    check(
        "builtin:twemoji",
        "data\"\nlabels = \"group",
        "`group` is for `builtin:twemoji`",
    );
    check(
        "resolution = 32",
        "resolution = 32\nemoji.groups = [\"flag\"]",
        "did you mean `flags`?",
    );
    check(
        "resolution = 32",
        "resolution = 32\nbackground = \"white\"",
        "must be a colour such as `#ffffff`",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nextractor = \"inception\"",
        "did you mean `inception-v3`?",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nextractor = [\"inception-v3\", \"inception-v3/tf1\"]",
        "names `inception-v3/tf1` twice",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nextractor = \"inception-v3/bicubic\"",
        "resized as `tf1`, `torch` or `clean`",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nextractor = \"efficientnet-lite0/clean\"",
        "only `inception-v3` has several ways",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nspatial = true",
        "needs `inception-v3` among",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\n[stages.reference.torchscript.dino]\nfile = \"dino.pt\"\nside = 224",
        "which `extractor` does not name",
    );
    check(
        "[stages.reference]",
        "[stages.reference]\nstatistics = \"ffhq.npz\"\ncrops = [\"half\"]",
        "is not possible with external `statistics`",
    );
}

#[test]
fn rules_between_settings_name_both() {
    check(
        "resolution = 32",
        "resolution = 40",
        "p.toml:15:16: `channel_mult` in [stages.train.network] has 3 levels, which need sides divisible by 4, but \
         with `resolution` = 40 and `full_image_ratio` = 0.5 training uses patches of side 10",
    );
    for (size, expected) in [
        (
            "height = 34",
            "need sides divisible by 4, and images of 32 x 34 pixels have the side 34",
        ),
        (
            "height = 24",
            "with images of 32 x 24 pixels and `full_image_ratio` = 0.5 training uses patches of side 6",
        ),
        (
            "channels = 2",
            "is 2; images have 3 channels (red, green and blue) or 1 (grey)",
        ),
    ] {
        check(
            "resolution = 32",
            &format!("resolution = 32\n{size}"),
            expected,
        );
    }
    let shaped = edited(
        "resolution = 32",
        "resolution = 32\nheight = 48\nchannels = 1",
    );
    resolved(&shaped, &["stages.train.augment_probability=0.1"]);
    for (operation, expected) in [
        (
            "rotate-int",
            "has `rotate-int`, whose quarter turns change the shape of images of 32 x 48",
        ),
        ("hue", "has `hue`, which transforms colours"),
    ] {
        let chosen = format!("stages.train.augment_operations=[\"{operation}\"]");
        let message = refusal(
            &shaped,
            None,
            &["stages.train.augment_probability=0.1", &chosen],
        );
        assert!(message.contains(expected), "{message}");
    }
    check(
        "[8]",
        "[10]",
        "`attn_resolutions` in [stages.train.network] has 10, but with `resolution` = 32 the levels of the network \
         have the sides [32, 16, 8]",
    );
    check(
        "model_channels = 32",
        "model_channels = 48",
        "is 48, which with `channel_mult` = [1, 2, 2] makes a layer of",
    );
    for (typed, expected) in [
        (
            "snapshots_kept = 2",
            "`snapshots_kept` in [stages.train] thins out the snapshots of `snapshot_kimg`, which is not set",
        ),
        (
            "gradient_accumulation = 3",
            "is 3, which does not divide `batch_size` = ",
        ),
        (
            "max_kimg = 0.0001",
            "is 0.0001 thousand images, not between 0.001 and 1e9",
        ),
        ("on_divergence = \"rolback\"", "did you mean `rollback`?"),
    ] {
        check(
            "duration_images = 1000",
            &format!("duration_images = 1000\n{typed}"),
            expected,
        );
    }
    check(
        "duration_images = 1000",
        "duration_images = 1000\nsnapshot_images = [500, 200]",
        "must ascend",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\nsnapshot_images = [1000]",
        "has 1000, which is not below `duration_images` = 1000",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\nlearning_rate_decay_images = 950",
        "is 950, which with `learning_rate_rampup_images` = 100 does not fit into `duration_images` = 1000",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\nclass_conditional = true",
        "its `labels` are `none`",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\nlabel_dropout = 0.1",
        "`class_conditional` is false",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\npreconditioning = \"vp\"\np_mean = -1.0",
        "`p_mean` in [stages.train] belongs to `preconditioning` = \"edm\"; \"vp\" has noise levels",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\naugment_operations = [\"xflip\"]",
        "`augment_operations` in [stages.train] names augmentations, but `augment_probability` is 0",
    );
    check(
        "duration_images = 1000",
        "duration_images = 1000\naugment_probability = 0.1\naugment_operations = []",
        "is empty; for no augmentation set",
    );
    for (typed, expected) in [
        (
            "ema_width = 0.1",
            "needs averages of several widths, which training keeps with `ema` = \"power\"",
        ),
        ("ema_width = 0.3", "lies between 0 and 0.28"),
        (
            "guidance_interval = [0.1, 2.0]",
            "limits `guidance`, which is not set",
        ),
        (
            "guidance = 2.0\nguidance_interval = [2.0]",
            "is [2.0]; write two noise levels",
        ),
        (
            "region = { side = 16, row = 20 }",
            "of side 16 at row 20 and column 0 does not lie in images of `resolution` = 32",
        ),
        (
            "region = { side = 10 }",
            "has side 10, but a network of 3 levels needs sides divisible by 4",
        ),
        (
            "region = { sides = 16 }",
            "unknown key `sides` in [stages.sample.region]",
        ),
        (
            "region = { side = 16 }",
            "a reference of side 32 and, through `sample`, to samples of side 16",
        ),
        (
            "discretization = \"vp\"\nrho = 7",
            "`rho` in [stages.sample] belongs to `discretization` = \"edm\"",
        ),
        (
            "solver = \"dpm-solver-2m\"\nschedule = \"vp\"",
            "is \"vp\", but `solver` = \"dpm-solver-2m\" knows only \"linear\"",
        ),
        (
            "solver = \"dpm-solver-2m\"\ns_churn = 10",
            "`s_churn` in [stages.sample] adds noise",
        ),
    ] {
        check(
            "[stages.sample]",
            &format!("[stages.sample]\n{typed}"),
            expected,
        );
    }
    check(
        "[stages.sample]",
        "[stages.sample]\nat_images = 500",
        "p.toml:19:13: `at_images` in [stages.sample] is 500, which is not among the `snapshot_images` of training: []",
    );
    for (typed, images, expected) in [
        (
            "snapshot_kimg = 0.25",
            400,
            "is 400, which is not among the `snapshot_images` of training: [], nor one of every 0.25 thousand images",
        ),
        (
            "snapshot_kimg = 0.25\nsnapshots_kept = 2",
            250,
            "nor one of the newest 2 of every 0.25 thousand images",
        ),
    ] {
        let text = edited(
            "duration_images = 1000",
            &format!("duration_images = 1000\n{typed}"),
        );
        let at = |images: u64| format!("stages.sample.at_images={images}");
        let message = refusal(&text, None, &[&at(images)]);
        assert!(message.contains(expected), "{message}");
        resolved(&text, &[&at(750)]);
    }
    check(
        "[stages.sample]",
        "[stages.sample]\nguidance = 2.0",
        "works only with a network that was trained with `class_conditional`",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nlabels = \"dataset\"",
        "are `dataset`, but training is not `class_conditional`",
    );
    for stage in ["prepare", "sample"] {
        let typed = format!("stages.{stage}.images_per_shard=70000");
        let message = refusal(SMALL, None, &[&typed]);
        assert!(
            message.contains("is 70000, but a shard holds at most 192 MiB, which are 65536 images of 32 x 32 pixels"),
            "{message}"
        );
    }
    // A network that draws with a class and without has no default.
    let conditional = [
        "stages.prepare.labels=group",
        "stages.train.class_conditional=true",
        "stages.train.label_dropout=0.1",
    ];
    let message = refusal(SMALL, None, &conditional);
    assert!(
        message.contains("`labels` in [stages.sample] must be chosen"),
        "{message}"
    );
    for labels in ["none", "dataset", "balanced"] {
        let chosen = format!("stages.sample.labels={labels}");
        resolved(SMALL, &[&conditional[..], &[chosen.as_str()]].concat());
    }
}

/// Each where it is for something else; and the words of a setting that is left out are not in the job.
#[test]
fn fast_paths_are_refused_where_they_are_not_for() {
    let fast = |paths: &str| format!("stages.train.fast_paths={paths}");
    for (paths, more, expected) in [
        (
            r#"["fused-normalization"]"#,
            &["device=cuda"][..],
            "name `channels-last` too",
        ),
        (
            r#"["channels-last", "fused-normalization"]"#,
            &["precision=float16"][..],
            "for bfloat16 and float32, but `precision` is \"float16\"",
        ),
        (
            r#"["graphs"]"#,
            &["preconditioning=iddpm"][..],
            "which a graph cannot",
        ),
        (
            r#"["graphs"]"#,
            &["device=cpu"][..],
            "has `graphs`, which is for CUDA devices, but `device` is `cpu`",
        ),
        (
            r#"["copy-stream"]"#,
            &["device=cpu"][..],
            "has `copy-stream`, which is for CUDA devices",
        ),
        (
            r#"["graphs"]"#,
            &["device=cuda", "ranks=2"][..],
            "is for one process",
        ),
        (r#"["fastest"]"#, &["device=cuda"][..], "fastest"),
    ] {
        let own = ["loss_scaling=1024"].iter().chain(more);
        let own: Vec<String> = own.map(|own| format!("stages.train.{own}")).collect();
        let paths = fast(paths);
        let settings: Vec<&str> = own.iter().chain([&paths]).map(String::as_str).collect();
        let message = refusal(SMALL, None, &settings);
        assert!(message.contains(expected), "{message}");
    }
    let typed = |settings: &[&str]| {
        let train = resolved(SMALL, settings).stages.swap_remove(2);
        serde_json::to_value(train.settings).unwrap()
    };
    assert_eq!(typed(&[]).get("fast_paths"), None);
    let chosen = typed(&[&fast(r#"["channels-last", "fused-adam"]"#)]);
    assert_eq!(
        chosen["fast_paths"],
        serde_json::json!(["fused-adam", "channels-last"])
    );
}

#[test]
fn needs_are_checked_and_found() {
    check(
        "[stages.sample]",
        "[stages.sample]\nneeds = [\"trian\"]",
        "`needs` in [stages.sample] names `trian`, which is not a stage of this pipeline; did you mean `train`?",
    );
    check(
        "[stages.sample]",
        "[stages.sample]\nneeds = [\"prepare\"]",
        "names `prepare`, a stage of kind `prepare`; a stage of kind `sample` reads one `train`",
    );
    check(
        "[stages.evaluate]",
        "[stages.evaluate]\nneeds = [\"sample\"]",
        "names 0 stages of kind `reference`",
    );
    check(
        "[stages.reference]\n",
        "",
        "a stage of kind `evaluate` reads one of kind `reference`, and this pipeline has none",
    );
    let circle = edited("resolution = 32", "resolution = 32\nneeds = [\"sample\"]")
        .replace("[stages.sample]", "[stages.sample]\nneeds = [\"train\"]")
        .replace("duration_images", "needs = [\"prepare\"]\nduration_images");
    let message = refusal(&circle, None, &[]);
    assert!(
        message.contains("goes in a circle: prepare → sample → train → prepare"),
        "{message}"
    );
    let second = "[stages.prepare-b]\nkind = \"prepare\"\nsource = \"x\"\nresolution = 16\n";
    let message = refusal(&format!("{SMALL}{second}"), None, &[]);
    assert!(
        message.contains("must say which stage of kind `prepare` is meant: prepare or prepare-b"),
        "{message}"
    );
    let reference = edited(
        "[stages.reference]",
        "[stages.reference]\nneeds = [\"prepare-b\"]",
    )
    .replace("duration_images", "needs = [\"prepare\"]\nduration_images");
    let message = refusal(&format!("{reference}{second}"), None, &[]);
    assert!(
        message.contains("a reference of side 16 and, through `sample`, to samples of side 32"),
        "{message}"
    );
    let grey =
        format!("{reference}{second}").replace("resolution = 16", "resolution = 32\nchannels = 1");
    let message = refusal(&grey, None, &[]);
    assert!(
        message.contains(
            "a reference of `channels` = 1 and, through `sample`, to samples of `channels` = 3"
        ),
        "{message}"
    );
}

#[test]
fn the_pipelines_that_ship_resolve() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["demo", "demo-untrained", "emoji", "smoke", "celeba"] {
        let path = root.join("pipelines").join(format!("{name}.toml"));
        let pipeline = only(&path, &[]);
        assert_eq!(pipeline.name, name);
        let count = |kind| {
            pipeline
                .stages
                .iter()
                .filter(|stage: &&Stage| stage.kind() == kind)
                .count()
        };
        let kinds = [
            Kind::Prepare,
            Kind::Reference,
            Kind::Train,
            Kind::Sample,
            Kind::Evaluate,
        ];
        assert!(kinds.iter().all(|kind| count(*kind) >= 1), "{name}");
    }
}

/// Days of training leave something to look at, and to go back to, on the way.
#[test]
fn presets_for_gpus_keep_snapshots() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    for (name, interval) in [
        ("pixel-64", 10_000_000),
        ("pixel-64-small", 4_000_000),
        ("pixel-32", 10_000_000),
        ("latent-256", 10_000_000),
    ] {
        let path = root.join(format!("{name}.toml"));
        let single = load_stage(Kind::Train, "train", Some(&path), &[], &[]).unwrap();
        let StageSettings::Train(train) = &single.stage.settings else {
            panic!()
        };
        assert_eq!(train.snapshot_interval(), Some(interval), "{name}");
        let count = train.duration_images / interval;
        assert!((18..=20).contains(&count), "{name}: {count}");
        assert_eq!(train.snapshots_kept, 5, "{name}");
    }
}

#[test]
fn a_matrix_is_every_combination_of_its_values() {
    let text = edited(
        "[stages.sample]",
        "[matrix]\nseed = [0, 1]\n\"stages.train.full_image_ratio\" = [0.1, 0.5, 1.0]\n[stages.sample]",
    );
    let (_folder, path) = folder(&text, None);
    let variants = load(&path, &[]).unwrap();
    let seen: Vec<(u64, f64, String)> = variants
        .iter()
        .map(|variant| {
            let pipeline = &variant.pipeline;
            let StageSettings::Train(train) = &pipeline.stage("train").unwrap().settings else {
                panic!()
            };
            let values: Vec<String> = variant
                .values
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            (pipeline.seed, train.full_image_ratio, values.join(" "))
        })
        .collect();
    assert_eq!(seen.len(), 6);
    assert_eq!(
        seen[0],
        (
            0,
            0.1,
            "seed=0 stages.train.full_image_ratio=0.1".to_owned()
        )
    );
    assert_eq!((seen[1].0, seen[1].1), (0, 0.5));
    assert_eq!((seen[5].0, seen[5].1), (1, 1.0));
    let error = load(&path, &texts(&["seed=3"])).unwrap_err().to_string();
    assert!(error.contains("is set on the command line too"), "{error}");
}

/// A file of a size that only programs write is refused in seconds, at its place.
#[test]
fn very_many_keys_take_no_time_of_their_own() {
    let keys: Vec<String> = (0..300_000).map(|key| format!("key{key} = 1\n")).collect();
    let keys = keys.concat();
    let (_folder, path) = folder(
        &format!("extends = \"base.toml\"\n{keys}{SMALL}"),
        Some(&format!("{keys}seed = 1\n")),
    );
    let begin = std::time::Instant::now();
    let error = load(&path, &[]).unwrap_err().to_string();
    assert!(error.contains("p.toml:2:1: unknown key `key0`"), "{error}");
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
}
