//! PyTorch's own program on the same network, which takes turns with ours in the same run.
//!
//! `--pytorch PYTHON` names a Python with PyTorch; left out, it is `PATCHWORK_PYTHON` or `python3`, where these have one;
//! `none` measures ours alone. `--mode eager|channels-last|compile`, once or several times: how PyTorch runs; eager and
//! channels-last if left out, on CUDA compiled too (on a processor compiling takes minutes).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tch::{Device, Kind};

/// What a worker's environment has for our libraries, and PyTorch is measured without.
const OURS: [&str; 7] = [
    "GOMP_SPINCOUNT",
    "MIMALLOC_PURGE_DELAY",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_TENSOREXPR",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_CUDNN_SDPA_DEPRIORITIZED",
];

/// Who is measured beside ours.
#[derive(Default)]
pub(crate) struct Options {
    python: Option<String>,
    modes: Vec<String>,
}

impl Options {
    /// Takes an option of the command line, if it is one of these.
    pub(crate) fn take(&mut self, word: &str, value: &str) -> bool {
        match word {
            "--pytorch" => self.python = Some(value.to_owned()),
            "--mode" => self.modes.push(value.to_owned()),
            _ => return false,
        }
        true
    }
}

/// A running program of PyTorch, which measures what it is asked to.
pub(crate) struct PyTorch {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// How it runs.
    pub(crate) modes: Vec<String>,
}

impl PyTorch {
    /// Starts a program of `python/benchmarks`; none, with the reason printed, where there is no PyTorch.
    ///
    /// # Panics
    /// If a Python that was named has no PyTorch.
    pub(crate) fn start(
        options: &Options,
        script: &str,
        device: Device,
        words: &[(&str, String)],
    ) -> Option<Self> {
        let named = options.python.clone().or_else(|| {
            let named = std::env::var_os("PATCHWORK_PYTHON")?;
            Some(named.to_string_lossy().into_owned())
        });
        if named.as_deref() == Some("none") {
            return None;
        }
        let python = named.clone().unwrap_or_else(|| "python3".to_owned());
        let Some(version) = version(&python) else {
            assert!(
                named.is_none(),
                "`{python}` has no PyTorch that it can import"
            );
            println!(
                "PyTorch: `{python}` has none, so nothing is compared; name a Python that has one by `--pytorch` or \
                 PATCHWORK_PYTHON"
            );
            return None;
        };
        let mut modes = options.modes.clone();
        if modes.is_empty() {
            modes = ["eager", "channels-last"].map(str::to_owned).to_vec();
            if device.is_cuda() {
                modes.push("compile".to_owned());
            }
        }
        println!("PyTorch {version} of `{python}`, {}", modes.join(", "));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/benchmarks");
        let device = match device {
            Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".to_owned(),
        };
        let mut command = Command::new(python);
        command.arg(folder.join(script)).arg("--serve");
        command.args(["--device", &device]);
        for (option, value) in words {
            command.args([option, value.as_str()]);
        }
        for variable in OURS {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Some(Self {
            questions: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            modes,
        })
    }

    /// The mean seconds of what is asked for, or why it cannot be measured.
    ///
    /// # Panics
    /// If the program ends.
    pub(crate) fn ask(&mut self, question: &Value) -> Result<f64, String> {
        let questions = self
            .questions
            .as_mut()
            .expect("it is open while this lives");
        writeln!(questions, "{question}").unwrap();
        questions.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(
            !answer.is_empty(),
            "PyTorch's program ended; its messages are above"
        );
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let seconds = answer["seconds"].as_f64();
        seconds.ok_or_else(|| answer["error"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // It ends with its input.
        self.questions = None;
        let _ = self.child.wait();
    }
}

/// A precision as PyTorch's programs name it; none where they have no such.
pub(crate) fn precision(kind: Kind, tf32: bool) -> Option<&'static str> {
    match kind {
        Kind::Float if tf32 => Some("tf32"),
        Kind::Float => Some("float32"),
        Kind::BFloat16 => Some("bfloat16"),
        _ => None,
    }
}

/// The middle one of some numbers, of an even number the mean of two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let lower = sorted.len().saturating_sub(1) / 2;
    f64::midpoint(sorted[lower], sorted[upper])
}

/// The version of a Python's PyTorch.
fn version(python: &str) -> Option<String> {
    let mut command = Command::new(python);
    command.args(["-c", "import torch; print(torch.__version__)"]);
    for variable in OURS {
        command.env_remove(variable);
    }
    let output = command.stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}
