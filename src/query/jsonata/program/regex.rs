//! The regular expressions of a state machine.

use std::collections::HashMap;
use std::sync::Arc;

use super::profile::Profile;
use crate::limits;
use crate::query::pattern::Pattern;
use crate::query::regex::{Bounds, JAVA_SPACE, Problem, Regex, SPACE};

/// The regular expressions of one state machine: each is compiled once, and together they are bounded.
#[derive(Debug, Default)]
pub struct Regexes {
    /// By pattern, flags, and whether the profile is AWS's.
    known: HashMap<(Box<str>, Box<str>, bool), Arc<Regex>>,
    /// Those of paths.
    of_paths: HashMap<Box<str>, Arc<Pattern>>,
    bytes: usize,
}

impl Regexes {
    /// Roughly the bytes of their automata and programs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A regular expression; the error says what is wrong with it.
    pub(in crate::query::jsonata) fn get(
        &mut self,
        pattern: &str,
        flags: &str,
        profile: Profile,
    ) -> Result<Arc<Regex>, String> {
        let aws = profile != Profile::Language;
        let key = (pattern.into(), flags.into(), aws);
        if let Some(known) = self.known.get(&key) {
            return Ok(Arc::clone(known));
        }
        let space = if aws { JAVA_SPACE } else { SPACE };
        let (left, most) = (self.left(), limits::JSONATA_REGEX_BYTES_MAX);
        let bounds = Bounds {
            automaton_bytes: most.min(left / Pattern::AUTOMATA),
            program_bytes: most.min(left),
            is_short: left / Pattern::AUTOMATA < most,
            depth: limits::JSONATA_REGEX_DEPTH_MAX,
        };
        let compiled = Regex::new(pattern, flags, space, bounds).map_err(|problem| match problem {
            Problem::TooLarge if bounds.is_short => no_room(),
            Problem::TooLarge => "Regular expression is too large".to_owned(),
            Problem::Syntax(why) => why,
        })?;
        self.bytes += compiled.bytes() + pattern.len();
        let compiled = Arc::new(compiled);
        self.known.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// A path's, which is known, or compiled within the remaining room. An error of `compile` says whether it is too
    /// large, and what is wrong.
    pub(in crate::query) fn of_path(
        &mut self,
        pattern: &str,
        bytes_max: usize,
        compile: impl FnOnce(usize) -> Result<Pattern, (bool, String)>,
    ) -> Result<Arc<Pattern>, String> {
        if let Some(known) = self.of_paths.get(pattern) {
            return Ok(Arc::clone(known));
        }
        let left = self.left() / Pattern::AUTOMATA;
        let compiled = compile(bytes_max.min(left)).map_err(|(too_large, why)| {
            let is_short = too_large && left < bytes_max;
            if is_short { no_room() } else { why }
        })?;
        self.bytes += compiled.bytes();
        let compiled = Arc::new(compiled);
        self.of_paths.insert(pattern.into(), Arc::clone(&compiled));
        Ok(compiled)
    }

    /// The bytes that are left for more. Compiling stops when it exceeds them.
    fn left(&self) -> usize {
        limits::PROGRAM_REGEX_BYTES_MAX.saturating_sub(self.bytes)
    }
}

fn no_room() -> String {
    let most = limits::PROGRAM_REGEX_BYTES_MAX >> 20;
    format!("The regular expressions of the state machine take more than {most} MiB together")
}
