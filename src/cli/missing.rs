//! Subcommands that this build does not have, and the crate features that enable them.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use expressway::asl::did_you_mean;

use super::features::left_out;

/// A subcommand that may be left out.
struct Optional {
    name: &'static str,
    feature: &'static str,
    is_built: bool,
}

const fn optional(name: &'static str, feature: &'static str, is_built: bool) -> Optional {
    Optional { name, feature, is_built }
}

const OPTIONAL: [Optional; 11] = [
    optional("serve", "cli-serve", cfg!(feature = "cli-serve")),
    optional("studio", "cli-studio", cfg!(feature = "cli-studio")),
    optional("env", "cli-serve", cfg!(feature = "cli-serve")),
    optional("hosts", "cli-serve", cfg!(feature = "cli-serve")),
    optional("executions", "cli-serve", cfg!(feature = "cli-serve")),
    optional("cluster", "cli-cluster", cfg!(feature = "cli-cluster")),
    optional("journal", "cli-journal", cfg!(feature = "cli-journal")),
    optional("pipe", "cli-pipe", cfg!(feature = "cli-pipe")),
    optional("redrive", "cli-pipe", cfg!(feature = "cli-pipe")),
    optional("top", "cli-top", cfg!(feature = "cli-top")),
    optional("soak", "cli-soak", cfg!(feature = "cli-soak")),
];

/// A paragraph of the help that names what is left out; empty when everything is included.
pub(super) fn list() -> String {
    let missing: Vec<&str> = OPTIONAL.iter().filter(|it| !it.is_built).map(|it| it.name).collect();
    if missing.is_empty() {
        String::new()
    } else {
        format!("Not in this build: {}. Build with `--features full` to have all.\n\n", missing.join(", "))
    }
}

/// The message for a subcommand that exists, but not in this build, or that is misspelt.
pub(super) fn explain(error: &clap::Error, command: clap::Command) -> Option<String> {
    if error.kind() == ErrorKind::UnknownArgument {
        return misplaced(error, &command);
    }
    if error.kind() == ErrorKind::ValueValidation {
        return no_number(error);
    }
    #[cfg(feature = "cli-cluster")]
    if error.kind() == ErrorKind::ArgumentConflict {
        return unwanted_variable(error);
    }
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    if let Some(missing) = OPTIONAL.iter().find(|it| !it.is_built && it.name == asked) {
        return Some(left_out(&format!("`expressway {asked}`"), missing.feature));
    }
    let mut command = command;
    // Of a group of subcommands, such as `journal`, its own.
    let group = std::env::args().nth(1).filter(|group| group != asked);
    if let Some(group) = group.and_then(|group| command.find_subcommand(group).cloned()) {
        command = group;
    }
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let advice = did_you_mean(asked, names.iter().copied());
    let advice = advice.unwrap_or_else(|| match names[..] {
        [one] => format!("there is only `{one}`"),
        _ => format!("there are {}", names.join(", ")),
    });
    Some(format!("there is no subcommand `{asked}`: {advice}"))
}

/// The message for a value that is no number, where Rust's own words for that would be shown.
fn no_number(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    let expected = if source.is::<std::num::ParseFloatError>() {
        "a number, such as 0.5"
    } else if source.is::<std::num::ParseIntError>() || source.to_string().contains("invalid digit") {
        "a whole number"
    } else {
        return None;
    };
    let shown = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (option, value) = (shown(ContextKind::InvalidArg), shown(ContextKind::InvalidValue));
    let value =
        if value.is_empty() { "there is no value".to_owned() } else { format!("'{value}' is not one") };
    Some(format!("{option} takes {expected}: {value}"))
}

/// The message for an option that does not go with one that the environment sets.
#[cfg(feature = "cli-cluster")]
fn unwanted_variable(error: &clap::Error) -> Option<String> {
    use super::cluster::VARIABLE;
    let named = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(name)) => vec![name.clone()],
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => Vec::new(),
    };
    let [given, other] = [ContextKind::InvalidArg, ContextKind::PriorArg].map(named);
    let (journal, others): (Vec<String>, Vec<String>) =
        given.into_iter().chain(other).partition(|name| name.starts_with("--journal"));
    let is_set = std::env::var_os(VARIABLE).is_some() && !journal.is_empty();
    let is_option = std::env::args().any(|it| it == "--journal" || it.starts_with("--journal="));
    (is_set && !is_option).then(|| {
        let others = others.join(", ");
        format!("{others} does not go with a journal, which the environment variable {VARIABLE} sets; unset it, or leave {others} out")
    })
}

/// The message for a second argument of a subcommand that takes one file: what it was meant as.
fn misplaced(error: &clap::Error, command: &clap::Command) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let given: Vec<String> = std::env::args().collect();
    // clap suggests what has only a few letters in common.
    let is_near = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(near)) => did_you_mean(argument, [&**near]).is_some(),
        _ => false,
    };
    if argument.starts_with('-') && !is_near {
        let group = given.get(1..3).filter(|words| words.iter().all(|word| !word.starts_with('-')));
        let is_group =
            |words: &&[String]| command.find_subcommand(&words[0]).is_some_and(|it| it.has_subcommands());
        let command = match (group.filter(is_group), given.get(1)) {
            (Some(words), _) => words.join(" "),
            (None, Some(command)) if !command.starts_with('-') => command.clone(),
            _ => return None,
        };
        let advice = match argument.as_str() {
            "--definition" => "a definition stands by itself, such as orders.asl.json".to_owned(),
            _ => format!("`expressway {command} --help` lists all"),
        };
        return Some(format!("`expressway {command}` has no option `{argument}`; {advice}"));
    }
    if argument.starts_with('-') || given.get(1).is_none_or(|command| command != "run") {
        return None;
    }
    let at = given.iter().position(|it| it == argument)?;
    Some(match given[at - 1].as_str() {
        "--trace" => format!("--trace takes {argument} with a sign: --trace={argument}"),
        _ => format!("`run` takes one definition, so what is {argument}? An input is given by --input"),
    })
}
