//! Choice rules in words.

use crate::asl::model::{Comparison, Operand, Operator, OperatorClass, OperatorOrder, Setting, Test};

/// A rule in readable form, of at most about `chars_max` characters: `$.order.qty > 100`.
pub(super) fn rule(test: &Test, chars_max: usize) -> String {
    let mut out = String::new();
    say(test, false, chars_max, &mut out);
    shorten(&out, chars_max)
}

/// The first characters of a text, with an ellipsis if it is truncated.
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A long path by its last steps, which distinguish it from others.
fn tail(path: &str) -> String {
    let chars = path.chars().count();
    let Some((from, _)) =
        path.char_indices().nth(chars.saturating_sub(PATH_CHARS_MAX)).filter(|&(at, _)| at > 0)
    else {
        return path.to_owned();
    };
    let step = path[from..].find(['.', '[']).map_or(from, |at| from + at);
    format!("…{}", &path[step..])
}

const PATH_CHARS_MAX: usize = 36;

/// The depth is bounded by the reader of definitions; parts that will not be shown are not visited.
fn say(test: &Test, inner: bool, chars_max: usize, out: &mut String) {
    if out.chars().count() > chars_max {
        return;
    }
    match test {
        Test::And(tests) => join(tests, " and ", inner, chars_max, out),
        Test::Or(tests) => join(tests, " or ", inner, chars_max, out),
        Test::Not(test) => match &**test {
            Test::Comparison(comparison) => compare(comparison, true, out),
            test => {
                out.push_str("not ");
                say(test, true, chars_max, out);
            }
        },
        Test::Comparison(comparison) => compare(comparison, false, out),
        Test::Condition(Setting::Literal(value)) => {
            out.push_str(if value.value { "always" } else { "never" })
        }
        Test::Condition(Setting::Path(text) | Setting::Expression(text)) => out.push_str(&text.value),
    }
}

fn join(tests: &[Test], word: &str, inner: bool, chars_max: usize, out: &mut String) {
    let brackets = inner && tests.len() > 1;
    out.push_str(if brackets { "(" } else { "" });
    for (i, test) in tests.iter().enumerate() {
        out.push_str(if i > 0 { word } else { "" });
        say(test, true, chars_max, out);
    }
    out.push_str(if brackets { ")" } else { "" });
}

fn compare(comparison: &Comparison, negated: bool, out: &mut String) {
    out.push_str(&tail(&comparison.variable.value));
    let operand = match &comparison.operand.value {
        Operand::String(text) if comparison.operator.class() == OperatorClass::Timestamp => text.clone(),
        Operand::String(text) => format!("\"{text}\""),
        Operand::Number(text) => text.clone(),
        Operand::Path(text) => tail(text),
        Operand::Bool(value) => value.to_string(),
    };
    match comparison.operator.class() {
        OperatorClass::Is => {
            let is = negated == matches!(comparison.operand.value, Operand::Bool(false));
            out.push_str(if is { " is " } else { " is not " });
            out.push_str(match comparison.operator {
                Operator::IsNull => "null",
                Operator::IsNumeric => "a number",
                Operator::IsString => "a string",
                Operator::IsBoolean => "a boolean",
                Operator::IsTimestamp => "a timestamp",
                _ => "present",
            });
        }
        OperatorClass::Matches => {
            out.push_str(if negated { " does not match " } else { " matches " });
            out.push_str(&operand);
        }
        _ => {
            out.push_str(match (comparison.operator.order(), negated) {
                (OperatorOrder::Equal, false) => " = ",
                (OperatorOrder::Equal, true) => " ≠ ",
                (OperatorOrder::Less, false) => " < ",
                (OperatorOrder::LessEqual, false) => " ≤ ",
                (OperatorOrder::Greater, false) => " > ",
                (OperatorOrder::GreaterEqual, false) => " ≥ ",
                // A value of another type is neither less nor greater nor equal, so these are not each other's
                // opposite.
                (OperatorOrder::Less, true) => " not < ",
                (OperatorOrder::LessEqual, true) => " not ≤ ",
                (OperatorOrder::Greater, true) => " not > ",
                (OperatorOrder::GreaterEqual, true) => " not ≥ ",
            });
            out.push_str(&operand);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_shown_by_their_last_steps() {
        assert_eq!(tail("$.order.qty"), "$.order.qty");
        let long = "$.FlowConfig.DestinationFlowConfigList[0].Properties.FileType";
        assert_eq!(tail(long), "…[0].Properties.FileType");
        assert_eq!(tail(&format!("$.{}", "x".repeat(50))), format!("…{}", "x".repeat(36)));
    }
}
