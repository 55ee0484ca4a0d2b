//! Headless Chromium, driven over a pair of pipes (Chrome DevTools Protocol, `--remote-debugging-pipe`).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_mins(2);

/// What Chromium answers to a question about a page that is just being left.
const LEFT: &str = "Inspected target navigated or closed";

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    requests: File,
    answers: Receiver<Value>,
    session: Value,
    next: i64,
    _profile: TempDir,
}

impl Browser {
    /// None where no Chromium is installed.
    pub(crate) fn start() -> Option<Self> {
        let program = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| {
                let mut command = Command::new(name);
                command
                    .arg("--version")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                command.status().is_ok_and(|status| status.success())
            })?;
        let profile = tempfile::tempdir().unwrap();
        let (request_reader, request_writer) = std::io::pipe().unwrap();
        let (answer_reader, answer_writer) = std::io::pipe().unwrap();
        let child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .fd_mappings(vec![
                FdMapping {
                    parent_fd: request_reader.into(),
                    child_fd: 3,
                },
                FdMapping {
                    parent_fd: answer_writer.into(),
                    child_fd: 4,
                },
            ])
            .unwrap()
            .spawn()
            .unwrap();
        let into_file = |fd: std::os::fd::OwnedFd| File::from(fd);
        let mut browser = Self {
            child,
            requests: into_file(request_writer.into()),
            answers: answers(into_file(answer_reader.into())),
            session: Value::Null,
            next: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].clone();
        Some(browser)
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let answer = self.ask(method, parameters);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request and waits for its answer, which may be an error.
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_null() {
            request["sessionId"] = self.session.clone();
        }
        self.requests
            .write_all(request.to_string().as_bytes())
            .unwrap();
        self.requests.write_all(&[0]).unwrap();
        loop {
            let answer = self.answers.recv_timeout(WAIT);
            let answer = answer.unwrap_or_else(|error| panic!("{method} {parameters}: {error}"));
            if answer["id"] == self.next {
                return answer;
            }
        }
    }

    /// The size of the page in pixels, and whether the system prefers dark colours.
    pub(crate) fn resize(&mut self, width: u32, height: u32, is_dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
        self.wait_for(&format!(
            "document.readyState === 'complete' && location.href.startsWith({})",
            Value::from(address.split(['?', '#']).next().unwrap_or(address))
        ));
    }

    /// The value of an expression on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        self.value_unless_left(expression)
            .unwrap_or_else(|| panic!("{expression}: {LEFT}"))
    }

    /// The value of an expression, or none where another page came while it was computed.
    fn value_unless_left(&mut self, expression: &str) -> Option<Value> {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", &parameters);
        if answer["error"]["message"] == LEFT {
            return None;
        }
        assert!(
            answer["error"].is_null() && answer["result"]["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        Some(answer["result"]["result"]["value"].clone())
    }

    /// Waits until an expression is true, on this page or on the one that it leads to.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.value_unless_left(expression) != Some(Value::Bool(true)) {
            assert!(begin.elapsed() < WAIT, "never true: {expression}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks on what leads to another page; `wait_for` says when it is there.
    pub(crate) fn follow(&mut self, selector: &str) {
        // The click comes after the answer, which a page that is left would not give.
        self.value(&format!(
            "setTimeout(() => document.querySelector({}).click()); 0",
            Value::from(selector)
        ));
    }

    /// Presses a key, such as `Tab`.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowLeft" => 37,
            _ => 32,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["rawKeyDown", "char", "keyUp"] {
            if kind == "char" && text.is_empty() {
                continue;
            }
            let event = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// A picture of the page from top to bottom.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", &parameters);
        let png = base64(answer["data"].as_str().unwrap());
        std::fs::write(path, png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It has nothing to save; what is left of a page is discarded with its profile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the browser says, read as it comes, so that a page that hangs does not hang the test.
fn answers(pipe: File) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for answer in BufReader::new(pipe).split(0).map_while(Result::ok) {
            let Ok(answer) = serde_json::from_slice(&answer) else {
                break;
            };
            if sender.send(answer).is_err() {
                break;
            }
        }
    });
    receiver
}

fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text
        .bytes()
        .filter(|letter| *letter != b'=')
        .map(value)
        .collect();
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for letter in letters {
        bits = bits << 6 | u32::from(letter);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    bytes
}
