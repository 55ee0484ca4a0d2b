//! `just bench registry`: every question of docs/reference/registry.md, asked of a registry with 10,000 runs and five million
//! points; each is to be answered within 0.2 s. Another size: `just bench registry RUNS POINTS_A_RUN`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use patchwork_registry::Registry;

mod fill;
use fill::fill;

const LIMIT: Duration = Duration::from_millis(200);
/// Each question is asked so often; the median counts.
const REPEATS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo passes `--bench`.
    let sizes: Vec<i64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let runs = sizes.first().copied().unwrap_or(10_000);
    let points = sizes.get(1).copied().unwrap_or(500);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let begin = Instant::now();
    let registry = Registry::open(&path).await.unwrap();
    fill(&path, runs, points).await;
    println!(
        "{runs} runs, {} points, {:.0} MB, made in {:.0} s\n",
        runs * points,
        std::fs::metadata(&path).unwrap().len() as f64 / 1e6,
        begin.elapsed().as_secs_f64()
    );
    println!("{:>8}  {:>10}  {:>7}  question", "ms", "of 200 ms", "rows");
    let mut slowest = Duration::ZERO;
    for (question, sql) in questions() {
        let (time, rows) = ask(&registry, &sql);
        slowest = slowest.max(time);
        report(time, rows, &question);
    }
    let begin = Instant::now();
    let listed = registry.runs(20).await.unwrap().len();
    report(
        begin.elapsed(),
        listed,
        "`patchwork runs`, within the program",
    );
    registry.close().await;
    println!(
        "\nslowest: {:.0} ms, {:.2} of the limit",
        slowest.as_secs_f64() * 1e3,
        slowest.as_secs_f64() / LIMIT.as_secs_f64()
    );
}

fn report(time: Duration, rows: usize, question: &str) {
    println!(
        "{:>8.1}  {:>10.2}  {rows:>7}  {question}",
        time.as_secs_f64() * 1e3,
        time.as_secs_f64() / LIMIT.as_secs_f64()
    );
}

fn ask(registry: &Registry, sql: &str) -> (Duration, usize) {
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..REPEATS {
        let begin = Instant::now();
        rows = registry.query(sql).unwrap().rows.len();
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    (times[REPEATS / 2], rows)
}

/// The questions of the page, with their SQL.
fn questions() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/registry.md");
    let page = std::fs::read_to_string(page).unwrap();
    let parts: Vec<&str> = page.split("```sql\n").collect();
    parts
        .windows(2)
        .map(|pair| {
            let question = pair[0].trim_end().rsplit("\n\n").next().unwrap();
            let sql = pair[1].split("```").next().unwrap();
            (question.replace('\n', " "), sql.to_owned())
        })
        .collect()
}
