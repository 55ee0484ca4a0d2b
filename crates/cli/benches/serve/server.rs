//! `patchwork serve` as a process, and a client that asks as a page does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The program, serving a home folder on a port of its own.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start(home: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_patchwork"))
            .args(["serve", "--port", "0"])
            .env("PATCHWORK_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let port = line.trim().trim_end_matches('/').rsplit(':').next();
        let port = port.unwrap().parse().unwrap();
        Self { child, port }
    }

    /// A path with the server before it.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The body of an answer, which is a good one.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        get(self.port, path)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection on which a path was asked for.
pub(crate) fn ask(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub(crate) fn get(port: u16, path: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    ask(port, path).read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{path}: {}",
        String::from_utf8_lossy(&answer[..end])
    );
    answer.split_off(end + 4)
}

/// The addresses of all series on a page, as its charts ask for them.
pub(crate) fn series(html: &str) -> Vec<String> {
    let starts = html.match_indices("&quot;address&quot;:&quot;/api/");
    starts
        .map(|(at, _)| {
            let address = &html[at + "&quot;address&quot;:&quot;".len()..];
            let end = address.find("&quot;").unwrap();
            let address = address[..end].replace("&amp;", "&");
            format!("{address}&intervals=700")
        })
        .collect()
}
