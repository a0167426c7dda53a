//! Words in files that do not belong there: what serde says of them, and what was probably meant.

use crate::asl::did_you_mean;

/// A word that serde does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown<'m> {
    /// The word.
    pub word: &'m str,
    /// Whether it is the name of a field; else it is one of several values.
    pub is_field: bool,
    /// The words that may stand there.
    pub known: Vec<&'m str>,
}

/// The word that a message of serde is about, if it is unknown.
pub fn unknown(message: &str) -> Option<Unknown<'_>> {
    let field = message.strip_prefix("unknown field `");
    let (word, rest) = field.or_else(|| message.strip_prefix("unknown variant `"))?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some(Unknown { word, is_field: field.is_some(), known })
}

impl Unknown<'_> {
    /// What is wrong, and what was probably meant, or else all that may stand there.
    pub fn advice(&self) -> String {
        let Unknown { word, is_field, known } = self;
        let what = if *is_field { "field" } else { "value" };
        let meant = did_you_mean(word, known.iter().copied());
        let meant = meant.unwrap_or_else(|| match known.as_slice() {
            [] => "it has no fields".to_owned(),
            [one] => format!("there is only `{one}`"),
            several => format!("there are {}", several.join(", ")),
        });
        format!("there is no {what} `{word}`: {meant}")
    }
}

/// A message of serde, with advice if it is about an unknown word.
pub fn explained(message: &str) -> String {
    let Some(unknown) = unknown(message) else { return without_types(message) };
    match message.rfind(" at line ") {
        // As JSON's messages end.
        Some(at) => format!("{}: {}", &message[at + 1..], unknown.advice()),
        None => unknown.advice(),
    }
}

/// A message of serde without the names of Rust's types.
fn without_types(message: &str) -> String {
    match message.split_once("expected struct ") {
        Some((before, behind)) => {
            let rest = behind.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            format!("{before}expected an object{rest}")
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_get_a_suggestion_or_all_that_is_known() {
        for (message, told) in [
            (
                "unknown field `streem`, expected `stream` or `url`",
                "there is no field `streem`: did you mean `stream`?",
            ),
            (
                "unknown variant `x`, expected one of `a1`, `b2`, `c3` at line 1 column 2",
                "at line 1 column 2: there is no value `x`: there are a1, b2, c3",
            ),
            ("unknown field `x`, there are no fields", "there is no field `x`: it has no fields"),
            (
                "unknown field `Usrname`, expected `Username` at line 3 column 9",
                "at line 3 column 9: there is no field `Usrname`: did you mean `Username`?",
            ),
            ("missing field `a`", "missing field `a`"),
            (
                "invalid type: integer `1`, expected struct File at line 1 column 5",
                "invalid type: integer `1`, expected an object at line 1 column 5",
            ),
        ] {
            assert_eq!(explained(message), told);
        }
    }
}
