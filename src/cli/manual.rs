//! `completions` and `man`: generated from the description of the command line.

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;

use super::{Stop, Went, files, print};

#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(super) struct CompletionsArguments {
    /// The shell that reads the script
    #[arg(value_enum)]
    shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  eval \"$(expressway completions bash)\"
  expressway completions zsh > \"${fpath[1]}/_expressway\"
  expressway completions fish > ~/.config/fish/completions/expressway.fish";

pub(super) fn completions(
    arguments: &CompletionsArguments,
    mut command: clap::Command,
) -> Result<Went, Stop> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "expressway", &mut script);
    print(&script)?;
    Ok(Went::Well)
}

#[derive(Debug, clap::Args)]
#[command(after_help = MAN_HELP)]
pub(super) struct ManArguments {
    /// Write expressway.1 and a page for each subcommand to this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

const MAN_HELP: &str = "\
Examples:
  expressway man | man -l -
  expressway man --out ~/.local/share/man/man1";

pub(super) fn manual(arguments: &ManArguments, command: clap::Command) -> Result<Went, Stop> {
    let command = command.name("expressway");
    if let Some(folder) = &arguments.out {
        let failed = |error: io::Error| {
            let why = files::why_unwritable(folder, &error);
            Stop::failed(format!("cannot write manual pages to {}: {why}", folder.display()))
        };
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command, folder))
            .map_err(failed)?;
        return Ok(Went::Well);
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| Stop::failed(format!("cannot render the manual page: {error}")))?;
    print(&page)?;
    Ok(Went::Well)
}
