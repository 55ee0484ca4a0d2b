//! Which stage reads which: defaults, existence, kinds, cycles.

use patchwork_config::{ConfigError, Section, nearest};
use patchwork_terms::Kind;

use crate::kinds::{StageSettings, reads};
use crate::pipeline::Stage;
use crate::prepare::PrepareSettings;
use crate::reference::ReferenceSettings;
use crate::train::TrainSettings;

/// A stage before its `needs` are known.
pub(crate) struct Draft<'a> {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) section: Section<'a>,
    /// As typed.
    pub(crate) needs: Option<Vec<String>>,
}

/// How many stages of a kind another stage reads.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    One,
    Several,
}

/// The stages that a stage reads, as far as they are known.
pub(crate) struct Inputs<'a> {
    needs: &'a [String],
    stages: &'a [Stage],
}

impl<'a> Inputs<'a> {
    /// Those of a stage among `stages`.
    pub(crate) fn of(stage: &'a Stage, stages: &'a [Stage]) -> Self {
        let needs = &stage.needs;
        Self { needs, stages }
    }

    /// Those of `kind`, in the order of `stages`.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Stage> + use<'a> {
        let needs = self.needs;
        (self.stages.iter())
            .filter(move |stage| stage.kind() == kind && needs.contains(&stage.name))
    }

    /// What one of these reads in turn.
    pub(crate) fn of_input(&self, input: &'a Stage) -> Self {
        Self::of(input, self.stages)
    }

    /// The training whose network is sampled, with its settings.
    pub(crate) fn training(&self) -> Option<(&'a Stage, &'a TrainSettings)> {
        self.of_kind(Kind::Train)
            .find_map(|stage| match &stage.settings {
                StageSettings::Train(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The settings of the data set that the network was trained on whose samples are made.
    pub(crate) fn data_set_of_samples(&self) -> Option<&'a PrepareSettings> {
        let (stage, _) = self.training()?;
        self.of_input(stage).data_set()
    }

    /// The reference that samples are compared with, with its settings.
    pub(crate) fn reference(&self) -> Option<(&'a Stage, &'a ReferenceSettings)> {
        self.of_kind(Kind::Reference)
            .find_map(|stage| match &stage.settings {
                StageSettings::Reference(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The settings of the data set that is read.
    pub(crate) fn data_set(&self) -> Option<&'a PrepareSettings> {
        self.of_kind(Kind::Prepare)
            .find_map(|stage| match &stage.settings {
                StageSettings::Prepare(settings) => Some(settings),
                _ => None,
            })
    }
}

/// The needs of each stage, in the stages' order.
pub(crate) fn resolve_needs(drafts: &[Draft<'_>]) -> Result<Vec<Vec<String>>, ConfigError> {
    for draft in drafts {
        check_names(draft, drafts)?;
    }
    for draft in drafts {
        check_cycle(draft, drafts)?;
    }
    drafts
        .iter()
        .map(|draft| match &draft.needs {
            Some(needs) => check_kinds(draft, needs, drafts).map(|()| needs.clone()),
            None => default_needs(draft, drafts),
        })
        .collect()
}

fn find<'a, 'b>(drafts: &'a [Draft<'b>], name: &str) -> Option<&'a Draft<'b>> {
    drafts.iter().find(|draft| draft.name == name)
}

fn check_names(draft: &Draft<'_>, drafts: &[Draft<'_>]) -> Result<(), ConfigError> {
    let needs = draft.needs.as_deref().unwrap_or_default();
    for (position, name) in needs.iter().enumerate() {
        if find(drafts, name).is_none() {
            let meant = nearest(name, drafts.iter().map(|draft| draft.name.as_str()))
                .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            let problem = format!("names `{name}`, which is no stage of this pipeline{meant}");
            return Err(draft.section.invalid("needs", problem));
        }
        if needs[..position].contains(name) {
            return Err(draft
                .section
                .invalid("needs", format!("names `{name}` twice")));
        }
    }
    Ok(())
}

/// Refuses a typed path of needs from a stage back to itself.
fn check_cycle(start: &Draft<'_>, drafts: &[Draft<'_>]) -> Result<(), ConfigError> {
    let mut pending = vec![vec![start.name.as_str()]];
    let mut visited = Vec::new();
    while let Some(path) = pending.pop() {
        let last = path.last().and_then(|name| find(drafts, name));
        for need in last
            .and_then(|draft| draft.needs.as_deref())
            .unwrap_or_default()
        {
            let mut longer = path.clone();
            longer.push(need);
            if *need == start.name {
                let problem = format!("goes in a circle: {}", longer.join(" → "));
                return Err(start.section.invalid("needs", problem));
            }
            if !visited.contains(&need) {
                visited.push(need);
                pending.push(longer);
            }
        }
    }
    Ok(())
}

fn check_kinds(
    draft: &Draft<'_>,
    needs: &[String],
    drafts: &[Draft<'_>],
) -> Result<(), ConfigError> {
    let kind = draft.kind;
    let needed: Vec<_> = needs.iter().filter_map(|name| find(drafts, name)).collect();
    let wanted = reads(kind);
    if let Some(other) = needed
        .iter()
        .find(|other| wanted.iter().all(|(kind, _)| *kind != other.kind))
    {
        let problem = format!(
            "names `{}`, a stage of kind `{}`; a stage of kind `{kind}` reads {}",
            other.name,
            other.kind,
            describe(wanted)
        );
        return Err(draft.section.invalid("needs", problem));
    }
    for (wanted_kind, amount) in wanted {
        let count = needed
            .iter()
            .filter(|other| other.kind == *wanted_kind)
            .count();
        if count == 0 || (*amount == Amount::One && count > 1) {
            let problem = format!(
                "names {count} stages of kind `{wanted_kind}`; a stage of kind `{kind}` reads {}",
                describe(wanted)
            );
            return Err(draft.section.invalid("needs", problem));
        }
    }
    Ok(())
}

fn default_needs(draft: &Draft<'_>, drafts: &[Draft<'_>]) -> Result<Vec<String>, ConfigError> {
    let mut needs = Vec::new();
    for (wanted, amount) in reads(draft.kind) {
        let candidates: Vec<_> = drafts
            .iter()
            .filter(|other| other.kind == *wanted)
            .map(|other| other.name.clone())
            .collect();
        if candidates.is_empty() {
            let problem = format!(
                "cannot be found: a stage of kind `{}` reads one of kind `{wanted}`, and this \
                 pipeline has none",
                draft.kind
            );
            return Err(draft.section.invalid("needs", problem));
        }
        if *amount == Amount::One && candidates.len() > 1 {
            let problem = format!(
                "must say which stage of kind `{wanted}` is meant: {}",
                candidates.join(" or ")
            );
            return Err(draft.section.invalid("needs", problem));
        }
        needs.extend(candidates);
    }
    Ok(needs)
}

fn describe(wanted: &[(Kind, Amount)]) -> String {
    let parts: Vec<_> = wanted
        .iter()
        .map(|(kind, amount)| match amount {
            Amount::One => format!("one `{kind}`"),
            Amount::Several => format!("one or more `{kind}`"),
        })
        .collect();
    if parts.is_empty() {
        "no other".to_owned()
    } else {
        parts.join(" and ")
    }
}
