//! `--definitions`: the state machines of folders, of files and of projects.

use expressway::os;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use expressway::server::{Definitions, Done, Place, put};
use expressway::service::Service;
use expressway::task::aws::Integrations;

use super::arguments::Arguments;
use crate::cli::definition::{self, Found, Refuses, Written};
use crate::cli::project::{Destinations, machine_name};
use crate::cli::reading::Type;
use crate::cli::report::{self, NotRunHere};
use crate::cli::{Level, Reading, Stop, say, say_at};

/// The name of the error for definitions that are refused.
const INVALID: &str = "InvalidDefinition";

/// How often files are looked at for changes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Creates and updates the state machines that `--definitions` names.
pub(super) struct Source<'s> {
    pub(super) arguments: &'s Arguments,
    pub(super) place: &'s Place,
    pub(super) service: &'s Service,
    pub(super) refuses: Refuses<'s>,
}

impl Source<'_> {
    /// Creates the state machines of a project, and prints where their tasks will go.
    pub(super) async fn deploy(&self, path: &Path, integrations: Option<Integrations>) -> Result<(), Stop> {
        let mocks = self.arguments.mocks()?;
        let destinations = Destinations { integrations, mocks };
        let (definitions, unread) = definition::all(path, &self.arguments.project, self.reading())?;
        for part in unread {
            say_at(Level::Warn, &format!("expressway: {part}"));
        }
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for written in definitions {
            written.tell();
            let found = written.check(self.refuses);
            let name = &*written.machine.as_deref().map_or("workflow".to_owned(), machine_name);
            if let Some(other) = places.insert(name.to_owned(), written.place.clone()) {
                let place = &written.place;
                let text = format!("expressway: {name} is that of {other}: {place} is not created");
                say_at(Level::Warn, &text);
                places.insert(name.to_owned(), other);
                continue;
            }
            let machine_type = Some(found.machine_type);
            let what = match put(self.service, self.place, name, machine_type, &written.json()?).await {
                Done::Refused(reason) => {
                    let shown = match excerpts(&reason, &found, &written.text) {
                        Some(excerpts) => format!(":\n{excerpts}"),
                        None => format!(": {reason}"),
                    };
                    say_at(Level::Warn, &format!("expressway: {name} is refused{shown}"));
                    continue;
                }
                Done::Updated => "updated",
                _ => "created",
            };
            say(&format!("expressway: {name}: {what} from {}", written.place));
            for line in found.program.iter().flat_map(|program| destinations.of(name, program)) {
                say(&format!("expressway:   {line}"));
            }
        }
        Ok(())
    }

    /// Creates the state machines of a folder, or of a file with a definition.
    pub(super) async fn follow(&self, path: &Path) -> Result<Definitions, Stop> {
        let shown = path.display();
        if !path.exists() {
            return Err(Stop::failed(format!("--definitions {shown}: there is no such file or folder")));
        }
        if let Some(name) = &self.arguments.project.machine {
            return Err(Stop::failed(format!(
                "--machine {name}: {shown} is no project; name the one file of it: --definitions FILE"
            )));
        }
        let machine_type = self.arguments.definitions_type.map(Type::machine_type);
        let mut definitions = Definitions::new(path, self.place.clone(), machine_type);
        let given = self.arguments.project.read()?;
        if !given.is_empty() {
            definitions = definitions.rewritten(move |text| given.apply(&text, &BTreeMap::new()).0);
        }
        if !self.look(&mut definitions).await? {
            say(&format!(
                "expressway: {shown} has neither *.asl.json or *.asl.yaml yet nor a project; files that are added are read"
            ));
        }
        Ok(definitions)
    }

    /// Whether anything was new, changed or removed.
    async fn look(&self, definitions: &mut Definitions) -> Result<bool, Stop> {
        let reports = definitions.look(self.service).await;
        let reports = reports.map_err(|error| {
            let folder = definitions.folder().display();
            Stop::failed(format!("cannot read the folder of definitions {folder}: {}", os::words(&error)))
        })?;
        for report in &reports {
            // Of a file that was not taken for a definition nothing is shown: it may be a secret.
            let is_shown = match &report.done {
                Done::Refused(reason) => reason.starts_with(INVALID),
                done => *done != Done::Gone,
            };
            let written =
                is_shown.then(|| definition::one(&report.file, &self.arguments.project, self.reading()));
            let written = written.and_then(Result::ok);
            written.iter().for_each(Written::tell);
            let excerpts = match (&report.done, &written) {
                (Done::Refused(reason), Some(written)) => {
                    excerpts(reason, &written.check(self.refuses), &written.text)
                }
                _ => None,
            };
            match excerpts {
                Some(excerpts) => {
                    let (machine, file) = (&report.machine, report.file.display());
                    let text = format!("{machine}: {file} is refused, and nothing is changed:\n{excerpts}");
                    say_at(Level::Warn, &format!("expressway: {text}"));
                }
                None => say(&format!("expressway: {report}")),
            }
        }
        Ok(!reports.is_empty())
    }

    /// Follows files for ever. A folder that cannot be read for a while is reported once.
    pub(super) async fn keep_looking(&self, followed: Vec<Definitions>) {
        let mut followed: Vec<(Definitions, bool)> = followed.into_iter().map(|it| (it, false)).collect();
        if followed.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            for (definitions, is_said) in &mut followed {
                match self.look(definitions).await {
                    Ok(_) => *is_said = false,
                    Err(_) if *is_said => {}
                    Err(stop) => {
                        say_at(Level::Warn, &format!("expressway: {stop}"));
                        *is_said = true;
                    }
                }
            }
        }
    }

    fn reading(&self) -> Reading {
        Reading { machine_type: self.arguments.definitions_type }
    }
}

/// The problems of a refused definition, as `validate` prints them.
fn excerpts(reason: &str, found: &Found, text: &[u8]) -> Option<String> {
    if !reason.starts_with(INVALID) || found.errors() + found.warnings() == 0 {
        return None;
    }
    let shown = report::text(found, text, report::Look::stderr(), NotRunHere::Error);
    let shown = shown.trim_end();
    if found.errors() > 0 {
        return Some(shown.to_owned());
    }
    // The service refuses what `validate` only warns of, and whose last line says that the definition is valid.
    let (warnings, _valid) = shown.rsplit_once('\n')?;
    Some(format!("{}\n{reason}", warnings.trim_end()))
}
