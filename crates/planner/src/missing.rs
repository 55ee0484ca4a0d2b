//! What a pipeline needs and is not there: raw data and weights, each with where it comes from.

use std::path::Path;

use patchwork_config::{ReferenceSettings, Stage, StageSettings};

use crate::{extractor, source};

/// Something that a stage lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The stage.
    pub stage: String,
    /// `source` or `weights`.
    pub what: &'static str,
    /// The path, and what puts it there.
    pub problem: String,
}

/// All that stages lack, for a message before anything runs. What is there but wrong is not told here.
pub fn missing(stages: &[&Stage], weights: &Path) -> Vec<Missing> {
    let mut missing = Vec::new();
    for stage in stages {
        let (what, problem) = match &stage.settings {
            StageSettings::Prepare(prepare) => ("source", source::missing(prepare)),
            StageSettings::Reference(reference) => ("weights", missing_weights(reference, weights)),
            StageSettings::Train(train) => {
                let evaluation = train.snapshot_evaluation.as_ref();
                let problem = evaluation
                    .and_then(|evaluation| missing_weights(&evaluation.reference(), weights));
                ("weights", problem)
            }
            StageSettings::Sample(_) | StageSettings::Evaluate(_) => continue,
        };
        missing.extend(problem.map(|problem| Missing {
            stage: stage.name.clone(),
            what,
            problem,
        }));
    }
    missing
}

fn missing_weights(reference: &ReferenceSettings, weights: &Path) -> Option<String> {
    let problems: Vec<String> = extractor::extractors(reference)
        .iter()
        .filter_map(|extractor| extractor.missing_from(weights))
        .map(|error| error.to_string())
        .collect();
    (!problems.is_empty()).then(|| problems.join("\n"))
}
