//! What there is in a project, and what cannot be read of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use expressway::asl::{self, MachineType};

use crate::cli::stop::{Problem, Stop};

/// What there is in a project.
#[derive(Debug, Default)]
pub(in crate::cli) struct Project {
    pub(in crate::cli) machines: Vec<FoundMachine>,
    /// What cannot be read of it.
    pub(in crate::cli) unread: Vec<Unread>,
    /// What the conditions of a template leave out: state machines and stacks, by their logical ids.
    pub(super) absent: Vec<(String, Problem)>,
    /// The templates that were read, those that others nest among them.
    pub(super) templates: Vec<PathBuf>,
    /// What is odd about it.
    pub(super) notes: Vec<Problem>,
    /// How many modules of Terraform were read.
    #[cfg(feature = "cli-terraform")]
    pub(super) modules: usize,
}

/// A part of a project that cannot be read.
#[derive(Debug)]
pub(in crate::cli) struct Unread {
    pub(super) part: Part,
    /// What is wrong, and what to try.
    pub(super) stop: Stop,
}

/// What a part of a project is.
#[derive(Debug)]
pub(super) enum Part {
    /// A state machine, by its logical id.
    Machine(String),
    /// A module or a nested stack: the logical ids of its state machines begin with its name.
    Module(String),
    /// A file that may have state machines, or what they refer to.
    File,
}

/// Says what cannot be read, and why.
impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Machine(name) => write!(out, "the state machine {name} cannot be read: {}", self.stop),
            Part::Module(name) => write!(out, "the module {name} cannot be read: {}", self.stop),
            Part::File => self.stop.fmt(out),
        }
    }
}

impl Unread {
    /// Whether a state machine of this name is, or may be, in this part.
    pub(super) fn has(&self, machine: &str) -> bool {
        match &self.part {
            Part::Machine(name) => name == machine,
            Part::Module(name) => is_in(name, machine),
            Part::File => false,
        }
    }

    /// The logical id, if it is a state machine.
    pub(in crate::cli) fn machine(&self) -> Option<&str> {
        match &self.part {
            Part::Machine(name) => Some(name),
            Part::Module(_) | Part::File => None,
        }
    }

    pub(in crate::cli) fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Project {
    /// What is odd about it.
    pub(in crate::cli) fn notes(&self) -> impl Iterator<Item = &Problem> {
        self.notes.iter()
    }

    /// Lines about what a deployment would leave out.
    pub(in crate::cli) fn left_out(&self) -> impl Iterator<Item = String> {
        self.absent.iter().map(|(id, why)| format!("note: {id}: {why}"))
    }
}

impl Project {
    pub(super) fn add(&mut self, part: Part, found: Result<FoundMachine, Stop>) {
        match found {
            Ok(machine) => self.machines.push(machine),
            Err(stop) => self.failed(part, stop),
        }
    }

    pub(super) fn failed(&mut self, part: Part, stop: Stop) {
        self.unread.push(Unread { part, stop });
    }

    pub(super) fn extend(&mut self, other: Project) {
        self.machines.extend(other.machines);
        self.unread.extend(other.unread);
        self.absent.extend(other.absent);
        self.templates.extend(other.templates);
        self.notes.extend(other.notes);
    }

    /// Removes state machines that have the same name, because the name does not identify one of them.
    pub(super) fn without_twins(mut self) -> Project {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.names_mut() {
            *count.entry(name.clone()).or_default() += 1;
        }
        let (twins, alone) = self.machines.into_iter().partition(|it| count[&it.name] > 1);
        self.machines = alone;
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for FoundMachine { name, place, .. } in twins {
            places.entry(name).or_default().push(place);
        }
        for (name, mut places) in places {
            places.dedup();
            let stop = Stop::failed(format!("there are several of this name: {}", places.join(", ")));
            self.unread.push(Unread { part: Part::Machine(name), stop });
        }
        self
    }

    /// The logical ids of all state machines, also of those that cannot be read.
    pub(super) fn names_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let unread = self.unread.iter_mut().filter_map(|unread| match &mut unread.part {
            Part::Machine(name) | Part::Module(name) => Some(name),
            Part::File => None,
        });
        self.machines.iter_mut().map(|machine| &mut machine.name).chain(unread)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.unread.is_empty() && self.absent.is_empty()
    }

    /// The selected one, or the only one; and what cannot be read beside it.
    pub(in crate::cli) fn choose(mut self, name: Option<&str>) -> Result<(FoundMachine, Vec<Unread>), Stop> {
        let machines = self.machines.iter().map(|machine| &*machine.name);
        let names: Vec<&str> = machines.chain(self.unread.iter().filter_map(Unread::machine)).collect();
        let list = names.join(", ");
        let at = match name {
            Some(name) => {
                if let Some(unread) = self.unread.iter().find(|unread| unread.has(name)) {
                    return Err(Stop::failed(unread.to_string()));
                }
                if let Some((_, why)) = self.absent.iter().find(|(id, _)| is_in(id, name)) {
                    return Err(Stop::at(why.place.clone(), &why.what));
                }
                let advice = asl::did_you_mean(name, names.iter().copied());
                let advice = advice.unwrap_or_else(|| match names[..] {
                    [] => "it has none that can be read".to_owned(),
                    _ => format!("there are {list}"),
                });
                // Where only one is made of a resource, its key may be left out.
                let only = || {
                    let is_of = |(_, machine): &(usize, &FoundMachine)| without_keys(&machine.name) == name;
                    let mut found = self.machines.iter().enumerate().filter(is_of).map(|(at, _)| at);
                    found.next().filter(|_| found.next().is_none())
                };
                let exact = self.machines.iter().position(|machine| machine.name == name);
                exact.or_else(only).ok_or_else(|| {
                    let text = format!("there is no state machine {name} in the project: {advice}");
                    Stop::failed(self.with_unread(text))
                })?
            }
            None => match (names.len(), self.machines.len()) {
                (1, 1) => 0,
                (0, _) if self.unread.is_empty() => {
                    return Err(match self.absent.first() {
                        Some((_, why)) => Stop::at(why.place.clone(), &why.what),
                        None => Stop::failed("there is no state machine in the template"),
                    });
                }
                (0 | 1, _) => return Err(Stop::failed(listed(&self.unread))),
                (count, _) => {
                    let text = format!("there are {count} state machines: say which with --machine ({list})");
                    return Err(Stop::failed(self.with_unread(text)));
                }
            },
        };
        Ok((self.machines.swap_remove(at), self.unread))
    }

    /// A text about the machines of the project, and what cannot be read of it.
    fn with_unread(&self, text: String) -> String {
        if self.unread.is_empty() { text } else { format!("{text}\n{}", listed(&self.unread)) }
    }
}

/// An address of Terraform without the keys of `for_each` and the numbers of `count`.
pub(super) fn without_keys(address: &str) -> String {
    let (mut out, mut rest) = (String::new(), address);
    while let Some((before, inside)) = rest.split_once('[') {
        let Some((_, behind)) = inside.split_once(']') else { break };
        out.push_str(before);
        rest = behind;
    }
    out + rest
}

/// Whether a state machine is this one, or in this module.
pub(super) fn is_in(id: &str, machine: &str) -> bool {
    machine.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// One a line.
pub(super) fn listed(unread: &[Unread]) -> String {
    unread.iter().map(Unread::to_string).collect::<Vec<_>>().join("\n")
}

/// A state machine of a project.
#[derive(Debug)]
pub(in crate::cli) struct FoundMachine {
    /// Its logical id.
    pub(in crate::cli) name: String,
    pub(in crate::cli) machine_type: Option<MachineType>,
    /// Its place, for people.
    pub(in crate::cli) place: String,
    /// The definition, as JSON or YAML.
    pub(in crate::cli) definition: String,
    pub(in crate::cli) is_yaml: bool,
    /// What could not be resolved.
    pub(in crate::cli) unresolved: Vec<Problem>,
}

/// `STANDARD` or `EXPRESS`.
pub(super) fn machine_type(text: Option<&str>) -> Option<MachineType> {
    match text?.to_ascii_uppercase().as_str() {
        "EXPRESS" => Some(MachineType::Express),
        "STANDARD" => Some(MachineType::Standard),
        _ => None,
    }
}
