//! A home folder on a file system that several machines share: one machine at a time uses the registry.

use std::fs;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::program::Program;

const PREPARE: &[&str] = &["run", "pipelines/smoke.toml", "--until", "prepare"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_machine_at_work_keeps_others_out_and_a_silent_one_does_not() {
    let program = Program::new();
    program.succeed(PREPARE);
    let folder = program.home().join("registry.db.machines");
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        0,
        "a run ends with its mark"
    );

    // As another machine's process does that is at work, if more often.
    let mark = folder.join("node7.local.4711.0-5ba1c7a0-0000");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for beat in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                fs::write(&mark, beat.to_string()).unwrap();
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        while !mark.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let refused = [&["runs"][..], PREPARE].map(|command| program.run(command));
        is_over.store(true, Ordering::Relaxed);
        for output in refused {
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("is in use on `node7.local`"), "{said}");
        }
    });

    // It was killed just now.
    assert!(mark.exists());
    let output = program.run(&["runs"]);
    assert!(output.status.success(), "{}", said(&output));
    let waited = "waiting up to 35 s: `node7.local` may have the registry";
    assert!(said(&output).contains(waited), "{}", said(&output));
    assert!(!mark.exists());
    program.succeed(PREPARE);
}
