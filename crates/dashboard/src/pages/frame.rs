//! What stands around every page, and the page that says what went wrong.

use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::error::DashboardError;
use crate::{address, assets};

/// Which runs a page shows, and with that where it stands among the others.
pub(crate) enum Place<'a> {
    /// All of them.
    Runs,
    /// One.
    Run(&'a str),
    /// Several beside each other.
    Several(Vec<&'a str>),
    /// None: a data set does not change.
    Data,
    /// None of those that were asked for.
    Error,
}

impl Place<'_> {
    /// At whose changes the page is to be looked at again: names of runs, or `*`.
    fn follows(&self) -> String {
        match self {
            Self::Runs | Self::Error => "*".to_owned(),
            Self::Run(name) => (*name).to_owned(),
            Self::Several(names) => names.join(" "),
            Self::Data => String::new(),
        }
    }
}

/// A whole page.
pub(crate) fn frame(title: &str, place: &Place<'_>, content: &Markup) -> Markup {
    let head = html! {
        @for address in assets::style_addresses() { link rel="stylesheet" href=(address); }
        @for address in assets::script_addresses() { script src=(address) defer {} }
    };
    document(title, &head, &navigation(place), &place.follows(), content)
}

/// A page that is a file: styles and scripts stand in it, and no address leads elsewhere.
pub(crate) fn file(title: &str, data: &str, content: &Markup) -> Markup {
    let head = html! { @for text in assets::styles() { style { (PreEscaped(text)) } } };
    let bar = html! { header.bar { strong { "Patchwork" } " report" } };
    let content = html! {
        (content)
        // `<` would end the element within a text.
        script type="application/json" id="inline-data" { (PreEscaped(data.replace('<', "\\u003c"))) }
        @for text in assets::scripts() { script { (PreEscaped(text)) } }
    };
    document(title, &head, &bar, "", &content)
}

fn document(title: &str, head: &Markup, bar: &Markup, follows: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Patchwork" }
                link rel="icon" href="data:,";
                (head)
            }
            body {
                a.skip href="#content" { "Skip to content" }
                (bar)
                main #content tabindex="-1" data-follows=(follows) { (content) }
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
                    a href=(address::run(name)) { (name) }
                }
            }
            span #live role="status" {}
        }
    }
}

/// The page that says what went wrong, and what to do.
fn error(error: &DashboardError) -> Markup {
    let content = html! {
        section.notice #notice {
            h1 { @if matches!(error, DashboardError::NoRegistry(_)) { "No runs yet" } @else { "Not available" } }
            p { (error.chain()) }
            @if let Some(hint) = error.hint() { p.hint { (hint) } }
            p { a href="/" { "All runs" } }
        }
    };
    frame("Not available", &Place::Error, &content)
}

impl IntoResponse for DashboardError {
    fn into_response(self) -> Response {
        (self.status(), error(&self)).into_response()
    }
}
