//! Which of the settings that are recorded with a run can change what comes out of it.

use patchwork_artifacts::Environment;
use patchwork_config::schema::{fields, shape};
use patchwork_terms::Kind;

use crate::execution::Execution;
use crate::recipe;

/// Whether what is recorded of a stage under that name can change its output. Names are those of the two parts of a job,
/// dotted below tables.
pub fn changes_results(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or(name);
    let is_execution = first != "tf32" && shape::<Execution>().keys.contains(&first);
    !is_execution
        && !fields::<Environment>().contains(&first)
        && !places().any(|place| place == first)
}

/// The names by which jobs say where what their stages read lies, but for those that are settings of some kind.
fn places() -> impl Iterator<Item = &'static str> {
    let places = Kind::ALL.iter().map(|kind| recipe::places(*kind));
    let names = places.flat_map(|places| places.keys).copied();
    names.filter(|name| {
        Kind::ALL
            .iter()
            .all(|kind| !crate::shape(*kind).keys.contains(name))
    })
}
