//! Which stage reads which: defaults, existence, kinds, cycles.

use patchwork_config::{ConfigError, Section, nearest};
use patchwork_terms::Kind;

/// A stage before its `needs` are known.
pub(crate) struct Draft<'a> {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) section: Section<'a>,
    /// As typed.
    pub(crate) needs: Option<Vec<String>>,
}

/// Stages that another stage reads: of one kind or, where `kinds` names several, of one of them; of those that a
/// pipeline has, the first is the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Needed {
    kinds: &'static [Kind],
    amount: Amount,
    /// What helps where the pipeline has none.
    instead: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    One,
    Several,
    Optional,
    Implied,
}

impl Needed {
    const fn new(kinds: &'static [Kind], amount: Amount) -> Self {
        let instead = None;
        Self {
            kinds,
            amount,
            instead,
        }
    }

    /// Exactly one stage.
    pub(crate) const fn one(kinds: &'static [Kind]) -> Self {
        Self::new(kinds, Amount::One)
    }

    /// One stage or more.
    pub(crate) const fn several(kinds: &'static [Kind]) -> Self {
        Self::new(kinds, Amount::Several)
    }

    /// One stage where the pipeline has one.
    pub(crate) const fn optional(kinds: &'static [Kind]) -> Self {
        Self::new(kinds, Amount::Optional)
    }

    /// The stage that the stages which are read are made from, however far behind them; nobody has to name it.
    pub(crate) const fn implied(kinds: &'static [Kind]) -> Self {
        Self::new(kinds, Amount::Implied)
    }

    /// The same with what else to do where the pipeline has no such stage.
    pub(crate) const fn or(self, instead: &'static str) -> Self {
        let instead = Some(instead);
        Self { instead, ..self }
    }

    /// `encode` or `prepare`, quoted.
    fn kinds_in_words(self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|kind| format!("`{kind}`")).collect();
        kinds.join(" or ")
    }

    /// What is wrong with so many typed stages, if anything.
    fn allows(self, count: usize) -> bool {
        match self.amount {
            Amount::One => count == 1,
            Amount::Several => count > 0,
            Amount::Optional | Amount::Implied => count < 2,
        }
    }
}

/// The needs of each stage, in the stages' order; `reads` says of each what it reads.
pub(crate) fn resolve_needs(
    drafts: &[Draft<'_>],
    reads: &[&'static [Needed]],
) -> Result<Vec<Vec<String>>, ConfigError> {
    for draft in drafts {
        check_names(draft, drafts)?;
    }
    for draft in drafts {
        check_cycle(draft, drafts)?;
    }
    let named = drafts
        .iter()
        .zip(reads)
        .map(|(draft, wanted)| match &draft.needs {
            Some(needs) => check_kinds(draft, wanted, needs, drafts).map(|()| needs.clone()),
            None => default_needs(draft, wanted, drafts),
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let all = (named.iter().zip(reads)).map(|(needs, wanted)| {
        let mut all = needs.clone();
        for needed in (wanted.iter()).filter(|needed| needed.amount == Amount::Implied) {
            all.extend(implied(*needed, needs, &named, drafts));
        }
        all
    });
    Ok(all.collect())
}

/// The stage of those kinds that some stages are made from, unless it is among them.
fn implied(
    needed: Needed,
    needs: &[String],
    named: &[Vec<String>],
    drafts: &[Draft<'_>],
) -> Option<String> {
    let place = |name: &str| drafts.iter().position(|draft| draft.name == name);
    let mut pending: Vec<usize> = needs.iter().filter_map(|name| place(name)).collect();
    let is_wanted = |place: usize| needed.kinds.contains(&drafts[place].kind);
    if pending.iter().any(|place| is_wanted(*place)) {
        return None;
    }
    let mut visited = Vec::new();
    while let Some(next) = pending.pop() {
        if is_wanted(next) {
            return Some(drafts[next].name.clone());
        }
        if !visited.contains(&next) {
            visited.push(next);
            pending.extend(named[next].iter().filter_map(|name| place(name)));
        }
    }
    None
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
            let problem = format!("names `{name}`, which is not a stage of this pipeline{meant}");
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
    wanted: &[Needed],
    needs: &[String],
    drafts: &[Draft<'_>],
) -> Result<(), ConfigError> {
    let kind = draft.kind;
    let needed: Vec<_> = needs.iter().filter_map(|name| find(drafts, name)).collect();
    if let Some(other) = needed.iter().find(|other| {
        wanted
            .iter()
            .all(|wanted| !wanted.kinds.contains(&other.kind))
    }) {
        let problem = format!(
            "names `{}`, a stage of kind `{}`; a stage of kind `{kind}` reads {}",
            other.name,
            other.kind,
            describe(wanted)
        );
        return Err(draft.section.invalid("needs", problem));
    }
    for one in wanted {
        let of_kinds = needed
            .iter()
            .filter(|other| one.kinds.contains(&other.kind));
        let count = of_kinds.count();
        if !one.allows(count) {
            let problem = format!(
                "names {count} stages of kind {}; a stage of kind `{kind}` reads {}",
                one.kinds_in_words(),
                describe(wanted)
            );
            return Err(draft.section.invalid("needs", problem));
        }
    }
    Ok(())
}

fn default_needs(
    draft: &Draft<'_>,
    wanted: &[Needed],
    drafts: &[Draft<'_>],
) -> Result<Vec<String>, ConfigError> {
    let mut needs = Vec::new();
    for needed in wanted
        .iter()
        .filter(|needed| needed.amount != Amount::Implied)
    {
        let of_kind = |kind: &Kind| {
            let others = drafts.iter().filter(|other| other.kind == *kind);
            let names: Vec<String> = others.map(|other| other.name.clone()).collect();
            (!names.is_empty()).then_some((*kind, names))
        };
        let Some((kind, candidates)) = needed.kinds.iter().find_map(of_kind) else {
            if needed.amount == Amount::Optional {
                continue;
            }
            let instead = (needed.instead)
                .map_or_else(String::new, |instead| format!("; add one, or {instead}"));
            let problem = format!(
                "cannot be found: a stage of kind `{}` reads one of kind {}, and this pipeline has none{instead}",
                draft.kind,
                needed.kinds_in_words()
            );
            return Err(draft.section.invalid("needs", problem));
        };
        if needed.amount != Amount::Several && candidates.len() > 1 {
            let problem = format!(
                "must say which stage of kind `{kind}` is meant: {}",
                candidates.join(" or ")
            );
            return Err(draft.section.invalid("needs", problem));
        }
        needs.extend(candidates);
    }
    Ok(needs)
}

fn describe(wanted: &[Needed]) -> String {
    let parts: Vec<_> = wanted
        .iter()
        .filter_map(|needed| {
            let kinds = needed.kinds_in_words();
            match needed.amount {
                Amount::One => Some(format!("one {kinds}")),
                Amount::Several => Some(format!("one or more {kinds}")),
                Amount::Optional => Some(format!("at most one {kinds}")),
                Amount::Implied => None,
            }
        })
        .collect();
    if parts.is_empty() {
        "no other".to_owned()
    } else {
        parts.join(" and ")
    }
}
