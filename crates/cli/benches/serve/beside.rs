//! A training on two threads, with and without an open page.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::browser::Browser;
use crate::server::{Server, ask, get, series};

/// Every state has so many periods, one after the other.
const ROUNDS: usize = 4;
/// Of each period this much at its start does not count: what was before dies away.
const SETTLING: Duration = Duration::from_secs(4);
/// Often, so that a page has much to fetch.
const LOG_EVERY: &str = "stages.train.log_every_seconds=1";

#[derive(Clone, Copy, PartialEq)]
enum Page {
    None,
    Requests,
    Chromium,
}

/// What was in a period, and between which moments it counts, milliseconds since 1970.
struct Period {
    page: Page,
    from: u128,
    to: u128,
}

pub(crate) fn training(length: Duration) {
    let home = tempfile::tempdir().unwrap();
    let mut training = program(home.path())
        .args(["run", "pipelines/demo.toml", "--until", "train"])
        .args(["--set", "stages.train.duration_images=1_000_000_000"])
        .args(["--set", "stages.train.threads=2", "--set", LOG_EVERY])
        .spawn()
        .unwrap();
    let server = Server::start(home.path());
    let points = || {
        rows(
            home.path(),
            "SELECT COUNT(*) AS n FROM metrics WHERE name = 'loss'",
        )
    };
    while points()
        .first()
        .is_none_or(|row| row["n"].as_i64() < Some(10))
    {
        assert!(training.try_wait().unwrap().is_none(), "the training ended");
        thread::sleep(Duration::from_secs(1));
    }
    let has_browser = Browser::start().is_some();
    if !has_browser {
        println!("no Chromium is installed: its page is left out");
    }
    let mut periods = Vec::new();
    let requests = AtomicUsize::new(0);
    for _ in 0..ROUNDS {
        for page in [Page::None, Page::Requests, Page::Chromium] {
            if page == Page::Chromium && !has_browser {
                continue;
            }
            let from = now() + SETTLING.as_millis();
            open(&server, page, length, &requests);
            periods.push(Period {
                page,
                from,
                to: now(),
            });
        }
    }
    let end = Command::new("kill")
        .args(["-INT", &training.id().to_string()])
        .status();
    assert!(end.unwrap().success());
    training.wait().unwrap();
    let points = rows(
        home.path(),
        "SELECT step, CAST(ROUND((julianday(time) - 2440587.5) * 86400000) AS INTEGER) AS time FROM metrics WHERE name = 'loss' ORDER BY step",
    );
    report(&points, &periods, requests.into_inner());
}

/// Keeps a page open for a while.
fn open(server: &Server, page: Page, length: Duration, requests: &AtomicUsize) {
    match page {
        Page::None => thread::sleep(length),
        Page::Requests => {
            let ended = Arc::new(AtomicBool::new(false));
            let follower = follow(server.port(), ended.clone());
            thread::sleep(length);
            ended.store(true, Ordering::Relaxed);
            requests.fetch_add(follower.join().unwrap(), Ordering::Relaxed);
        }
        Page::Chromium => {
            let mut browser = Browser::start().unwrap();
            browser.resize(1400, 1000, false);
            browser.open(&server.address("/runs/latest"));
            browser.value("document.querySelector('[data-chart]').scrollIntoView()");
            thread::sleep(length);
        }
    }
}

/// Asks for what a page asks for: its events, and at each of them itself and all its series. Returns how many requests
/// that made.
fn follow(port: u16, ended: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut requests = 0;
        let events = BufReader::new(ask(port, "/events"));
        for line in events.lines() {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            if !line.unwrap().starts_with("event: change") {
                continue;
            }
            let html = String::from_utf8(get(port, "/runs/latest")).unwrap();
            let series = series(&html);
            requests += 1 + series.len();
            for one in series {
                get(port, &one);
            }
        }
        requests
    })
}

fn report(points: &[Value], periods: &[Period], requests: usize) {
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
    let rate = |period: &Period| {
        let within: Vec<&Value> = points
            .iter()
            .filter(|row| {
                let time = number(row, "time") as u128;
                (period.from..=period.to).contains(&time)
            })
            .collect();
        let (first, last) = (within.first().unwrap(), within.last().unwrap());
        let seconds = (number(last, "time") - number(first, "time")) / 1e3;
        (number(last, "step") - number(first, "step")) / seconds
    };
    let mut without = f64::NAN;
    for (page, what) in [
        (Page::None, "no page".to_owned()),
        (Page::Requests, format!("a page's requests ({requests})")),
        (
            Page::Chromium,
            "a page in Chromium, same machine".to_owned(),
        ),
    ] {
        let of_page = periods.iter().filter(|period| period.page == page);
        let rates: Vec<f64> = of_page.map(rate).collect();
        if rates.is_empty() {
            continue;
        }
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        if page == Page::None {
            without = mean;
        }
        let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.1}")).collect();
        println!(
            "{what:<36} {mean:>7.1} images/s  {:>+6.2} %   ({})",
            100.0 * (mean / without - 1.0),
            each.join(", ")
        );
    }
}

fn now() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_millis()
}

fn rows(home: &Path, sql: &str) -> Vec<Value> {
    let output = program(home)
        .args(["query", sql, "--format", "json"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchwork"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("PATCHWORK_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
