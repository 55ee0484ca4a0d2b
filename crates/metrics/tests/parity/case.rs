//! A parity case: its settings, its tensors, and how numbers are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::{Kind, Tensor};

/// One folder of the parity cases.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) settings: Value,
    tensors: BTreeMap<String, Tensor>,
}

/// Where the cases are.
pub(crate) fn folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
    std::env::var_os("PARITY_DIR").map_or_else(own, PathBuf::from)
}

impl Case {
    /// Every case of that kind, by name.
    pub(crate) fn of_kind(kind: &str) -> Vec<Self> {
        let folder = folder();
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("`{}`: {error}", folder.display()));
        let mut cases: Vec<Self> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("case.json").is_file())
            .filter_map(|path| Self::read_if(&path, kind))
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    fn read_if(path: &Path, kind: &str) -> Option<Self> {
        let settings: Value =
            serde_json::from_slice(&std::fs::read(path.join("case.json")).unwrap()).unwrap();
        (settings["kind"] == kind).then(|| Self {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            settings,
            tensors: patchwork_networks::checkpoint::read_safetensors(
                &path.join("tensors.safetensors"),
            )
            .unwrap(),
        })
    }

    /// The tensor of that name.
    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("`{}` has no tensor `{name}`", self.name))
    }

    /// Images stored as `[batch, height, width, 3]`, as extractors take them.
    pub(crate) fn images(&self, name: &str) -> Tensor {
        self.tensor(name).permute([0, 3, 1, 2])
    }

    /// The number of that name.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.settings[name]
            .as_f64()
            .unwrap_or_else(|| panic!("`{}` has no number `{name}`", self.name))
    }

    /// Nothing compared yet, at the case's tolerance.
    pub(crate) fn outcome(&self) -> Outcome {
        let limit = |name: &str| self.settings["tolerance"][name].as_f64();
        Outcome {
            relative_limit: limit("rel"),
            absolute_limit: limit("abs").or(limit("max_abs")),
            results: Vec::new(),
        }
    }
}

/// What was compared in a case.
pub(crate) struct Outcome {
    relative_limit: Option<f64>,
    absolute_limit: Option<f64>,
    results: Vec<Comparison>,
}

struct Comparison {
    name: String,
    relative: f64,
    absolute: f64,
    agrees: bool,
}

impl Outcome {
    /// Compares a tensor with `output/<name>`.
    pub(crate) fn tensor(&mut self, case: &Case, name: &str, ours: &Tensor) {
        let name = format!("output/{name}");
        let theirs = case.tensor(&name).to_kind(Kind::Double);
        assert_eq!(
            ours.size(),
            theirs.size(),
            "`{}`: shape of `{name}`",
            case.name
        );
        let difference = ours.to_kind(Kind::Double) - &theirs;
        let relative = difference.norm().double_value(&[]) / theirs.norm().double_value(&[]);
        self.compare(name, relative, difference.abs().max().double_value(&[]));
    }

    /// Compares a number with the setting of that name.
    pub(crate) fn number(&mut self, case: &Case, name: &str, ours: f64) {
        let theirs = case.number(name);
        let absolute = (ours - theirs).abs();
        self.compare(name.to_owned(), absolute / theirs.abs(), absolute);
    }

    fn compare(&mut self, name: String, relative: f64, absolute: f64) {
        // NaN is within no limit.
        let within = |error: f64, limit: Option<f64>| limit.is_some_and(|limit| error <= limit);
        let agrees = within(relative, self.relative_limit) || within(absolute, self.absolute_limit);
        self.results.push(Comparison {
            name,
            relative,
            absolute,
            agrees,
        });
    }

    /// Prints the case's largest error; the disagreements, if there are any.
    pub(crate) fn report(&self, case: &str) -> Option<String> {
        assert!(!self.results.is_empty(), "`{case}`: nothing was compared");
        let largest = |error: fn(&Comparison) -> f64| {
            self.results.iter().map(error).fold(0.0, largest_or_nan)
        };
        let (relative, absolute) = (
            largest(|result| result.relative),
            largest(|result| result.absolute),
        );
        eprintln!("{case}: largest error {relative:.2e} relative, {absolute:.2e} absolute");
        let disagreements: Vec<String> = self
            .results
            .iter()
            .filter(|result| !result.agrees)
            .map(|result| {
                let Comparison {
                    name,
                    relative,
                    absolute,
                    ..
                } = result;
                format!(
                    "{case}: `{name}` differs by {relative:.3e} relative, {absolute:.3e} absolute"
                )
            })
            .collect();
        (!disagreements.is_empty()).then(|| disagreements.join("\n"))
    }
}

fn largest_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
