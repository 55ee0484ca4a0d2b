//! The pages: the frame around each, and what several share. Tables, pictures and small curves work without script;
//! charts, sliders and live changes are `assets/app.js`.

pub(crate) mod compare;
mod cuts;
pub(crate) mod data;
mod parts;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod samples;
mod scatter;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::error::DashboardError;
pub(crate) use parts::{encode, series_address};

/// Where a page stands among the others.
pub(crate) enum Place<'a> {
    /// The list of runs.
    Runs,
    /// A page of a run.
    Run(&'a str),
    /// Elsewhere.
    Other,
}

/// A whole page.
pub(crate) fn frame(title: &str, place: &Place<'_>, content: &Markup) -> Markup {
    let script = html! {
        script src="/assets/uPlot.iife.min.js" defer {}
        script src="/assets/app.js" defer {}
    };
    let style = html! {
        link rel="stylesheet" href="/assets/uPlot.min.css";
        link rel="stylesheet" href="/assets/style.css";
    };
    document(title, &style, &script, &navigation(place), content)
}

/// A page that is a file: styles and scripts stand in it, and no address leads elsewhere.
pub(crate) fn file(title: &str, scripts: &[&str], data: &str, content: &Markup) -> Markup {
    let style = html! {
        style { (PreEscaped(crate::routes::asset_text("uPlot.min.css"))) }
        style { (PreEscaped(crate::routes::asset_text("style.css"))) }
    };
    let script = html! {
        // `<` would end the element within a text.
        script type="application/json" id="inline-data" { (PreEscaped(data.replace('<', "\\u003c"))) }
        @for text in scripts { script { (PreEscaped(text)) } }
    };
    let head = html! { header.bar { strong { "Patchwork" } " report" } };
    document(
        title,
        &style,
        &html! {},
        &head,
        &html! { (content) (script) },
    )
}

fn document(
    title: &str,
    style: &Markup,
    script: &Markup,
    head: &Markup,
    content: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Patchwork" }
                link rel="icon" href="data:,";
                (style)
                (script)
            }
            body {
                a.skip href="#content" { "Skip to content" }
                (head)
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

fn navigation(place: &Place<'_>) -> Markup {
    let is_runs = matches!(place, Place::Runs);
    html! {
        header.bar {
            nav aria-label="Main" {
                a.brand href="/" aria-current=[is_runs.then_some("page")] { "Patchwork" }
                a href="/" { "Runs" }
                a href="/runs/latest" { "Latest" }
                @if let Place::Run(name) = place {
                    span.crumb { "›" }
                    a href={ "/runs/" (encode(name)) } { (name) }
                }
            }
            span #live role="status" {}
        }
    }
}

/// The page that says what went wrong, and what to do.
pub(crate) fn error(error: &DashboardError) -> Markup {
    let content = html! {
        section.notice #notice data-live {
            h1 { @if matches!(error, DashboardError::NoRegistry(_)) { "No runs yet" } @else { "Not available" } }
            p { (error.chain()) }
            @if let Some(hint) = error.hint() { p.hint { (hint) } }
            p { a href="/" { "All runs" } }
        }
    };
    frame("Not available", &Place::Other, &content)
}
