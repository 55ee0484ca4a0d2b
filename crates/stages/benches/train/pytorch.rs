//! PyTorch's own step on the same network, in the same run.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tch::{Device, Kind};

use crate::Arguments;
use crate::subject::Subject;

/// Images a second of `python/benchmarks/train_step.py`, eager, at each patch size from the smallest; none without a Python.
pub(crate) fn rates(
    subject: &Subject,
    precision: Kind,
    batch: i64,
    arguments: &Arguments,
) -> Option<Vec<f64>> {
    let python = arguments.pytorch.as_ref()?;
    let precision = match precision {
        Kind::Float => "float32",
        Kind::BFloat16 => "bfloat16",
        _ => return None,
    };
    let device = match arguments.device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/benchmarks/train_step.py");
    let report = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(python);
    command.arg(script);
    for (option, value) in [
        ("--device", device),
        ("--network", subject.name.to_owned()),
        ("--precision", precision.to_owned()),
        ("--batch", batch.to_string()),
        ("--seconds", arguments.duration.as_secs_f64().to_string()),
        ("--threads", arguments.threads.to_string()),
    ] {
        command.args([option, &value]);
    }
    command.arg("--report").arg(report.path());
    // What our step wants of the C library and OpenMP is not PyTorch's to have.
    command.env_remove("GOMP_SPINCOUNT").stdout(Stdio::null());
    let status = command.status().unwrap();
    assert!(status.success(), "{} ended with {status}", python.display());
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap();
    let rate = |row: &Value| row["images_per_second"].as_f64();
    rows.iter().map(rate).collect()
}
