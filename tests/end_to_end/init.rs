//! `patchwork init` as a user runs it: in a folder of their own, on pictures of every kind, and what it writes then runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program::{Program, is_alive, processes, send, workspace};
use crate::readers::python;

/// Pictures in a folder, in folders of classes, in an archive; small ones, oblong ones, damaged ones, and none at all.
const MAKE: &str = r#"
import io, os, sys, zipfile
import numpy as np
from PIL import Image
root = sys.argv[1]
def picture(n, size):
    rng = np.random.default_rng(n)
    return Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
def put(path, n, size=(48, 48)):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture(n, size).save(path)
for n in range(24):
    put(f'data/plain/{n}.png', n)
    put(f'data/My Pets 2024_01/{["cat", "Hündchen é"][n % 2]}/{n}.png', n, (20, 20))
    put(f'花/{n:02}.png', n, (9, 7))
    put(f'oblong/{n}.png', n, (96, 64))
    put(f'numbered/{n // 8 * 1000:05}/{n}.png', n)
open(os.path.join(root, 'data/plain/notes.txt'), 'w').write('words')
open(os.path.join(root, 'data/plain/broken\x1b.png'), 'wb').write(b'\x89PNG\r\n\x1a\n' + b'\0' * 40)
with zipfile.ZipFile(os.path.join(root, 'archive.tar.zip'), 'w') as archive:
    for n in range(16):
        out = io.BytesIO(); picture(n, (80, 80)).save(out, 'PNG')
        archive.writestr(f'{["red", "blue"][n % 2]}/{n}.png', out.getvalue())
os.makedirs(os.path.join(root, 'empty'))
os.makedirs(os.path.join(root, 'words'))
open(os.path.join(root, 'words/a.txt'), 'w').write('words')
"#;

/// A folder outside of the checkout, with a home of its own.
struct Place {
    folder: TempDir,
    program: Program,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        python(MAKE, &[folder.path().as_os_str()]);
        Self {
            folder,
            program: Program::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program.command(arguments);
        command
            .current_dir(self.folder.path())
            .env("PATCHWORK_WEIGHTS", workspace().join("weights"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output and error of a command that succeeds.
    fn succeed(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }

    /// Standard error of a command that is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        said
    }

    /// Has a pipeline written, checks that the program takes it, and gives its text.
    fn init(&self, arguments: &[&str], file: &str) -> String {
        let (printed, said) = self.succeed(&[&["init"], arguments].concat());
        assert_eq!(printed.trim(), file, "{said}");
        self.succeed(&["run", file, "--dry-run"]);
        std::fs::read_to_string(self.path(file)).unwrap()
    }
}

/// Each of `words` is in `text`.
fn holds(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn a_folder_of_classes_becomes_a_pipeline_that_runs() {
    let place = Place::new();
    let folder = "data/My Pets 2024_01";
    let file = "pipelines/my-pets-2024_01.toml";
    let written = place.init(&[folder, "--minutes", "0.05"], file);
    holds(
        &written,
        &[
            "name = \"my-pets-2024_01\"",
            "extends = \"../configs/cpu-32.toml\"",
            "source = \"data/My Pets 2024_01\"",
            // The pictures are of 20 pixels.
            "resolution = 16",
            "labels = \"folder\"",
            "2 classes: Hündchen é 12, cat 12",
            "class_conditional = true",
            "on this machine: an estimate, from",
            "batch_size = 8",
        ],
    );
    assert!(place.path("configs/cpu-32.toml").is_file());
    // As it is, but for fewer and coarser samples.
    let run = ["run", file, "--set", "stages.sample.seeds=0-15", "--set"];
    let (_, said) = place.succeed(&[&run[..], &["stages.sample.steps=3"]].concat());
    holds(&said, &["24 images taken", "2 classes"]);
    let again = place.refused(&["init", folder]);
    holds(&again, &["already a pipeline", file, "--name"]);
    assert_eq!(std::fs::read_to_string(place.path(file)).unwrap(), written);
}

#[test]
fn pictures_of_every_kind_are_looked_at() {
    let place = Place::new();
    // The only one in `data` but for what is hidden.
    std::fs::rename(place.path("data/My Pets 2024_01"), place.path("pets")).unwrap();
    std::fs::write(place.path("data/.DS_Store"), "").unwrap();
    let written = place.init(&["--minutes", "0.05"], "pipelines/plain.toml");
    holds(
        &written,
        &[
            "source = \"data/plain\"",
            "25 images, passed over 1 .txt",
            "resolution = 32",
            "labels = \"none\"",
            "lies in no class folder",
            "max_rejected = 0.08",
            "broken\\u{1b}.png",
        ],
    );
    let (_, said) = place.succeed(&["run", "pipelines/plain.toml", "--until", "prepare"]);
    holds(&said, &["24 images taken", "1 rejected"]);

    let written = place.init(&["archive.tar.zip"], "pipelines/archive.toml");
    holds(
        &written,
        &["labels = \"folder\"", "all square", "blue 8, red 8"],
    );

    let small = ["花", "--minutes", "0.05"];
    let written = place.init(&small, "pipelines/pictures.toml");
    holds(
        &written,
        &["resolution = 16", "24 of 24 are smaller than 16 pixels"],
    );

    let oblong = [
        "oblong",
        "--resolution",
        "64",
        "--name",
        "oblong-64",
        "--minutes",
        "0.05",
    ];
    let written = place.init(&oblong, "pipelines/oblong-64.toml");
    holds(
        &written,
        &[
            "extends = \"../configs/cpu-64.toml\"",
            "24 of 24 not square",
            "`resolution = 96`, `height = 64`",
        ],
    );
    let written = place.init(
        &["numbered", "--minutes", "0.05"],
        "pipelines/numbered.toml",
    );
    holds(&written, &["labels = \"none\"", "numbering"]);
}

#[test]
fn what_cannot_be_a_pipeline_is_refused_and_nothing_is_written() {
    let place = Place::new();
    for (arguments, words) in [
        (&["empty"][..], &["empty", "no images"][..]),
        (&["words"], &["words", "no images", "1 .txt"]),
        (
            &["nowhere"],
            &["nowhere", "no file or folder has that path"],
        ),
        (
            &[],
            &["no source was named", "`data/plain`", "hint: name a folder"],
        ),
        (
            &["oblong", "--name", "A b"],
            &["--name", "`A b`", "lower-case"],
        ),
        (
            &["oblong", "--resolution", "20"],
            &["--resolution", "multiple of 16"],
        ),
        (&["oblong", "--device", "gpu"], &["--device", "`gpu`"]),
    ] {
        let said = place.refused(&[&["init"], arguments].concat());
        holds(&said, words);
        assert!(!place.path("pipelines").exists(), "{arguments:?}");
        assert!(!place.path("configs").exists(), "{arguments:?}");
    }
    let output = place.run(&["init", "oblong", "--minutes", "0"]);
    assert_eq!(output.status.code(), Some(2));
    // A device that is not there cannot be measured, which is said; the file is for where it is.
    let (_, said) = place.succeed(&["init", "oblong", "--device", "cuda:7"]);
    holds(&said, &["could not be measured", "cuda:7"]);
    let written = std::fs::read_to_string(place.path("pipelines/oblong.toml")).unwrap();
    holds(
        &written,
        &[
            "device = \"cuda:7\"",
            "pixel-64-small",
            "could not be measured",
        ],
    );
}

#[test]
fn a_worker_that_measures_ends_with_the_command() {
    let place = Place::new();
    for signal in ["TERM", "KILL"] {
        let mut child = place
            .command(&["init", "oblong", "--resolution", "64"])
            .spawn()
            .unwrap();
        let worker = worker_that_measures(&place);
        // It is at work, not only about to start.
        std::thread::sleep(Duration::from_millis(500));
        send(signal, &child.id().to_string());
        assert!(!child.wait().unwrap().success());
        let begin = Instant::now();
        while is_alive(&worker) {
            let time = begin.elapsed();
            assert!(time < Duration::from_secs(1), "{signal}: it measures on");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!place.path("pipelines").exists());
    }
}

/// The process that measures, once it is there.
fn worker_that_measures(place: &Place) -> String {
    let begin = Instant::now();
    loop {
        let workers = processes(place.program.home(), "patchwork-worker");
        let measures = |worker: &String| {
            let line = std::fs::read_to_string(format!("/proc/{worker}/cmdline"));
            line.is_ok_and(|line| line.contains("measure"))
        };
        if let Some(worker) = workers.into_iter().find(measures) {
            return worker;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "nothing measures");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Answers questions on a terminal: wrong ones first.
const TERMINAL: &str = r"
import os, pty, sys, time
program, folder, home = sys.argv[1:4]
child, terminal = pty.fork()
if child == 0:
    os.chdir(folder)
    os.environ['PATCHWORK_HOME'] = home
    os.execv(program, [program, 'init', 'oblong', '--minutes', '0.05'])
answers = [('name of the pipeline [oblong]:', 'No Name'), ('name of the pipeline [oblong]:', 'mine'),
           ('device, such as cpu or cuda:0 [cpu]:', ''), ('resolution in pixels [32]:', '20'),
           ('resolution in pixels [32]:', '16')]
said, seen = '', 0
for question, answer in answers:
    while question not in said[seen:]:
        said += os.read(terminal, 4096).decode()
    seen = said.index(question, seen) + len(question)
    os.write(terminal, (answer + '\n').encode())
try:
    while part := os.read(terminal, 4096):
        said += part.decode()
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said)
";

#[test]
fn a_person_at_a_terminal_is_asked_three_questions() {
    let place = Place::new();
    let (program, home) = (env!("CARGO_BIN_EXE_patchwork"), place.program.home());
    let arguments = [Path::new(program), place.folder.path(), home].map(Path::as_os_str);
    let said = python(TERMINAL, &arguments);
    assert!(said.starts_with("0 "), "{said}");
    holds(
        &said,
        &[
            "the name is `No Name`",
            "the resolution is `20`",
            "24 of 24 not square",
        ],
    );
    let written = std::fs::read_to_string(place.path("pipelines/mine.toml")).unwrap();
    holds(&written, &["name = \"mine\"", "resolution = 16"]);
}
