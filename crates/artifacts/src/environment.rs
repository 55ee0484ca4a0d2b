//! What a worker's environment says to the libraries that it loads, which read it as they are loaded.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a worker's allocator treats its memory.
///
/// A training step frees and wants again the same blocks of megabytes; kept in the process they need not be
/// mapped and cleared by the kernel each time.
const ALLOCATOR: [(&str, &str); 1] = [("MIMALLOC_PURGE_DELAY", "-1")];

/// Says to a worker which CUDA device it was narrowed to, such as `cuda:3`: the only one that it sees, its first.
pub const NARROWED_DEVICE: &str = "PATCHWORK_NARROWED_DEVICE";

/// The variables of a worker, besides those of its supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Variables that the user may have set otherwise: what changes is speed or memory.
    #[serde(
        default,
        rename = "environment",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub defaults: BTreeMap<String, String>,
    /// Variables that change what comes out, which the fingerprint therefore covers; none = not set.
    #[serde(
        default,
        rename = "required_environment",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub required: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// Of a stage that computes on a CUDA device.
    ///
    /// TF32 is on by default in convolutions and off in products, and is to be one or the other. Devices are numbered as on
    /// the bus, as the driver and a run's record have them. Memory that one patch size has used is to serve the next one's
    /// pieces. Attention goes to the kernel that libtorch brings rather than to cuDNN's, which libtorch prefers on Hopper and
    /// which compiles a plan for each new shape. TorchScript is interpreted: its fuser compiles kernels on the second or
    /// third call, which round otherwise than the first.
    pub fn of_cuda(tf32: bool) -> Self {
        let (on, off) = (|value: &str| Some(value.to_owned()), None);
        let tf32 = if tf32 {
            (off, on("1"))
        } else {
            (on("0"), None)
        };
        Self {
            defaults: named([
                ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
                ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
                ("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1"),
                ("PYTORCH_TENSOREXPR", "0"),
            ]),
            required: BTreeMap::from([
                ("NVIDIA_TF32_OVERRIDE".to_owned(), tf32.0),
                ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE".to_owned(), tf32.1),
            ]),
        }
    }

    /// Of a training on a CPU: OpenMP's idle threads look for work 2,000 times instead of 300,000 before they sleep, because
    /// the replicas of a micro-batch need the cores meanwhile.
    pub fn of_training_on_cpu() -> Self {
        Self {
            defaults: named([("GOMP_SPINCOUNT", "2000")]),
            required: BTreeMap::new(),
        }
    }

    /// Of a job, by its settings that change nothing in what comes out.
    pub fn of_job(execution: &Value) -> Self {
        Self::deserialize(execution).unwrap_or_default()
    }

    /// Sets the variables of a program that is about to be started.
    pub fn apply(&self, command: &mut Command) {
        let defaults = self.defaults.iter();
        let defaults = defaults.map(|(variable, value)| (variable.as_str(), value.as_str()));
        for (variable, value) in ALLOCATOR.into_iter().chain(defaults) {
            if std::env::var_os(variable).is_none() {
                command.env(variable, value);
            }
        }
        for (variable, value) in &self.required {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
    }
}

/// Lets a worker see no other CUDA device than its own: libtorch would make a context on each, of half a gigabyte.
///
/// `device` is the stage's; `visible` is what `CUDA_VISIBLE_DEVICES` is here, within which devices are numbered.
pub fn narrow(command: &mut Command, device: &str, visible: Option<&str>) {
    if let Some(own) = own_device(device, visible) {
        command.env("CUDA_VISIBLE_DEVICES", own);
        command.env(NARROWED_DEVICE, device);
    }
}

/// The value of `CUDA_VISIBLE_DEVICES` that leaves a device alone; none for the processor, and for a device that is not among
/// the visible ones, which the worker reports.
fn own_device(device: &str, visible: Option<&str>) -> Option<String> {
    let index: usize = match device {
        "cuda" => 0,
        _ => device.strip_prefix("cuda:")?.parse().ok()?,
    };
    match visible {
        None => Some(index.to_string()),
        Some(visible) => {
            let own = visible.split(',').nth(index)?.trim();
            (!own.is_empty()).then(|| own.to_owned())
        }
    }
}

fn named<const N: usize>(variables: [(&str, &str); N]) -> BTreeMap<String, String> {
    variables
        .map(|(variable, value)| (variable.to_owned(), value.to_owned()))
        .into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use serde_json::json;

    use super::*;

    /// What a command says of a variable: its value, none = removed.
    fn variable<'a>(command: &'a Command, name: &str) -> Option<&'a OsStr> {
        let mut variables = command.get_envs();
        let found = variables.find(|(key, _)| *key == name);
        found.expect("it is set or removed").1
    }

    #[test]
    fn what_changes_results_is_not_the_users_to_set() {
        for (tf32, expected) in [(false, [Some("0"), None]), (true, [None, Some("1")])] {
            let mut command = Command::new("true");
            command.env("NVIDIA_TF32_OVERRIDE", "1");
            command.env("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "0");
            Environment::of_cuda(tf32).apply(&mut command);
            let found = ["NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"]
                .map(|name| variable(&command, name));
            assert_eq!(found, expected.map(|value| value.map(OsStr::new)));
        }
    }

    #[test]
    fn a_job_carries_its_environment() {
        let environment = Environment::of_cuda(false);
        let mut execution = serde_json::to_value(&environment).unwrap();
        execution["device"] = json!("cuda:1");
        assert_eq!(Environment::of_job(&execution), environment);
        // Those of earlier versions, and of stages that need none.
        let earlier = json!({"environment": {"GOMP_SPINCOUNT": "2000"}});
        assert_eq!(
            Environment::of_job(&earlier),
            Environment::of_training_on_cpu()
        );
        assert_eq!(Environment::of_job(&json!({})), Environment::default());
    }

    #[test]
    fn a_worker_sees_its_own_device_alone() {
        for (device, visible, own) in [
            ("cpu", None, None),
            ("cuda", None, Some("0")),
            ("cuda:3", None, Some("3")),
            ("cuda:1", Some("4, 6"), Some("6")),
            ("cuda", Some("GPU-8932f937"), Some("GPU-8932f937")),
            ("cuda:2", Some("4,6"), None),
            ("cuda", Some(""), None),
            ("cuda:x", None, None),
        ] {
            let found = own_device(device, visible);
            assert_eq!(found.as_deref(), own, "{device} of {visible:?}");
        }
    }
}
