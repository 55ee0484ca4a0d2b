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
    use super::*;

    /// The help of every command, as `patchwork COMMAND --help` prints it, without what the environment adds.
    fn helps(mut command: clap::Command, name: &str) -> String {
        let below: String = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set() && below.get_name() != "help")
            .map(|below| helps(below.clone(), &format!("{name} {}", below.get_name())))
            .collect();
        let help = command.render_long_help();
        format!("$ {name} --help\n{help}\n{below}")
    }

    #[test]
    fn help_texts_are_as_they_were() {
        let mut command = Arguments::command().mut_args(|argument| argument.hide_env_values(true));
        command.build();
        insta::assert_snapshot!(helps(command, "patchwork"));
    }
}
