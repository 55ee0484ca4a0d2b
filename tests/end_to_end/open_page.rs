//! A page that stays open in Chromium: what it shows of a training at work, and how little it does for that.

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use patchwork_artifacts::event::{Event, Record};
use patchwork_artifacts::time::Timestamp;
use patchwork_registry::Registry;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::pages::{browser, kept};
use crate::program::{Program, with};
use crate::serve::Server;

/// Notes when the page itself is asked for, and errors of scripts.
const WATCH: &str = "window.asked = []; window.failures = [];
    addEventListener('error', (event) => failures.push(event.message));
    addEventListener('unhandledrejection', (event) => failures.push(String(event.reason)));
    window.plain = fetch;
    window.fetch = (address, ...rest) => { if (address === location.href) asked.push(performance.now()); return plain(address, ...rest); };";

/// A training that would run for days; a test that fails does not leave it behind.
struct Training(Child);

impl Training {
    fn start(program: &Program, settings: &[&str]) -> Self {
        let run = ["run", "pipelines/smoke.toml", "--until", "train"];
        let long = ["stages.train.duration_images=100_000_000"];
        let settings = [long.as_slice(), settings].concat();
        let mut training = Self(program.start(&with(&run, &settings)));
        while !program.home().join("registry.db").exists() {
            assert!(training.0.try_wait().unwrap().is_none(), "it ended");
            sleep(Duration::from_millis(100));
        }
        training
    }

    fn interrupt(&mut self) {
        let sent = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(browser: &mut Browser, expression: &str) -> f64 {
    browser.value(expression).as_f64().unwrap()
}

/// How often a chart was drawn.
fn draws(browser: &mut Browser, chart: &str) -> f64 {
    let drawn = format!("Number(document.getElementById('{chart}').dataset.draws ?? 0)");
    number(browser, &drawn)
}

#[test]
fn an_open_page_follows_a_training_and_draws_what_is_seen() {
    let Some(mut browser) = browser() else {
        return;
    };
    let program = Program::new();
    let mut training = Training::start(&program, &[]);
    let server = Server::start(&program, &[]);
    // Open before there is a point: charts come by themselves.
    browser.resize(1400, 500, false);
    browser.open(&format!("{}runs/latest", server.url));
    browser.value(WATCH);
    browser.wait_for("document.getElementById('chart-loss') !== null");
    browser.value("document.getElementById('chart-loss').scrollIntoView()");
    browser.wait_for("Number(document.getElementById('chart-loss').dataset.points) > 1");

    // A chart far below was drawn once, and is not while it is out of view.
    let below = "chart-share%20of%20time%20waiting%20for%20data";
    browser.value(&format!(
        "document.getElementById('{below}').scrollIntoView()"
    ));
    browser.wait_for(&format!(
        "Number(document.getElementById('{below}').dataset.points) > 0"
    ));
    browser.value("document.getElementById('chart-loss').scrollIntoView()");
    browser.value(&format!("document.getElementById('{below}').closest('.charts').style.display = 'block'; document.getElementById('{below}').style.marginTop = '4000px'"));
    sleep(Duration::from_millis(500));
    let drawn_below = draws(&mut browser, below);
    browser.value(
        "window.plot = document.querySelector('#chart-loss .uplot'); document.querySelector('.stage details, #last-values').open = true",
    );
    let before = number(
        &mut browser,
        "Number(document.getElementById('chart-loss').dataset.points)",
    );
    let drawn = draws(&mut browser, "chart-loss");
    browser.wait_for(&format!(
        "Number(document.getElementById('chart-loss').dataset.draws) >= {}",
        drawn + 3.0
    ));
    let after = number(
        &mut browser,
        "Number(document.getElementById('chart-loss').dataset.points)",
    );
    assert!(after > before, "{before} points, then {after}");
    assert_eq!(
        browser.value("plot.isConnected && document.querySelectorAll('#chart-loss .uplot').length"),
        Value::from(1),
        "the chart itself stays"
    );
    assert_eq!(
        browser.value("document.querySelector('.stage details, #last-values').open"),
        Value::from(true),
        "what was opened stays open"
    );
    assert_eq!(draws(&mut browser, below).to_bits(), drawn_below.to_bits());
    let gaps = "Math.min(...asked.slice(1).map((time, place) => time - asked[place]))";
    assert!(number(&mut browser, gaps) >= 1_990.0);
    browser.value(&format!(
        "document.getElementById('{below}').scrollIntoView()"
    ));
    browser.wait_for(&format!(
        "Number(document.getElementById('{below}').dataset.draws) > {drawn_below}"
    ));

    // Hidden, it asks for nothing; seen again, it catches up.
    let hide = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }}); document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.value(&hide(true));
    sleep(Duration::from_secs(1));
    let asked = number(&mut browser, "asked.length");
    sleep(Duration::from_secs(5));
    assert_eq!(
        number(&mut browser, "asked.length").to_bits(),
        asked.to_bits()
    );
    browser.value(&hide(false));
    browser.wait_for(&format!("asked.length > {asked}"));

    // The end of the run is seen, too.
    training.interrupt();
    browser.wait_for("document.querySelector('#head .status').textContent.includes('interrupted')");
    assert_eq!(browser.value("failures"), Value::Array(Vec::new()));
}

#[test]
fn a_slider_that_gains_a_snapshot_stands_where_it_stood() {
    let Some(mut browser) = browser() else {
        return;
    };
    let program = Program::new();
    let snapshots = "stages.train.snapshot_images=[100, 200, 2000, 4000, 8000, 16000, 32000]";
    let mut training = Training::start(&program, &[snapshots]);
    let server = Server::start(&program, &[]);
    browser.resize(1400, 1000, false);
    browser.open(&format!("{}runs/latest/samples", server.url));
    browser.value(WATCH);
    browser.wait_for("document.querySelector('.slider input')?.max >= 1");
    let before = number(
        &mut browser,
        "window.slider = document.querySelector('.slider'); const range = slider.querySelector('input'); range.value = 0; range.dispatchEvent(new Event('input')); Number(range.max)",
    );
    let first = browser.value("document.querySelector('.slider output').textContent");
    browser.wait_for(&format!(
        "Number(document.querySelector('.slider input').max) > {before}"
    ));
    assert_eq!(
        browser.value("document.querySelector('.slider output').textContent"),
        first
    );
    assert_eq!(
        browser.value("document.querySelector('.slider input').value"),
        json!("0")
    );
    training.interrupt();
    assert_eq!(browser.value("failures"), Value::Array(Vec::new()));
}

/// Appends measurements to a finished run, as its worker would have said them.
fn measure(program: &Program, run: &str, stage: &str, points: &[(u64, f64)]) {
    let records: Vec<Record> = points
        .iter()
        .map(|&(step, value)| Record {
            time: Timestamp::now(),
            stage: Some(stage.to_owned()),
            attempt: Some(1),
            event: Event::Metric {
                name: "loss".to_owned(),
                step,
                value,
            },
        })
        .collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let registry = Registry::open(&program.home().join("registry.db"))
            .await
            .unwrap();
        let refusals = registry.apply(run, &records).await.unwrap();
        assert!(refusals.is_empty(), "{refusals:?}");
        registry.close().await;
    });
}

#[test]
fn a_series_with_values_that_are_no_numbers_has_gaps() {
    let Some(mut browser) = browser() else {
        return;
    };
    let program = crate::earlier::home();
    let sql = "SELECT MAX(step) AS last FROM metrics WHERE run = 'small-1' AND name = 'loss'";
    let last = program.rows(&["query", sql])[0]["last"].as_u64().unwrap();
    let steps: Vec<u64> = (1..=6).map(|number| last + number * last / 4).collect();
    let values = [1.0, f64::NAN, f64::NAN, 0.5, 0.7, f64::NAN];
    let points: Vec<(u64, f64)> = steps.iter().copied().zip(values).collect();
    measure(&program, "small-1", "train", &points);

    let server = Server::start(&program, &[]);
    browser.resize(1400, 1000, false);
    browser.open(&format!("{}runs/small-1", server.url));
    browser.value(WATCH);
    browser.value("document.getElementById('chart-loss').scrollIntoView()");
    browser.wait_for("document.querySelector('#chart-loss canvas') !== null");
    // How much of the curve's colour stands in the columns over a share of the x axis.
    browser.value(
        "window.painted = (step) => {
            const canvas = document.querySelector('#chart-loss canvas'), over = document.querySelector('#chart-loss .u-over');
            const box = canvas.getBoundingClientRect(), area = over.getBoundingClientRect(), last = STEP;
            const first = FIRST, x = Math.round(area.left - box.left + (step - first) / (last - first) * area.width);
            const { data } = canvas.getContext('2d').getImageData(x * devicePixelRatio, 0, 1, canvas.height);
            let count = 0;
            for (let place = 0; place < data.length; place += 4) if (data[place + 3] > 128 && data[place + 2] > data[place] + 60) count++;
            return count;
        }"
        .replace("STEP", &steps[5].to_string())
        .replace("FIRST", &first_step(&program).to_string())
        .as_str(),
    );
    let middle = |one: u64, other: u64| one.midpoint(other);
    let painted = |browser: &mut Browser, step: u64| number(browser, &format!("painted({step})"));
    for (step, is_drawn) in [
        (middle(last, steps[0]), true),
        (middle(steps[0], steps[1]), false),
        (middle(steps[1], steps[2]), false),
        (middle(steps[2], steps[3]), false),
        (middle(steps[3], steps[4]), true),
        (middle(steps[4], steps[5]), false),
    ] {
        let count = painted(&mut browser, step);
        assert_eq!(count > 0.0, is_drawn, "at {step}: {count}");
    }
    // Under the cursor and in the table.
    let hover = |step: u64| {
        format!(
            "(() => {{ const over = document.querySelector('#chart-loss .u-over'), area = over.getBoundingClientRect();
                const x = area.left + ({step} - {first}) / ({end} - {first}) * area.width;
                for (const kind of ['mouseenter', 'mousemove']) over.dispatchEvent(new MouseEvent(kind, {{ clientX: x, clientY: area.top + 20, bubbles: true }}));
                return new Promise((done) => setTimeout(() => done(document.querySelectorAll('#chart-loss .u-legend .u-value')[1].textContent), 100)); }})()",
            first = first_step(&program),
            end = steps[5]
        )
    };
    for (step, expected) in [(steps[0], "1"), (steps[1], "NaN"), (steps[3], "0.5")] {
        assert_eq!(browser.value(&hover(step)), json!(expected), "at {step}");
    }
    let row = "[...document.querySelectorAll('#last-values tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent)).find((row) => row[1] === 'loss')";
    assert_eq!(browser.value(row)[4], json!("NaN"));
    assert_eq!(browser.value("failures"), Value::Array(Vec::new()));
    if let Some(folder) = kept() {
        browser.screenshot(&folder.join("not-a-number.png"));
    }
}

fn first_step(program: &Program) -> u64 {
    let sql = "SELECT MIN(step) AS first FROM metrics WHERE run = 'small-1' AND name = 'loss'";
    program.rows(&["query", sql])[0]["first"].as_u64().unwrap()
}
