//! Where in the definition the reader is, in AWS's form, formatted only on demand.

use std::fmt;

/// A place in a definition: a path of fields and indices back to the root.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// The machine itself.
    pub(super) const ROOT: Place<'static> = Place { parent: None, step: Step::Root };

    /// A field of the object at this place.
    pub(super) fn field(&'a self, name: &'a str) -> Place<'a> {
        Place { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of the array at this place.
    pub(super) fn index(&'a self, index: usize) -> Place<'a> {
        Place { parent: Some(self), step: Step::Index(index) }
    }

    /// The last field's name.
    pub(super) fn name(&self) -> &'a str {
        match (self.step, self.parent) {
            (Step::Field(name), _) => name,
            (Step::Index(_), Some(parent)) => parent.name(),
            _ => "",
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        let mut place = Some(self);
        while let Some(at) = place {
            steps.push(at.step);
            place = at.parent;
        }
        if steps.len() == 1 {
            return f.write_str("/");
        }
        steps.iter().rev().try_for_each(|step| match step {
            Step::Root => Ok(()),
            Step::Field(name) => write!(f, "/{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}
