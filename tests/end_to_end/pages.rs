//! The dashboard's pages in a headless Chromium: that they are drawn, that they work, and how they look.
//!
//! `PATCHWORK_SCREENSHOTS=DIR` keeps a picture of every page, wide and narrow, light and dark.

use std::path::PathBuf;

use serde_json::Value;

use crate::browser::Browser;
use crate::program::{Program, text};
use crate::serve::{Server, fingerprint};

/// Where pictures go: a folder that one wants to look at, or nowhere.
pub(crate) fn kept() -> Option<PathBuf> {
    std::env::var_os("PATCHWORK_SCREENSHOTS").map(PathBuf::from)
}

pub(crate) fn browser() -> Option<Browser> {
    let browser = Browser::start();
    if browser.is_none() {
        eprintln!("skipped: no Chromium is installed");
    }
    browser
}

/// Opens a page wide and narrow, in light and dark colours: nothing but what scrolls by itself is wider than the page, and
/// no script fails.
fn look(browser: &mut Browser, address: &str, name: &str) {
    for (width, height) in [(1400, 1000), (400, 800)] {
        for (is_dark, colours) in [(false, "light"), (true, "dark")] {
            browser.resize(width, height, is_dark);
            browser.open(address);
            // Charts are drawn as they come into view.
            browser.wait_for("(() => { const left = [...document.querySelectorAll('[data-chart]')].find((figure) => !figure.querySelector('.plot').childNodes.length || figure.querySelector('.plot > noscript')); left?.scrollIntoView(); return !left; })()");
            browser.value("scrollTo(0, 0)");
            browser.wait_for(
                "[...document.images].every((image) => image.complete || image.loading === 'lazy')",
            );
            let wide = browser.value("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64() <= Some(width.into()),
                "{name} at {width}: {wide}"
            );
            let missing = browser.value("[...document.images].filter((image) => image.complete && image.src && !image.naturalWidth).map((image) => image.src)");
            assert_eq!(missing, Value::Array(Vec::new()), "{name}");
            if let Some(folder) = kept() {
                browser.screenshot(&folder.join(format!("{name}-{width}-{colours}.png")));
            }
        }
    }
}

/// Runs of every status: finished, diverged to non-finite values, interrupted, of a data set with hostile names.
fn home() -> Program {
    let program = crate::earlier::home();
    let source = program.home().join("<b>source & \"co\"");
    for class in ["<script>alert(1)</script>", "cats & dogs"] {
        let folder = source.join(class.replace('/', "∕"));
        std::fs::create_dir_all(&folder).unwrap();
        for image in 0..6_u8 {
            let side = 16;
            let pixels: Vec<u8> = (0..side * side * 3)
                .map(|place| (place as u8).wrapping_mul(image + 3))
                .collect();
            let mut ppm = format!("P6\n{side} {side}\n255\n").into_bytes();
            ppm.extend(pixels);
            std::fs::write(
                folder.join(format!("<img src=x onerror=alert({image})>.ppm")),
                ppm,
            )
            .unwrap();
        }
    }
    std::fs::write(
        source.join("cats & dogs").join("<i>broken.png"),
        b"not an image",
    )
    .unwrap();
    let pipeline = program.home().join("hostile.toml");
    let file = format!(
        "name = \"hostile\"\ndescription = \"<marquee>\"\n[stages.prepare]\nsource = {:?}\nlabels = \"folder\"\nresolution = 16\nmax_rejected = 0.5\n",
        text(&source)
    );
    std::fs::write(&pipeline, file).unwrap();
    program.succeed(&["run", text(&pipeline)]);
    program
}

#[test]
fn every_page_fits_any_screen() {
    let Some(mut browser) = browser() else {
        return;
    };
    let program = home();
    let evaluated = [
        "--weights",
        "tests/fixtures/torchscript",
        "run",
        "tests/fixtures/0.1.0-e310d9c/small.toml",
        "--set",
        "stages.evaluate.neighbours=3",
    ];
    program.succeed(&evaluated);
    let server = Server::start(&program, &[]);
    let data = |run: &str, stage: &str| format!("/data/{}", fingerprint(&program, run, stage));
    for (path, name) in [
        ("/".to_owned(), "runs"),
        ("/?group=pipeline&columns=stages.train.batch_size,stages.train.learning_rate&sort=-score".to_owned(), "runs-grouped"),
        ("/runs/latest".to_owned(), "run"),
        ("/runs/small-3".to_owned(), "run-failed"),
        ("/runs/small-4".to_owned(), "run-interrupted"),
        ("/runs/hostile-1".to_owned(), "run-hostile"),
        ("/runs/latest/samples".to_owned(), "samples"),
        ("/compare?runs=sweep-1,sweep-2".to_owned(), "compare-matrix"),
        ("/compare?runs=small-1,small-2,small-3,small-4,small-5,sweep-1,sweep-2,small-6,hostile-1".to_owned(), "compare-all"),
        (data("small-1", "prepare"), "data"),
        (data("small-1", "sample"), "data-samples"),
        (data("hostile-1", "prepare"), "data-hostile"),
        ("/runs/nothing".to_owned(), "absent"),
    ] {
        let address = format!("{}{path}", server.url.trim_end_matches('/'));
        look(&mut browser, &address, name);
    }
    // Nothing of a name has become a part of a page.
    let hostile =
        browser.value("document.querySelectorAll('marquee, main b, main i, img[onerror]').length");
    assert_eq!(hostile, Value::from(0));
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    for (name, runs) in [
        ("report", vec!["small-6"]),
        ("report-compare", vec!["sweep-1", "sweep-2", "small-3"]),
    ] {
        let path = folder.path().join("report.html");
        let command = [
            &["report"],
            runs.as_slice(),
            &["--force", "--out", text(&path)],
        ]
        .concat();
        program.succeed(&command);
        look(&mut browser, &format!("file://{}", path.display()), name);
    }
    let program = Program::new();
    let server = Server::start(&program, &[]);
    look(&mut browser, &server.url, "no-registry");
}

#[test]
fn a_browser_draws_the_pages() {
    let Some(mut browser) = browser() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let kept = kept();
    let folder = kept.as_deref().unwrap_or(folder.path());
    let program = crate::earlier::home();
    let server = Server::start(&program, &[]);
    let address = |path: &str| format!("{}{path}", server.url.trim_end_matches('/'));
    let errors =
        "window.failures = []; addEventListener('error', (event) => failures.push(event.message))";

    browser.resize(1400, 1000, false);
    browser.open(&address("/"));
    browser.value(errors);
    browser.wait_for("document.querySelectorAll('table.runs tbody tr').length >= 7");
    browser.wait_for("document.querySelectorAll('svg.spark polyline').length >= 3");
    browser.screenshot(&folder.join("runs-at-work.png"));
    browser.value("document.querySelector('input[value=small-1]').click(); document.querySelector('input[value=small-3]').click()");
    browser.follow("#runs button");
    browser.wait_for("location.pathname === '/compare' && document.readyState === 'complete'");
    browser.value("document.querySelector('[data-chart=lines]').scrollIntoView()");
    browser.wait_for("[...document.querySelectorAll('.chart')].some((figure) => Number(figure.dataset.points) > 1)");
    browser.wait_for("document.querySelectorAll('.u-legend .u-series').length >= 3");
    browser.screenshot(&folder.join("compare-at-work.png"));

    browser.open(&address("/runs/small-1"));
    browser.value(errors);
    browser.value("document.querySelector('[data-chart=lines]').scrollIntoView()");
    browser.wait_for("Number(document.querySelector('[data-chart=lines]').dataset.points) > 1");
    browser.value("document.querySelector('[data-chart=heatmap]').scrollIntoView()");
    browser.wait_for("document.querySelector('[data-chart=heatmap] canvas') !== null");
    browser.value("const form = document.querySelector('[data-controls]'); form.elements.smoothing.value = 0.9; form.elements.log.checked = true; form.dispatchEvent(new Event('input'))");
    browser.value("document.querySelector('[data-log] summary').click()");
    browser.wait_for("document.querySelector('[data-log]').dataset.end !== undefined");
    browser.screenshot(&folder.join("run-at-work.png"));
    assert_eq!(browser.value("failures"), Value::Array(Vec::new()));

    browser.open(&address("/runs/small-1/samples"));
    let last = browser.value("document.querySelector('.slider output').textContent");
    browser.value("const range = document.querySelector('.slider input'); range.value = 0; range.dispatchEvent(new Event('input'))");
    let first = browser.value("document.querySelector('.slider output').textContent");
    assert_ne!(first, last);
    browser.wait_for("document.querySelector('.slider img').complete");
    browser.value("const image = document.querySelector('.slider img'), box = image.getBoundingClientRect(); image.dispatchEvent(new MouseEvent('click', { clientX: box.left + 9, clientY: box.top + 9 }))");
    browser.wait_for("!document.querySelector('.slider canvas').hidden && document.querySelector('.slider canvas').width === 32");
    assert_eq!(
        browser.value("document.querySelector('.seed select').value"),
        "0"
    );
    browser.value("const choice = document.querySelector('.seed select'); choice.value = '5'; choice.dispatchEvent(new Event('change'))");
    assert_eq!(
        browser.value("document.querySelector('.slider canvas').getAttribute('aria-label')"),
        "the sample of seed 5"
    );
    browser.screenshot(&folder.join("seed.png"));

    let data = format!("/data/{}", fingerprint(&program, "small-1", "prepare"));
    browser.open(&address(&data));
    browser.wait_for("document.querySelector('figure img').naturalWidth > 10");
    browser.screenshot(&folder.join("data-at-work.png"));

    // A run that ends while the page is open.
    browser.resize(1400, 1000, true);
    browser.open(&address("/"));
    browser.wait_for("document.getElementById('live').textContent === 'live'");
    program.succeed(&["run", "pipelines/smoke.toml", "--until", "prepare"]);
    browser.wait_for("document.querySelector('#runs').textContent.includes('smoke-1')");

    let report = folder.join("report.html");
    let _ = std::fs::remove_file(&report);
    program.succeed(&["report", "small-1", "--out", text(&report)]);
    browser.open(&format!("file://{}", report.display()));
    browser.value("document.querySelector('[data-chart=lines]').scrollIntoView()");
    browser.wait_for("Number(document.querySelector('[data-chart=lines]').dataset.points) > 1");
    browser.screenshot(&folder.join("report-at-work.png"));
}

#[test]
fn pages_are_usable_by_keyboard() {
    let Some(mut browser) = browser() else {
        return;
    };
    let program = crate::earlier::home();
    let server = Server::start(&program, &[]);
    let address = |path: &str| format!("{}{path}", server.url.trim_end_matches('/'));
    browser.resize(1400, 1000, false);
    browser.open(&address("/"));
    browser.press("Tab");
    let focused = "document.activeElement.textContent";
    assert_eq!(browser.value(focused), Value::from("Skip to content"));
    assert_eq!(
        browser.value("document.activeElement.getBoundingClientRect().left >= 0 && getComputedStyle(document.activeElement).outlineStyle"),
        Value::from("solid"),
        "what has the focus is seen"
    );
    browser.press("Enter");
    browser.wait_for("document.activeElement.id === 'content'");
    // Every control of the list can be reached, in the order of the page.
    let mut reached = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        let name =
            browser.value("document.activeElement.name || document.activeElement.textContent");
        reached.push(name.as_str().unwrap_or_default().to_owned());
    }
    let mut places = [
        "q",
        "status",
        "group",
        "columns",
        "Apply",
        "Compare selected",
        "Run",
        "run",
        "small-3",
    ]
    .map(|wanted| reached.iter().position(|name| name == wanted));
    assert!(places.iter().all(Option::is_some), "{reached:?}");
    let in_order = places;
    places.sort_unstable();
    assert_eq!(places, in_order, "{reached:?}");

    browser.open(&address("/runs/small-1/samples"));
    let output = "document.querySelector('.slider output').textContent";
    let last = browser.value(output);
    browser.value("document.querySelector('.slider input').focus()");
    browser.press("ArrowLeft");
    assert_ne!(browser.value(output), last);
}
