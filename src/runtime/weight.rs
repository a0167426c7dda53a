//! Which programs are light: with any data, each of their states takes microseconds, so that a turn which ends between
//! two states ends in time. All others may be suspended inside of an expression, which takes a stack.

use crate::limits;
use crate::program::{Choice, ChoiceStep, Operator, Program, Test, Text};

/// Whether no state does more than follow paths of names and compare.
pub(super) fn is_light(program: &Program) -> bool {
    let parts: usize = program.templates.iter().map(|(_, template)| template.parts()).sum();
    let tests: usize = program.choices.iter().map(|(_, choice)| choice.tests.len()).sum();
    parts <= limits::LIGHT_PARTS_MAX
        && tests <= limits::LIGHT_PARTS_MAX
        && program.paths.iter().all(|(_, path)| path.is_direct())
        && program.templates.iter().all(|(_, template)| template.is_light())
        && program.choices.iter().all(|(_, choice)| compares_only(choice))
        && program
            .fails
            .iter()
            .all(|(_, fail)| !matches!(fail.error, Text::Call(_)) && !matches!(fail.cause, Text::Call(_)))
}

fn compares_only(choice: &Choice) -> bool {
    let matches = |operator: &Operator| matches!(operator, Operator::StringMatches);
    let steps = choice.steps.iter().all(|step| match step {
        ChoiceStep::Compare { comparison, .. } => !matches(&comparison.operator),
        ChoiceStep::Rule(_) | ChoiceStep::Equals { .. } => true,
    });
    steps
        && choice.tests.iter().all(|(_, test)| match test {
            Test::Comparison(comparison) => !matches(&comparison.operator),
            Test::And(_) | Test::Or(_) | Test::Not(_) | Test::Constant(_) | Test::Condition(_) => true,
        })
}
