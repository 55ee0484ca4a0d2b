//! Cases, the rule of agreement, and the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use patchwork_networks::checkpoint::read_safetensors;
use serde_json::Value;
use tch::{Device, Kind as Number, Tensor};

use crate::device::device;

/// Tensors by their names in the case.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// One recorded case.
pub(crate) struct Case {
    /// Where further files of the case lie.
    pub(crate) folder: PathBuf,
    /// `case.json`.
    pub(crate) settings: Value,
    /// `tensors.safetensors`; kinds may add expectations from the settings.
    pub(crate) tensors: Tensors,
    /// Elements of outputs that kinds know to be rounding noise, by the output's name.
    pub(crate) noise: BTreeMap<String, Noise>,
}

/// Elements that a published implementation decides by rounding alone.
pub(crate) struct Noise {
    /// Which elements, as booleans shaped like the output.
    pub(crate) elements: Tensor,
    /// The largest difference that rounding explains.
    pub(crate) bound: f64,
}

/// Computes our side of a kind of case.
pub(crate) type Run = fn(&mut Case) -> Result<Tensors, String>;

/// The kinds that the suite knows.
pub(crate) struct Suite {
    pub(crate) kinds: &'static [(&'static str, Run)],
}

/// The lines of the table.
pub(crate) struct Report {
    lines: Vec<Line>,
}

struct Line {
    case: String,
    kind: String,
    error: String,
    tolerance: String,
    verdict: Verdict,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// Agrees but for elements that rounding alone decides, and these stay within their bound.
    Noise,
    Fail,
}

/// The largest disagreement of a case.
struct Agreement {
    /// Error as a share of the tolerance: agreement is at most 1.
    share: f64,
    text: String,
    tensor: String,
    /// Whether the tensor agrees once the elements decided by rounding are left out.
    noise: bool,
}

impl Case {
    /// The cases of a folder, in the order of their names.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>, String> {
        case_folders(folder)
            .iter()
            .map(|folder| Self::open(folder))
            .collect()
    }

    fn open(folder: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(folder.join("case.json"))
            .map_err(|error| format!("case.json: {error}"))?;
        let settings =
            serde_json::from_str(&text).map_err(|error| format!("case.json: {error}"))?;
        let path = folder.join("tensors.safetensors");
        let tensors = if path.exists() {
            read_safetensors(&path).map_err(|error| error.to_string())?
        } else {
            Tensors::new()
        };
        Ok(Self {
            folder: folder.to_owned(),
            settings,
            tensors,
            noise: BTreeMap::new(),
        })
    }

    /// A tensor of the case, on the device that is tested.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, String> {
        Ok(self.host_tensor(name)?.to_device(device()))
    }

    /// A tensor that a case may leave out, on the device that is tested.
    pub(crate) fn optional(&self, name: &str) -> Option<Tensor> {
        let tensor = self.tensors.get(name)?;
        Some(tensor.to_device(device()))
    }

    /// A tensor of the case, on the CPU.
    pub(crate) fn host_tensor(&self, name: &str) -> Result<Tensor, String> {
        let tensor = self.tensors.get(name).map(Tensor::shallow_clone);
        tensor.ok_or(format!("tensor `{name}` is missing"))
    }

    /// Integers of the case.
    pub(crate) fn integers(&self, name: &str) -> Result<Vec<i64>, String> {
        Vec::try_from(self.host_tensor(name)?.reshape([-1]))
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Makes a number of the settings an expected output of its name.
    pub(crate) fn expect_setting(&mut self, key: &str) -> Result<(), String> {
        let expected = Tensor::from_slice(&[self.required(key)?]);
        self.tensors.insert(format!("output/{key}"), expected);
        Ok(())
    }

    /// The tensors after a prefix, without it.
    pub(crate) fn after(&self, prefix: &str) -> Tensors {
        self.tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let rest = name.strip_prefix(prefix)?;
                Some((rest.to_owned(), tensor.shallow_clone()))
            })
            .collect()
    }

    /// A number of the settings, `None` where it is null or absent.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.settings[key].as_f64()
    }

    /// A number that the settings must have.
    pub(crate) fn required(&self, key: &str) -> Result<f64, String> {
        self.number(key)
            .ok_or(format!("setting `{key}` is not a number"))
    }
}

/// The folders of all cases, in the order of their names.
fn case_folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.join("case.json").is_file())
        .collect();
    folders.sort();
    folders
}

impl Suite {
    /// Runs every case of the folder, in the order of their names.
    pub(crate) fn run(&self, folder: &Path) -> Report {
        Report {
            lines: case_folders(folder)
                .iter()
                .map(|folder| self.line(folder))
                .collect(),
        }
    }

    fn line(&self, folder: &Path) -> Line {
        let mut line = Line {
            case: name_of(folder),
            kind: String::new(),
            error: "-".to_owned(),
            tolerance: "-".to_owned(),
            verdict: Verdict::Fail,
            reason: String::new(),
        };
        let mut case = match Case::open(folder) {
            Ok(case) => case,
            Err(reason) => {
                line.reason = reason;
                return line;
            }
        };
        case.settings["kind"]
            .as_str()
            .unwrap_or("?")
            .clone_into(&mut line.kind);
        line.tolerance = tolerances(&case)
            .iter()
            .map(|(name, value)| format!("{name} {value:e}"))
            .collect::<Vec<_>>()
            .join(" ");
        let run = match self.kinds.iter().find(|(kind, _)| *kind == line.kind) {
            None => {
                "unknown kind".clone_into(&mut line.reason);
                return line;
            }
            Some((_, run)) => run,
        };
        // A shape that libtorch refuses panics: it is this case's failure alone.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let ours = run(&mut case)?;
            compare(&case, &ours)
        }))
        .unwrap_or_else(|_| Err("panicked".to_owned()));
        match outcome {
            Ok(agreements) => {
                let disagrees = |agreement: &&Agreement| agreement.share > 1.0;
                line.verdict = if agreements.iter().filter(disagrees).all(|one| one.noise) {
                    Verdict::Noise
                } else {
                    Verdict::Fail
                };
                if !agreements.iter().any(|one| disagrees(&one)) {
                    line.verdict = Verdict::Pass;
                }
                // What rounding does not explain comes first.
                let worst = agreements
                    .into_iter()
                    .max_by(|one, other| {
                        let explained = |one: &Agreement| one.share > 1.0 && !one.noise;
                        (explained(one).cmp(&explained(other)))
                            .then(one.share.total_cmp(&other.share))
                    })
                    .expect("a case that was compared has a tensor");
                line.error = worst.text;
                line.reason = worst.tensor;
            }
            Err(reason) => line.reason = reason,
        }
        line
    }
}

impl Report {
    /// Number of cases found.
    pub(crate) fn cases(&self) -> usize {
        self.lines.len()
    }

    /// Number of cases that disagree.
    pub(crate) fn failures(&self) -> usize {
        let failed = |line: &&Line| line.verdict == Verdict::Fail;
        self.lines.iter().filter(failed).count()
    }

    /// Writes the table past the test harness, which keeps the output of tests that pass.
    pub(crate) fn print(&self) {
        let mut table = format!(
            "\n{:<32}{:<30}{:<14}{:<20}{:<9}{}\n",
            "case", "kind", "largest error", "tolerance", "verdict", "at"
        );
        for line in &self.lines {
            let verdict = match line.verdict {
                Verdict::Pass => "pass",
                Verdict::Noise => "noise",
                Verdict::Fail => "FAIL",
            };
            writeln!(
                table,
                "{:<32}{:<30}{:<14}{:<20}{:<9}{}",
                line.case, line.kind, line.error, line.tolerance, verdict, line.reason
            )
            .expect("a string can be written to");
        }
        if self.lines.iter().any(|line| line.verdict == Verdict::Noise) {
            table += "noise: over the tolerance in elements that rounding alone decides, and only there\n";
        }
        std::io::stdout()
            .write_all(table.as_bytes())
            .expect("the standard output is open");
    }
}

/// The tolerances that a case gives, by name.
fn tolerances(case: &Case) -> Vec<(String, f64)> {
    case.settings["tolerance"]
        .as_object()
        .map(|object| {
            object
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
                .collect()
        })
        .unwrap_or_default()
}

/// Every expected tensor against ours: within any one of the case's tolerances.
fn compare(case: &Case, ours: &Tensors) -> Result<Vec<Agreement>, String> {
    let expected = |name: &str| name.starts_with("output/") || name.starts_with("grad/");
    if let Some(name) = case
        .tensors
        .keys()
        .find(|name| expected(name) && !ours.contains_key(*name))
    {
        return Err(format!("`{name}` was not computed"));
    }
    let tolerances = tolerances(case);
    let agreements = ours
        .iter()
        .map(|(name, ours)| {
            let theirs = case
                .tensors
                .get(name)
                .ok_or_else(|| format!("`{name}` is not in the case"))?;
            let ours = &ours.to_device(Device::Cpu);
            if ours.size() != theirs.size() {
                let (ours, theirs) = (ours.size(), theirs.size());
                return Err(format!("`{name}` has shape {ours:?}, not {theirs:?}"));
            }
            let (share, text) = closest(&tolerances, ours, theirs)?;
            let noise = match case.noise.get(name) {
                Some(noise) if share > 1.0 => noise.explains(&tolerances, ours, theirs)?,
                _ => false,
            };
            Ok(Agreement {
                share,
                text,
                tensor: name.clone(),
                noise,
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    if agreements.is_empty() {
        return Err("nothing was compared".to_owned());
    }
    Ok(agreements)
}

/// The error as a share of its tolerance, for the tolerance that it meets best, and that error in words.
fn closest(
    tolerances: &[(String, f64)],
    ours: &Tensor,
    theirs: &Tensor,
) -> Result<(f64, String), String> {
    tolerances
        .iter()
        .map(|(kind, tolerance)| {
            let error = error(kind, ours, theirs)?;
            Ok((share(error, *tolerance), format!("{error:.1e} {kind}")))
        })
        .collect::<Result<Vec<_>, String>>()?
        .into_iter()
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .ok_or("the case has no tolerance".to_owned())
}

impl Noise {
    /// Whether the other elements agree and these differ by no more than the bound.
    fn explains(
        &self,
        tolerances: &[(String, f64)],
        ours: &Tensor,
        theirs: &Tensor,
    ) -> Result<bool, String> {
        let without = |tensor: &Tensor| tensor.masked_fill(&self.elements, 0.0);
        let (share, _) = closest(tolerances, &without(ours), &without(theirs))?;
        Ok(share <= 1.0 && error("abs", ours, theirs)? <= self.bound)
    }
}

/// The difference of two tensors of one shape, infinite where either has a NaN.
fn error(kind: &str, ours: &Tensor, theirs: &Tensor) -> Result<f64, String> {
    let (ours, theirs) = (ours.to_kind(Number::Double), theirs.to_kind(Number::Double));
    let difference = &ours - &theirs;
    let error = match kind {
        "abs" | "max_abs" => difference.abs().max().double_value(&[]),
        "rel" => {
            let distance = difference.norm().double_value(&[]);
            if distance == 0.0 {
                0.0
            } else {
                distance / theirs.norm().double_value(&[])
            }
        }
        _ => return Err(format!("unknown tolerance `{kind}`")),
    };
    Ok(if error.is_nan() { f64::INFINITY } else { error })
}

fn share(error: f64, tolerance: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / tolerance }
}

fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[test]
fn not_a_number_never_agrees() {
    let nan = Tensor::from_slice(&[1.0, f64::NAN]);
    let one = Tensor::from_slice(&[1.0, 1.0]);
    for kind in ["rel", "abs", "max_abs"] {
        for (ours, theirs) in [(&nan, &one), (&one, &nan), (&nan, &nan)] {
            assert_eq!(error(kind, ours, theirs), Ok(f64::INFINITY));
        }
        assert_eq!(error(kind, &one, &one), Ok(0.0));
    }
    assert!(share(1e-9, 0.0).is_infinite());
}
