//! A page of a run, or of a comparison, as one file without addresses: pictures and points stand in it.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use patchwork_registry::{Points, RunDetail, Window};

use crate::api::INTERVALS;
use crate::comparison::{Asked, gather};
use crate::error::DashboardError;
use crate::home::Home;
use crate::pages::{compare, frame, run};
use crate::{address, files};

/// The page of one run, or of several beside each other, as HTML.
///
/// # Errors
/// [`DashboardError`] if a run is unknown or a file cannot be read.
pub async fn report(home: &Path, runs: &[String]) -> Result<String, DashboardError> {
    let home = Home::new(home);
    let (title, content, names) = match runs {
        [one] => {
            let mut detail = home.registry().await?.run(one).await?;
            without_paths(&mut detail);
            let name = detail.run.name.clone();
            (
                name.clone(),
                run::content(&home, &detail).await?,
                vec![name],
            )
        }
        several => {
            let asked = Asked::runs(several);
            let mut comparison = gather(&home, &asked).await?;
            comparison.shorten(shortened);
            let names = comparison.names().into_iter().map(str::to_owned).collect();
            ("Compare".to_owned(), compare::content(&comparison), names)
        }
    };
    let points = points(&home, &names).await?;
    let data = serde_json::to_string(&points).map_err(|_| DashboardError::Unfinished)?;
    let html = frame::file(&title, &data, &content).into_string();
    let html = without_addresses(&home, &html).await?;
    Ok(html)
}

/// Folders of this machine are nobody else's business: of an absolute path the last name stays.
fn without_paths(run: &mut RunDetail) {
    run.circumstances.working_folder.clear();
    run.circumstances.command = shortened(&run.circumstances.command);
    run.circumstances.definition = shortened(&run.circumstances.definition);
    for (_, value) in &mut run.params {
        *value = shortened(value);
    }
    for attempt in &mut run.attempts {
        attempt.error = attempt.error.as_deref().map(shortened);
    }
    for event in &mut run.events {
        event.message = shortened(&event.message);
    }
}

/// A text whose absolute paths have lost their folders.
fn shortened(text: &str) -> String {
    let ends = |character: char| character.is_whitespace() || "\"'`=,;()[]".contains(character);
    let mut result = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match word.trim_end_matches('/').rsplit_once('/') {
            Some((_, name)) if word.starts_with('/') => {
                result.push_str("…/");
                result.push_str(name);
            }
            _ => result.push_str(word),
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        result.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    result
}

/// Every series of the runs, with as many points as a page shows at first, by the address at which the server has it.
async fn points(home: &Home, names: &[String]) -> Result<BTreeMap<String, Points>, DashboardError> {
    let registry = home.registry().await?;
    let mut points = BTreeMap::new();
    for name in names {
        for stage in registry.run(name).await?.stages {
            let window = Window::all(INTERVALS);
            let series = registry.points_of_stage(name, &stage.name, window).await?;
            let series = series.into_iter();
            points.extend(
                series
                    .map(|(series, points)| (address::series(name, &stage.name, &series), points)),
            );
        }
    }
    Ok(points)
}

/// Pictures become data, links to pages and files of the server go: the words stay.
async fn without_addresses(home: &Home, html: &str) -> Result<String, DashboardError> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut result = String::new();
    let mut rest = html;
    while let Some(start) = rest.find("/files/") {
        let (before, found) = rest.split_at(start);
        result.push_str(before);
        let end = found.find(['"', '&', '\\', '<']).unwrap_or(found.len());
        let (address, after) = found.split_at(end);
        if !known.contains_key(address) {
            known.insert(address.to_owned(), inline(home, address).await?);
        }
        result.push_str(&known[address]);
        rest = after;
    }
    result.push_str(rest);
    for (link, other) in [
        ("href=\"/runs/", "data-page=\"runs/"),
        ("href=\"/data/", "data-page=\"data/"),
        ("action=\"/compare", "data-page=\"compare"),
    ] {
        result = result.replace(link, other);
    }
    Ok(result)
}

/// The data of a picture; files that are not pictures are named and not carried along.
async fn inline(home: &Home, address: &str) -> Result<String, DashboardError> {
    let nothing = "#not-in-a-report".to_owned();
    let mut parts = address.trim_start_matches("/files/").splitn(2, '/');
    let (Some(fingerprint), Some(name)) = (parts.next(), parts.next()) else {
        return Ok(nothing);
    };
    if !files::is_plain_name(name) || !files::is_picture(name) {
        return Ok(nothing);
    }
    let folder = match home.artifact(fingerprint).await {
        Ok((_, folder)) => Some(folder),
        Err(DashboardError::Absent(_)) => home.work(fingerprint),
        Err(error) => return Err(error),
    };
    let Some(folder) = folder else {
        return Ok(nothing);
    };
    Ok(match files::read(&folder.join(name)) {
        Ok(bytes) => format!("data:image/png;base64,{}", STANDARD.encode(bytes)),
        Err(_) => nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn folders_of_the_machine_go() {
        for (text, expected) in [
            (
                "/home/ada/patchwork run pipelines/a.toml --home /data/runs/",
                "…/patchwork run pipelines/a.toml --home …/runs",
            ),
            ("cannot read `/data/x y`", "cannot read `…/x y`"),
            ("[\"/a/b.zip\",\"c/d\"]", "[\"…/b.zip\",\"c/d\"]"),
            ("16/32 = 1/2", "16/32 = 1/2"),
            ("", ""),
        ] {
            assert_eq!(shortened(text), expected);
        }
    }
}
