//! `patchwork completions` and `patchwork man`: what the shell and `man` know of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use patchwork_core::durable;

use crate::arguments::Arguments;
use crate::error::CliError;
use crate::output::{line, text};

pub(crate) fn completions(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "patchwork", &mut script);
    text(&script)
}

pub(crate) fn man(folder: &Path) -> Result<(), CliError> {
    durable::create_dir_all(folder)?;
    let mut command = Arguments::command();
    command.build();
    for page in pages(command, "patchwork") {
        let path = folder.join(page.get_filename());
        let mut roff = Vec::new();
        page.render(&mut roff).map_err(CliError::Print)?;
        durable::write(&path, &roff)?;
        line(&path.display().to_string())?;
    }
    Ok(())
}

/// A page for a command and one for each command below it.
fn pages(command: clap::Command, name: &str) -> Vec<clap_mangen::Man> {
    let below: Vec<clap_mangen::Man> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .flat_map(|below| pages(below.clone(), &format!("{name}-{}", below.get_name())))
        .collect();
    // clap keeps names of commands for the whole program's life.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut pages = vec![clap_mangen::Man::new(
        command.name(title).display_name(title),
    )];
    pages.extend(below);
    pages
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Set, the page is written rather than compared: `just settings`.
    const WRITE: &str = "PATCHWORK_WRITE_SETTINGS";

    const HEAD: &str = "# Commands

What `patchwork COMMAND --help` prints, without what the environment adds. Made by `just settings`. Exit codes, and the fields of JSON and
CSV: [command-line.md](command-line.md).
";

    /// A section for a command and one for each command below it.
    fn sections(mut command: clap::Command, name: &str) -> String {
        let below: Vec<clap::Command> = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set() && below.get_name() != "help")
            .cloned()
            .collect();
        let help = command.render_long_help().to_string();
        let mut text = format!("\n## {name}\n\n```text\n");
        for line in help.trim_end().lines() {
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        text.push_str("```\n");
        for command in below {
            let name = format!("{name} {}", command.get_name());
            text.push_str(&sections(command, &name));
        }
        text
    }

    #[test]
    fn the_reference_of_commands_is_current() {
        let mut command = Arguments::command().mut_args(|argument| argument.hide_env_values(true));
        command.build();
        let current = format!("{HEAD}{}", sections(command, "patchwork"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = written
            .lines()
            .zip(current.lines())
            .find(|(was, is)| was != is);
        assert!(
            written == current,
            "`{}` is not what the program prints, first at {differs:?}: `just settings` renews it",
            path.display()
        );
    }
}
