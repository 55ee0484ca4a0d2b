//! Tables as people see them: on a terminal of some width, and in a pipe.

use crate::earlier;
use crate::program::{Program, text};
use crate::readers::python;

/// Runs a program on a terminal of so many columns, and prints what it shows.
const ON_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 0, shown
sys.stdout.write(shown.decode())
";

/// What a command shows on a terminal of that width.
fn shown(program: &Program, columns: &str, arguments: &[&str]) -> String {
    let home = ["--home", text(program.home())];
    let words = [
        &[columns, env!("CARGO_BIN_EXE_patchwork")],
        arguments,
        &home,
    ]
    .concat();
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    python(ON_TERMINAL, &words)
}

fn widest(shown: &str) -> usize {
    let widths = shown.lines().map(|line| line.trim_end().chars().count());
    widths.max().unwrap_or_default()
}

fn rules(shown: &str) -> usize {
    let lines = shown.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && line.chars().all(|letter| letter == '─'))
        .count()
}

#[test]
fn tables_are_light_and_fit_what_shows_them() {
    let program = earlier::home();
    let runs = ["runs"];
    for columns in ["60", "80", "100"] {
        let table = shown(&program, columns, &runs);
        assert!(
            widest(&table) <= columns.parse().unwrap(),
            "{columns}:\n{table}"
        );
        // One rule, under the header; no line between rows.
        assert_eq!(rules(&table), 1, "{table}");
        // Names stay whole where there is room for them.
        assert!(columns == "60" || table.contains("small-1"), "{table}");
    }
    // Folders of artifacts are longer than a terminal is wide: they are wrapped, and nothing is lost.
    let show = shown(&program, "90", &["show", "small-1"]);
    let stages = show
        .lines()
        .skip_while(|line| !line.contains("processor time"));
    let stages: Vec<&str> = stages.take_while(|line| !line.contains(": ")).collect();
    assert!(
        stages.len() > 6 && widest(&stages.join("\n")) <= 90,
        "{show}"
    );
    let wide = "SELECT printf('%.*c', 300, 'x') AS wide, 1 AS narrow";
    let piped = program.succeed(&["query", wide]);
    assert!(widest(&piped) <= 120, "{piped}");
    assert_eq!(piped.matches('x').count(), 300, "{piped}");
}

#[test]
fn times_are_relative_on_a_terminal_and_absolute_elsewhere() {
    let program = Program::new();
    program.succeed(&["run", "pipelines/smoke.toml", "--until", "prepare"]);
    let runs = shown(&program, "100", &["runs"]);
    let row = runs.lines().find(|line| line.contains("smoke-1")).unwrap();
    assert!(row.contains(" s ago") || row.contains(" now"), "{runs}");
    let status = shown(&program, "100", &["status"]);
    assert!(
        status.contains(" s ago") || status.contains(" now"),
        "{status}"
    );
    let piped = program.succeed(&["runs"]);
    assert!(piped.contains(" UTC") && !piped.contains(" ago"), "{piped}");
    let started = program.rows(&["runs"])[0]["started"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(started.ends_with('Z') && started.contains('T'), "{started}");
    let csv = program.succeed(&["runs", "--format", "csv"]);
    assert!(csv.contains(&started), "{csv}");
}
