//! Files of a project, and places in them.

use std::fs;
use std::path::Path;

use expressway::asl;
use expressway::json::{source, yaml};
use expressway::os;
use serde_json::Value as Json;

use crate::cli::files::unreadable;
use crate::cli::stop::{Place, Problem, Stop};

/// Bytes that a file of a project may have.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes, about, of what variables and functions of a project stand for.
pub(super) const EXPANDED_BYTES_MAX: usize = 64 << 20;

/// The content of a JSON or YAML file; short forms of template functions become long ones.
pub(super) fn data(path: &Path) -> Result<Json, Stop> {
    let text = text(path)?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| {
            // The error's own text ends with its line and column.
            let wrong = error.to_string();
            let wrong = wrong.rsplit_once(" at line ").map_or(&*wrong, |(what, _)| what);
            let before: usize =
                text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            Stop::at(Place::in_text(path, &text, before + error.column().saturating_sub(1)), wrong)
        });
    }
    let source = yaml::read_template(&text)
        .map_err(|error| Stop::at(Place::in_text(path, &text, error.span.start as usize), error))?;
    serde_json::from_str(&yaml::to_json(&source.root))
        .map_err(|error| Stop::failed(format!("{}: {error}", path.display())))
}

/// The places of members of a JSON or YAML file.
pub(super) struct Places<'p> {
    path: &'p Path,
    tree: Option<source::Source>,
    text: String,
}

impl<'p> Places<'p> {
    pub(super) fn of(path: &'p Path) -> Places<'p> {
        // The file was read before. If it was deleted since, places in it have no lines.
        let text = text(path).unwrap_or_default();
        let tree = if text.trim_start().starts_with('{') {
            source::read(text.as_bytes(), text.len()).ok()
        } else {
            yaml::read_template(&text).ok()
        };
        Places { path, tree, text }
    }

    pub(super) fn place(&self, names: &str) -> Place {
        self.shown(names, self.begins(names))
    }

    /// The place of a text that stands somewhere below these names.
    pub(super) fn place_of(&self, names: &str, wanted: &str) -> Place {
        let from = self.begins(names);
        let at = from.and_then(|from| Some(from + self.text.get(from..)?.find(wanted)?));
        self.shown(names, at.or(from))
    }

    /// The byte at which the value of these names, or the nearest around it, begins.
    fn begins(&self, names: &str) -> Option<usize> {
        let tree = self.tree.as_ref()?;
        Some(asl::span_at(&tree.root, &format!("/{names}")).start as usize)
    }

    /// Names that stand twice in one object, of which the last one counts.
    pub(super) fn duplicates(&self) -> Vec<Problem> {
        let found = self.tree.iter().flat_map(|tree| &tree.duplicates);
        let problem = |name: &source::Sourced<Box<str>>| Problem {
            place: Place::in_text(self.path, &self.text, name.span.start as usize),
            what: format!("`{}` stands twice in one object; the last one counts", name.value),
        };
        found.map(problem).collect()
    }

    fn shown(&self, names: &str, at: Option<usize>) -> Place {
        Place {
            file: self.path.display().to_string(),
            at: at.map(|at| asl::diagnostic::line_column(&self.text, at)),
            names: names.to_owned(),
        }
    }
}

pub(super) fn text(path: &Path) -> Result<String, Stop> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if about.len() > FILE_BYTES_MAX {
        return Err(Stop::failed(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    os::read_text(path).map_err(|error| unreadable(path, &error))
}
