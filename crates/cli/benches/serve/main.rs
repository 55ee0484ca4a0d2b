//! `just bench serve`: how long the pages of `patchwork serve` take at the server, asked of a registry with 10,000 runs and
//! five million points, each within 0.2 s; and where Chromium is installed, how soon it paints them, within 1 s. Another
//! size: `just bench serve RUNS POINTS_A_RUN`.
//!
//! `just bench serve --beside-training [SECONDS]`: whether a training on two threads is slowed by an open page. Periods
//! of so many seconds (60) without a page, with the requests of one, and with one in Chromium on the same machine take
//! turns within one training.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::time::{Duration, Instant};

use patchwork_registry::Registry;

#[path = "../../../../tests/end_to_end/browser.rs"]
#[expect(dead_code, reason = "the tests take screenshots, too")]
mod browser;
#[path = "../../../registry/benches/fill/mod.rs"]
mod fill;

mod beside;
mod server;

use browser::Browser;
use server::Server;

const LIMIT: Duration = Duration::from_millis(200);
const PAINT_LIMIT: Duration = Duration::from_secs(1);
/// Each page is asked for so often; the median counts.
const REPEATS: usize = 7;

fn main() {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<i64> = arguments
        .iter()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if arguments.iter().any(|it| it == "--beside-training") {
        let seconds = numbers.first().copied().unwrap_or(60).unsigned_abs();
        beside::training(Duration::from_secs(seconds));
        return;
    }
    let runs = numbers.first().copied().unwrap_or(10_000);
    let points = numbers.get(1).copied().unwrap_or(500);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("registry.db");
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        Registry::open(&path).await.unwrap().close().await;
        fill::fill(&path, runs, points).await;
    });
    println!(
        "{runs} runs, {} points, {:.0} MB, made in {:.0} s\n",
        runs * points,
        std::fs::metadata(&path).unwrap().len() as f64 / 1e6,
        begin.elapsed().as_secs_f64()
    );
    let server = Server::start(home.path());
    println!(
        "{:>8}  {:>8}  {:>7}  {:>8}  address",
        "first ms", "ms", "of 200", "kB"
    );
    let mut slowest = Duration::ZERO;
    for address in addresses(runs) {
        slowest = Duration::max(slowest, measure(&server, &address));
    }
    slowest = Duration::max(slowest, charts(&server, &compare(runs)));
    println!(
        "\nslowest: {:.0} ms, {:.2} of the limit\n",
        slowest.as_secs_f64() * 1e3,
        slowest.as_secs_f64() / LIMIT.as_secs_f64()
    );
    paint(&server, runs);
}

/// Ten runs beside each other.
fn compare(runs: i64) -> String {
    let names: Vec<String> = (0..10)
        .map(|number| format!("demo-{}", runs - number * runs / 10))
        .collect();
    format!("/compare?runs={}", names.join(","))
}

fn addresses(runs: i64) -> Vec<String> {
    let mut addresses: Vec<String> = [
        "/",
        "/?page=50",
        "/?q=77&status=failed",
        "/?sort=-score",
        "/?sort=images_per_second",
        "/?group=pipeline&sort=duration",
        "/?columns=stages.train.batch_size&sort=stages.train.batch_size",
        "/runs/latest",
    ]
    .map(str::to_owned)
    .into();
    addresses.push(format!("/runs/demo-{}", runs / 2));
    addresses.push(format!("/runs/demo-{}/samples", runs / 2));
    addresses.push(format!(
        "/api/runs/demo-{}/series?stage=train&name=loss&intervals=700",
        runs / 2
    ));
    addresses.push(compare(runs));
    addresses.push(format!("{}&setting=stages.train.batch_size", compare(runs)));
    addresses
}

fn measure(server: &Server, address: &str) -> Duration {
    let (first, body) = timed(server, address);
    let mut times: Vec<Duration> = (0..REPEATS).map(|_| timed(server, address).0).collect();
    times.sort_unstable();
    let median = times[REPEATS / 2];
    report(first, median, body.len(), address);
    Duration::max(first, median)
}

fn timed(server: &Server, address: &str) -> (Duration, Vec<u8>) {
    let begin = Instant::now();
    let answer = server.get(address);
    (begin.elapsed(), answer)
}

fn report(first: Duration, median: Duration, bytes: usize, what: &str) {
    println!(
        "{:>8.1}  {:>8.1}  {:>7.2}  {:>8.1}  {what}",
        first.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3,
        median.as_secs_f64() / LIMIT.as_secs_f64(),
        bytes as f64 / 1e3
    );
}

/// All series of a page, one after the other.
fn charts(server: &Server, page: &str) -> Duration {
    let html = String::from_utf8(server.get(page)).unwrap();
    let series = server::series(&html);
    let all = || {
        let begin = Instant::now();
        let bytes: usize = series.iter().map(|one| server.get(one).len()).sum();
        (begin.elapsed(), bytes)
    };
    let (first, bytes) = all();
    let mut times: Vec<Duration> = (0..REPEATS).map(|_| all().0).collect();
    times.sort_unstable();
    let what = format!("all {} series of the comparison", series.len());
    report(first, times[REPEATS / 2], bytes, &what);
    times[REPEATS / 2]
}

/// How soon a browser paints.
fn paint(server: &Server, runs: i64) {
    let Some(mut browser) = Browser::start() else {
        println!("no Chromium is installed: when it paints was not measured");
        return;
    };
    browser.resize(1400, 1000, false);
    println!(
        "{:>10}  {:>8}  {:>9}  address",
        "first paint", "of 1 s", "charts ms"
    );
    for address in [
        "/".to_owned(),
        format!("/runs/demo-{}", runs / 2),
        compare(runs),
    ] {
        // The first opening has the browser's own start in it.
        let mut paints: Vec<(f64, f64)> = (0..3)
            .map(|_| {
                browser.open("about:blank");
                browser.open(&server.address(&address));
                browser.wait_for("performance.getEntriesByName('first-contentful-paint').length > 0");
                let paint = browser.value(
                    "performance.getEntriesByName('first-contentful-paint')[0].startTime",
                );
                browser.value("document.querySelector('[data-chart]')?.scrollIntoView()");
                browser.wait_for("[...document.querySelectorAll('[data-chart=lines]')].every((figure) => figure.getBoundingClientRect().top > innerHeight || figure.dataset.points)");
                let drawn = browser.value("performance.now()");
                (paint.as_f64().unwrap(), drawn.as_f64().unwrap())
            })
            .collect();
        paints.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (paint, drawn) = paints[1];
        println!(
            "{paint:>8.0} ms  {:>8.2}  {drawn:>9.0}  {address}",
            paint / 1e3 / PAINT_LIMIT.as_secs_f64()
        );
    }
}
