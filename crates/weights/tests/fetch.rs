//! Files of weights from a file and from a server on this machine: whole, in pieces, and wrong.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use patchwork_weights::{Fetched, WeightsError, WeightsFile, fetch};
use sha2::{Digest, Sha256};

/// A file of weights that is published for these tests alone.
fn published(content: &[u8]) -> &'static WeightsFile {
    let digits = patchwork_core::hex::encode(&Sha256::digest(content));
    Box::leak(Box::new(WeightsFile {
        name: "test",
        network: "test",
        file_name: "test.pth",
        sha256: digits.leak(),
        address: None,
        remedy: "do something",
    }))
}

fn content() -> Vec<u8> {
    (0..1_000_003_u32)
        .map(|number| (number * 31 % 251) as u8)
        .collect()
}

/// What a server does with one request after the other, and the first byte that each asked for.
#[derive(Clone, Copy)]
enum Answer {
    /// What was asked for.
    Right,
    /// So many bytes of it, then the connection ends.
    BreakAfter(usize),
    /// The whole file, although a part was asked for.
    Whole,
    /// A status without a body.
    Status(&'static str),
}

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<usize>>>,
}

/// Answers as many requests as there are answers.
fn server(content: Vec<u8>, answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/test.pth", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            log.lock().unwrap().push(serve(stream, &content, answer));
        }
    });
    Server { address, asked }
}

fn serve(mut stream: TcpStream, content: &[u8], answer: Answer) -> usize {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "a request has an end");
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let start = request.split_once("range: bytes=").map_or(0, |(_, rest)| {
        rest.split_once('-').unwrap().0.parse().unwrap()
    });
    let (status, body) = match answer {
        Answer::Status(status) => (status, &[][..]),
        Answer::Whole => ("200 OK", content),
        _ if start >= content.len() => ("416 Range Not Satisfiable", &[][..]),
        _ if start > 0 => ("206 Partial Content", &content[start..]),
        _ => ("200 OK", content),
    };
    let end = content.len() - 1;
    let range = format!("Content-Range: bytes {start}-{end}/{}\r\n", content.len());
    let range = if status.starts_with("206") {
        range
    } else {
        String::new()
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{range}Connection: close\r\n\r\n"
    );
    let sent = match answer {
        Answer::BreakAfter(count) => &body[..count],
        _ => body,
    };
    // A client that has read enough may be gone.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(sent));
    start
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_none_or(|end| end != "lock"))
        .collect();
    names.sort();
    names
}

fn get(file: &'static WeightsFile, from: &str, folder: &Path) -> Result<Fetched, WeightsError> {
    fetch(file, Some(from), folder, &mut |_| {})
}

#[test]
fn a_file_is_copied_once_and_only_if_it_is_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    let file = published(&content());
    let given = folder.path().join("given.pth");
    let from = given.to_str().unwrap();
    std::fs::write(&given, &content()[1..]).unwrap();
    let refused = get(file, from, &weights);
    assert!(
        matches!(refused, Err(WeightsError::Fetched { .. })),
        "{refused:?}"
    );
    assert_eq!(names(&weights), [""; 0]);
    std::fs::write(&given, content()).unwrap();
    assert!(matches!(
        get(file, from, &weights),
        Ok(Fetched::Placed { .. })
    ));
    assert_eq!(std::fs::read(weights.join("test.pth")).unwrap(), content());
    std::fs::remove_file(&given).unwrap();
    assert!(matches!(
        get(file, from, &weights),
        Ok(Fetched::AlreadyThere(_))
    ));
    let other = published(b"other");
    let missing = get(other, from, &weights);
    assert!(matches!(missing, Err(WeightsError::File(_))), "{missing:?}");
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = published(&content());
    let breaks = vec![
        Answer::BreakAfter(300_000),
        Answer::BreakAfter(1),
        Answer::Status("503 Service Unavailable"),
        Answer::Right,
    ];
    let server = server(content(), breaks);
    let mut furthest = 0;
    let fetched = fetch(
        file,
        Some(&server.address),
        folder.path(),
        &mut |progress| {
            assert!(progress.done >= furthest, "progress continues");
            furthest = progress.done;
        },
    );
    assert!(matches!(fetched, Ok(Fetched::Placed { .. })), "{fetched:?}");
    assert_eq!(furthest, content().len() as u64);
    assert_eq!(
        *server.asked.lock().unwrap(),
        [0, 300_000, 300_001, 300_001]
    );
    assert_eq!(names(folder.path()), ["test.pth"]);
}

#[test]
fn what_has_come_is_kept_for_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let file = published(&content());
    let gone = Answer::Status("500 Internal Server Error");
    let first = server(
        content(),
        vec![Answer::BreakAfter(500_000), gone, gone, gone],
    );
    let failed = get(file, &first.address, folder.path());
    assert!(
        matches!(failed, Err(WeightsError::Transfer { have: 500_000, .. })),
        "{failed:?}"
    );
    let second = server(content(), vec![Answer::Right]);
    get(file, &second.address, folder.path()).unwrap();
    assert_eq!(*second.asked.lock().unwrap(), [500_000]);
    assert_eq!(
        std::fs::read(folder.path().join("test.pth")).unwrap(),
        content()
    );
}

#[test]
fn a_server_without_parts_and_one_with_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = published(&content());
    let without_parts = server(content(), vec![Answer::BreakAfter(10), Answer::Whole]);
    get(file, &without_parts.address, folder.path()).unwrap();

    let other = published(b"something else");
    let folder = tempfile::tempdir().unwrap();
    let wrong = server(content(), vec![Answer::Right]);
    let refused = get(other, &wrong.address, folder.path());
    assert!(
        matches!(refused, Err(WeightsError::Fetched { .. })),
        "{refused:?}"
    );
    assert_eq!(names(folder.path()), [""; 0], "nothing wrong is kept");
    let missing = server(content(), vec![Answer::Status("404 Not Found")]);
    let message = get(file, &missing.address, folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("404") && message.contains("--from"),
        "{message}"
    );
    assert_eq!(
        missing.asked.lock().unwrap().len(),
        1,
        "asking again would not help"
    );
}
