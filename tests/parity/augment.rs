//! `augment`: augmentation with given draws.

use std::collections::VecDeque;

use patchwork_diffusion::augment::{AugmentDraws, AugmentOptions, augment};
use tch::Kind;

use crate::runner::{Case, Tensors};

/// The recorded draws in their order, with their kind.
struct RecordedDraws(VecDeque<(String, Vec<f64>)>);

impl RecordedDraws {
    fn next(&mut self, kind: &str, count: usize) -> Vec<f64> {
        let (name, values) = self.0.pop_front().expect("a draw is recorded");
        assert!(name.ends_with(kind), "draw {name} is asked for as {kind}");
        assert_eq!(values.len(), count, "draw {name}");
        values
    }
}

impl AugmentDraws for RecordedDraws {
    fn uniform(&mut self, count: usize) -> Vec<f64> {
        self.next("/rand", count)
    }

    fn normal(&mut self, count: usize) -> Vec<f64> {
        self.next("/randn", count)
    }

    fn integers(&mut self, _bound: i64, count: usize) -> Vec<f64> {
        self.next("/randint", count)
    }
}

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let mut options: AugmentOptions = serde_json::from_value(case.settings["ops"].clone())
        .map_err(|error| format!("ops: {error}"))?;
    options.probability = case.required("p")?;
    let draws = case
        .after("draw/")
        .into_iter()
        .map(|(name, tensor)| {
            let values: Result<Vec<f64>, tch::TchError> =
                tensor.to_kind(Kind::Double).reshape([-1]).try_into();
            Ok::<_, String>((name, values.map_err(|error| error.to_string())?))
        })
        .collect::<Result<_, String>>()?;
    let mut draws = RecordedDraws(draws);
    let (images, labels) = augment(&case.tensor("input/images")?, &options, &mut draws)
        .map_err(|error| error.to_string())?;
    if let Some((name, _)) = draws.0.front() {
        return Err(format!("draw {name} was not used"));
    }
    Ok(Tensors::from([
        ("output/images".to_owned(), images),
        ("output/labels".to_owned(), labels),
    ]))
}
