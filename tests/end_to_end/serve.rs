//! `patchwork serve` and `patchwork report`: what pages say, and what nobody may ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;

use serde_json::Value;

use crate::program::{Program, files, text, workspace};

/// A server on a port of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    port: u16,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }
}

impl Server {
    pub(crate) fn start(program: &Program, arguments: &[&str]) -> Self {
        let command = [&["serve", "--port", "0"], arguments].concat();
        let mut child = program.start(&command);
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let url = line.trim().to_owned();
        let port = url.rsplit(':').next().unwrap();
        let port = port.split('/').next().unwrap().parse().unwrap();
        Self { child, url, port }
    }

    /// One request, written as it stands.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.unwrap_or_default(),
            head,
            body: answer.get(end + 4..).unwrap_or_default().to_vec(),
        }
    }

    fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"
        ))
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &format!("Host: 127.0.0.1:{}\r\n", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn fingerprint(program: &Program, run: &str, stage: &str) -> String {
    let sql = format!(
        "SELECT fingerprint FROM stages JOIN runs ON runs.id = run_id WHERE runs.name = '{run}' AND stages.name = '{stage}'"
    );
    program.rows(&["query", &sql])[0]["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn pages_show_what_the_registry_holds() {
    let program = crate::earlier::home();
    let server = Server::start(&program, &[]);
    let runs = server.get("/").text();
    for name in ["small-1", "small-3", "sweep-2"] {
        assert!(runs.contains(&format!("/runs/{name}\"")), "{name}");
    }
    let listed = server.get("/api/runs").json();
    let expected: Vec<Value> = program.rows(&["runs"]);
    assert_eq!(listed.as_array().unwrap(), &expected);
    let found = server.get("/api/runs?q=SWEEP&sort=run").json();
    let names: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["run"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["sweep-1", "sweep-2"]);
    assert!(
        server
            .get("/?columns=stages.train.duration_images")
            .text()
            .contains("160")
    );

    let shown: Value =
        serde_json::from_str(&program.succeed(&["show", "small-1", "--format", "json"])).unwrap();
    assert_eq!(server.get("/api/runs/small-1").json(), shown);
    let page = server.get("/runs/small-1").text();
    for part in [
        "fd_tiny",
        "loss by patch size",
        "grid.png",
        "stages.train.batch_size",
        "Provenance",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(server.get("/runs/small-3").text().contains("attempt 1"));
    assert_eq!(server.get("/runs/latest").status, 200);
    assert_eq!(server.get("/runs/nothing").status, 404);
    assert_eq!(server.get("/runs/s").status, 400);

    let all = server
        .get("/api/runs/small-1/series?stage=train&name=loss")
        .json();
    assert_eq!(all["exact"], true);
    let sql =
        "SELECT step, value FROM metrics WHERE run = 'small-1' AND name = 'loss' ORDER BY step";
    let points = program.rows(&["query", sql]);
    let column = |name: &str| {
        points
            .iter()
            .map(|row| row[name].clone())
            .collect::<Value>()
    };
    assert_eq!(
        (&all["steps"], &all["values"]),
        (&column("step"), &column("value"))
    );
    let thin = server
        .get("/api/runs/small-1/series?stage=train&name=loss&intervals=2")
        .json();
    let extreme = |points: &Value, choose: fn(f64, f64) -> f64| {
        points["values"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_f64)
            .reduce(choose)
    };
    assert!(thin["values"].as_array().unwrap().len() <= 4);
    assert_eq!(extreme(&thin, f64::min), extreme(&all, f64::min));
    assert_eq!(extreme(&thin, f64::max), extreme(&all, f64::max));

    // What has come since a point, for all series of the stage at once; and by a name that is not the whole one.
    let last = all["steps"].as_array().unwrap().len() - 1;
    let since = format!(
        "/api/runs/small-1/series?stage=train&from={}",
        all["steps"][last]
    );
    let since = server.get(&since).json();
    for column in ["steps", "times", "values"] {
        let expected = Value::from(vec![all[column][last].clone()]);
        assert_eq!(since["loss"][column], expected, "{column}");
    }
    assert!(since.as_object().unwrap().len() > 5, "{since}");
    let newest = server.get("/api/runs/latest").json()["run"]["name"].clone();
    for (run, expected) in [
        ("small-1", 200),
        ("latest", 200),
        ("small-9", 404),
        ("small", 400),
    ] {
        let answer = server.get(&format!("/api/runs/{run}/series?stage=train"));
        assert_eq!(answer.status, expected, "{run}, newest {newest}");
    }
    let none = server.get("/api/runs/small-1/series?stage=nothing");
    assert_eq!(none.status, 404);

    let data = format!("/data/{}", fingerprint(&program, "small-1", "prepare"));
    assert!(server.get(&data).text().contains("images.png"));
    assert!(
        server
            .get(&format!("{data}/images.png"))
            .body
            .starts_with(b"\x89PNG")
    );
    let compared = server.get("/compare?run=small-1&run=small-3").text();
    assert!(compared.contains("stages.train.learning_rate") && compared.contains("1000000000"));
    assert!(
        server.get("/api/runs/small-3/log?stage=train").json()["end"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn only_files_of_artifacts_are_served_and_only_to_this_machine() {
    let program = crate::earlier::home();
    let before = files(program.home());
    let server = Server::start(&program, &[]);
    let train = fingerprint(&program, "small-1", "train");
    let file = format!("/files/{train}/loss.png");
    let answer = server.get(&file);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("image/png"))
    );
    let tag = answer.header("etag").unwrap();
    let headers = format!("Host: localhost\r\nIf-None-Match: {tag}\r\n");
    assert_eq!(server.get_with(&file, &headers).status, 304);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));

    for path in [
        format!("/files/{train}/..%2f..%2f..%2fregistry.db"),
        format!("/files/{train}/%2e%2e/manifest.json"),
        format!("/files/{train}/manifest.json"),
        format!("/files/{train}/%2fetc%2fpasswd"),
        format!("/files/{train}/loss.png%00"),
        "/files/../registry.db".to_owned(),
        "/files/..%2f..%2fetc/passwd".to_owned(),
        "/assets/..%2fCargo.toml".to_owned(),
        "/data/..%2f..".to_owned(),
        format!("/data/{train}"),
        "/runs/..%2f..%2fetc%2fpasswd".to_owned(),
        "/api/runs/small-1/log?stage=..%2f..%2frun".to_owned(),
        "/api/runs/small-1/log?stage=%2fetc%2fpasswd".to_owned(),
        "/api/runs/%27%20OR%201=1--".to_owned(),
        "//evil.example/".to_owned(),
        "/nothing".to_owned(),
    ] {
        let answer = server.get(&path);
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.head
        );
        let body = answer.text();
        assert!(
            !body.contains("root:") && !body.contains("SQLite format"),
            "{path}"
        );
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "169.254.169.254",
        "",
    ] {
        assert_eq!(
            server.get_with("/", &format!("Host: {host}\r\n")).status,
            421,
            "{host}"
        );
    }
    assert!(server.get_with("/", "").status >= 400);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(server.raw(&request).status, 405, "{method}");
    }
    let markup = server.get("/?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E").text();
    assert!(!markup.contains("<script>alert"), "{markup}");
    drop(server);
    // SQLite's own shared memory apart, reading leaves no trace.
    let shared = |path: &std::path::Path| path.to_string_lossy().contains("registry.db-");
    let without = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        files
            .iter()
            .filter(|(path, _)| !shared(path))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(without(&files(program.home())), without(&before));
}

#[test]
fn pages_load_nothing_from_elsewhere() {
    let program = crate::earlier::home();
    let server = Server::start(&program, &[]);
    let data = format!("/data/{}", fingerprint(&program, "small-1", "prepare"));
    for path in [
        "/",
        "/runs/small-1",
        "/runs/small-1/samples",
        "/compare?runs=small-1,small-3",
        &data,
        "/nothing",
    ] {
        let html = server.get(path).text();
        let mut loaded = 0;
        for attribute in ["src=\"", "href=\"", "action=\""] {
            for (at, _) in html.match_indices(attribute) {
                let address = html[at + attribute.len()..].split('"').next().unwrap();
                let is_own = address.starts_with('/') && !address.starts_with("//");
                let is_here = address.starts_with('#') || address == "data:,";
                assert!(is_own || is_here, "{path}: {address}");
                if let Some(name) = address.strip_prefix("/assets/") {
                    loaded += 1;
                    let asset = server.get(address);
                    assert_eq!(asset.status, 200, "{name}");
                    assert!(!asset.text().contains("@import"), "{name}");
                }
            }
        }
        assert_eq!(loaded, 6, "{path}");
        assert!(
            !html.contains(" style=\"") && !html.contains(" onclick="),
            "{path}"
        );
    }
}

#[test]
fn it_ends_with_the_keys_that_end_a_program() {
    for signal in ["-INT", "-TERM"] {
        let program = crate::earlier::home();
        let mut server = Server::start(&program, &[]);
        // A page that is open does not keep it.
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        let data: Value = serde_json::from_str(&data.unwrap()).unwrap();
        // What was killed is running as far as anybody knows.
        assert_eq!(data["running"], serde_json::json!(["small-5"]));
        assert!(data["newest"].is_string(), "{data}");
        let process = server.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &process])
            .status();
        assert!(sent.unwrap().success());
        assert!(server.child.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn beyond_loopback_a_token_is_wanted() {
    let program = crate::earlier::home();
    let server = Server::start(&program, &["--host", "0.0.0.0"]);
    let token = server.url.split_once("?token=").unwrap().1;
    assert!(token.len() >= 32);
    let host = "Host: anything\r\n";
    assert_eq!(server.get_with("/", host).status, 401);
    assert_eq!(server.get_with("/?token=wrong", host).status, 401);
    let answer = server.get_with(&format!("/runs?token={token}&q=small"), host);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/runs?q=small"))
    );
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(
        server
            .get_with("/", &format!("{host}Cookie: {pair}\r\n"))
            .status,
        200
    );
    assert_eq!(
        server
            .get_with("/", &format!("{host}Cookie: patchwork_token=wrong\r\n"))
            .status,
        401
    );
    let answer = server.get_with(&format!("//evil.example/?token={token}"), host);
    assert_eq!(answer.header("location"), Some("/evil.example/"));
}

#[test]
fn a_home_without_runs_and_one_with_oddities_have_pages() {
    let program = Program::new();
    let server = Server::start(&program, &[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("No runs yet"));
    assert_eq!(server.get("/api/runs").status, 404);
    drop(server);

    let program = crate::earlier::home();
    let train = fingerprint(&program, "small-1", "train");
    let server = Server::start(&program, &[]);
    assert_eq!(server.get("/runs/small-1").status, 200);
    // A deleted artifact, while the server runs.
    std::fs::remove_dir_all(program.home().join("artifacts/train").join(&train)).unwrap();
    let page = server.get("/runs/small-1");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("The artifact was deleted."));
    assert_eq!(server.get(&format!("/files/{train}/loss.png")).status, 404);
    // A registry that is replaced, and one that is gone.
    program.succeed(&["registry", "rebuild"]);
    assert_eq!(
        server.get("/api/runs").json().as_array().unwrap().len(),
        program.rows(&["runs"]).len()
    );
    for file in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        let _ = std::fs::remove_file(program.home().join(file));
    }
    assert!(server.get("/").text().contains("No runs yet"));
    // One that is about to be made, and one that is none.
    let registry = program.home().join("registry.db");
    for content in [&b""[..], b"this is no database, but a text of some length"] {
        std::fs::write(&registry, content).unwrap();
        let page = server.get("/");
        assert_eq!(page.status, 503, "{}", page.head);
        assert!(page.text().contains("Not available"));
        std::fs::remove_file(&registry).unwrap();
    }
}

#[test]
fn a_report_stands_alone() {
    let program = crate::earlier::home();
    let folder = tempfile::tempdir().unwrap();
    for (name, runs) in [
        ("run.html", vec!["small-1"]),
        ("compare.html", vec!["sweep-1", "sweep-2"]),
    ] {
        let path = folder.path().join(name);
        let command = [&["report"], runs.as_slice(), &["--out", text(&path)]].concat();
        program.succeed(&command);
        let html = std::fs::read_to_string(&path).unwrap();
        assert!(html.contains("data:image/png;base64,"), "{name}");
        for forbidden in [
            "=\"/files",
            "=\"/runs",
            "=\"/assets",
            "=\"/data",
            "http://127",
            text(program.home()),
        ] {
            assert!(!html.contains(forbidden), "{name} has {forbidden}");
        }
        assert!(
            !program.run(&command).status.success(),
            "an existing file is not replaced"
        );
        program.succeed(&[command.as_slice(), &["--force"]].concat());
    }
}

#[test]
fn settings_over_a_preset_and_patches_are_shown() {
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("mine.toml");
    let smoke = workspace().join("pipelines/smoke.toml");
    let file = format!(
        "name = \"mine\"\nextends = {:?}\n[stages.prepare]\nimages_per_shard = 32\n[stages.train]\nduration_images = 320\n",
        text(&smoke)
    );
    std::fs::write(&pipeline, file).unwrap();
    let set = "stages.train.mirror_probability=0.5";
    program.succeed(&["run", text(&pipeline), "--until", "train", "--set", set]);
    let server = Server::start(&program, &[]);
    let page = server.get("/runs/mine-1").text();
    let row = |key: &str, value: &str, preset: &str| {
        format!(
            "<tr><td class=\"mono\">{key}</td><td class=\"mono\">{value}</td><td class=\"mono\">{preset}</td></tr>"
        )
    };
    let unset = "<span class=\"muted\">not set</span>";
    for row in [
        row("stages.prepare.images_per_shard", "32", "64"),
        row("stages.train.duration_images", "320", "600"),
        row("stages.train.mirror_probability", "0.5", unset),
    ] {
        assert!(page.contains(&row), "{row}: {page}");
    }
    let report = folder.path().join("mine.html");
    program.succeed(&["report", "mine-1", "--out", text(&report)]);
    let report = std::fs::read_to_string(&report).unwrap();
    assert!(report.contains("…/smoke.toml"));
    assert!(!report.contains(text(&workspace())) && !report.contains(text(folder.path())));

    // Patches of a quarter and of half of the image, at places that differ, with their coordinates.
    let data = format!("/data/{}", fingerprint(&program, "mine-1", "prepare"));
    let answer = server.get(&format!("/api{data}")).json();
    let patches = &answer["patches"];
    assert_eq!(patches["training"]["run"], "mine-1");
    let sizes: Vec<u64> = patches["sizes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|size| size["width"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [4, 8, 16]);
    let images = patches["images"].as_array().unwrap();
    assert_eq!(images.len(), 24);
    let places: std::collections::BTreeSet<String> = images
        .iter()
        .map(|image| image["patches"][0].to_string())
        .collect();
    assert!(places.len() > 12, "{places:?}");
    let html = server.get(&data).text();
    assert_eq!(html.matches("<figure class=\"cut\">").count(), 24);
    let sheet = server.get(&format!("{data}/patches.png?run=mine-1"));
    assert!(sheet.body.starts_with(b"\x89PNG"));
    let train = format!(
        "/data/{}/patches.png",
        fingerprint(&program, "mine-1", "train")
    );
    assert_eq!(server.get(&train).status, 404);
    assert_eq!(server.get(&format!("{data}?run=nothing")).status, 404);
}
