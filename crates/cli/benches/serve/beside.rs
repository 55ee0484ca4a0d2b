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
    /// Processor time of the server, and of the browser, in seconds.
    used: [f64; 2],
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
            periods.push(period(&server, page, length, &requests));
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

/// Keeps a page open for a while. What opening it takes is not counted.
fn period(server: &Server, page: Page, length: Duration, requests: &AtomicUsize) -> Period {
    let counted = |browser: Option<u32>| {
        let processes = [Some(server.process()), browser];
        thread::sleep(SETTLING);
        let from = now();
        let before = processes.map(processor_time);
        thread::sleep(length.saturating_sub(SETTLING));
        let after = processes.map(processor_time);
        Period {
            page,
            from,
            to: now(),
            used: [after[0] - before[0], after[1] - before[1]],
        }
    };
    match page {
        Page::None => counted(None),
        Page::Requests => {
            let ended = Arc::new(AtomicBool::new(false));
            let follower = follow(server.port(), ended.clone());
            let period = counted(None);
            ended.store(true, Ordering::Relaxed);
            requests.fetch_add(follower.join().unwrap(), Ordering::Relaxed);
            period
        }
        Page::Chromium => {
            let mut browser = Browser::start().unwrap();
            browser.resize(1400, 1000, false);
            browser.open(&server.address("/runs/latest"));
            browser.value("document.querySelector('[data-chart]').scrollIntoView()");
            let children = processes().into_iter();
            let own = children.filter(|process| process.parent == std::process::id());
            counted(
                own.filter(|process| process.name.contains("chrom"))
                    .map(|process| process.id)
                    .next(),
            )
        }
    }
}

/// A process, by Linux's account of it.
struct Process {
    id: u32,
    parent: u32,
    name: String,
    /// Hundredths of a second of the processor, its ended children's included.
    ticks: u64,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            // `ID (NAME) STATE PARENT …`; the name may hold anything.
            let (id, rest) = text.split_once(" (")?;
            let (name, rest) = rest.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split(' ').collect();
            let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>());
            Some(Process {
                id: id.parse().ok()?,
                parent: fields.get(1)?.parse().ok()?,
                name: name.to_owned(),
                ticks: ticks.sum::<Result<u64, _>>().ok()?,
            })
        })
        .collect()
}

/// What a process and those that it started have used, in seconds; 0 for none.
fn processor_time(root: Option<u32>) -> f64 {
    let Some(root) = root else {
        return 0.0;
    };
    let processes = processes();
    let (mut family, mut ticks) = (vec![root], 0);
    while let Some(id) = family.pop() {
        let own = processes.iter().filter(|process| process.id == id);
        ticks += own.map(|process| process.ticks).sum::<u64>();
        let children = processes.iter().filter(|process| process.parent == id);
        family.extend(children.map(|process| process.id));
    }
    ticks as f64 / 100.0
}

/// Asks for more than a page asks for: its events, and at each of them itself and every series from its start. Returns how many requests
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
        let share = |which: usize| {
            let of_page = periods.iter().filter(|period| period.page == page);
            let (used, length) = of_page.fold((0.0, 0.0), |(used, length), period| {
                let seconds = (period.to - period.from) as f64 / 1e3;
                (used + period.used[which], length + seconds)
            });
            100.0 * used / length
        };
        let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.1}")).collect();
        println!(
            "{what:<36} {mean:>7.1} images/s  {:>+6.2} %   ({}); of a core: server {:.2} %, browser {:.2} %",
            100.0 * (mean / without - 1.0),
            each.join(", "),
            share(0),
            share(1)
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
