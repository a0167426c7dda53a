//! Choice states: tests as a table, and equality rules gathered.

use std::collections::HashMap;

use super::{Lower, Place};
use crate::asl::model::{self as asl, OperatorClass, OperatorOrder, Setting};
use crate::clock;
use crate::json::{self, Arena, Number};
use crate::program::{Choice, ChoiceStep, Comparison, Operand, Operator, Order, Pattern, Rule, Test, TestId};
use crate::query::jsonata::Allowed;

/// Shorter runs are as fast rule by rule.
const GATHERED_RULES_MIN: usize = 4;

impl Lower {
    pub(super) fn choice(&mut self, place: &Place<'_, '_>, choice: &asl::Choice) -> Choice {
        let (mut lowered, mut rules) = (Choice::default(), Vec::with_capacity(choice.rules.len()));
        for (i, rule) in choice.rules.iter().enumerate() {
            let field = format!("Choices[{i}]");
            let test = self.test(place, &field, &rule.test, &mut lowered);
            let Some(next) = self.target(place, &format!("{field}/Next"), &rule.next) else { continue };
            let assign =
                self.assign(place, &format!("{field}/Assign"), rule.assign.as_ref(), Allowed::default());
            let output = rule.output.as_ref();
            let output = output.and_then(|output| {
                self.template(place, &format!("{field}/Output"), output, Allowed::default())
            });
            rules.push(Rule { test, next, assign, output });
        }
        lowered.rules = rules.into();
        lowered.steps = self.gather(&lowered).into();
        lowered
    }

    fn test(&mut self, place: &Place<'_, '_>, field: &str, test: &asl::Test, choice: &mut Choice) -> TestId {
        let lowered = match test {
            asl::Test::And(tests) => Test::And(self.tests(place, &format!("{field}/And"), tests, choice)),
            asl::Test::Or(tests) => Test::Or(self.tests(place, &format!("{field}/Or"), tests, choice)),
            asl::Test::Not(test) => Test::Not(self.test(place, &format!("{field}/Not"), test, choice)),
            asl::Test::Comparison(comparison) => Test::Comparison(self.comparison(place, field, comparison)),
            asl::Test::Condition(Setting::Literal(value)) => Test::Constant(value.value),
            asl::Test::Condition(Setting::Expression(text) | Setting::Path(text)) => {
                Test::Condition(self.expression(place, &format!("{field}/Condition"), &text.value))
            }
        };
        choice.tests.push(lowered)
    }

    fn tests(
        &mut self,
        place: &Place<'_, '_>,
        field: &str,
        tests: &[asl::Test],
        choice: &mut Choice,
    ) -> Box<[TestId]> {
        let tests = tests.iter().enumerate();
        tests.map(|(i, test)| self.test(place, &format!("{field}[{i}]"), test, choice)).collect()
    }

    fn comparison(&mut self, place: &Place<'_, '_>, field: &str, comparison: &asl::Comparison) -> Comparison {
        let variable = self.path(place, &format!("{field}/Variable"), &comparison.variable.value);
        let order = match comparison.operator.order() {
            OperatorOrder::Equal => Order::Equal,
            OperatorOrder::Less => Order::Less,
            OperatorOrder::LessEqual => Order::LessEqual,
            OperatorOrder::Greater => Order::Greater,
            OperatorOrder::GreaterEqual => Order::GreaterEqual,
        };
        let operator = match comparison.operator.class() {
            OperatorClass::String => Operator::String(order),
            OperatorClass::Matches => Operator::StringMatches,
            OperatorClass::Numeric => Operator::Numeric(order),
            OperatorClass::Boolean => Operator::BooleanEquals,
            OperatorClass::Timestamp => Operator::Timestamp(order),
            OperatorClass::Is => match comparison.operator {
                asl::Operator::IsPresent => Operator::IsPresent,
                asl::Operator::IsNull => Operator::IsNull,
                asl::Operator::IsNumeric => Operator::IsNumeric,
                asl::Operator::IsString => Operator::IsString,
                asl::Operator::IsBoolean => Operator::IsBoolean,
                _ => Operator::IsTimestamp,
            },
        };
        let operand = match &comparison.operand.value {
            asl::Operand::Path(path) => {
                Operand::Path(self.path(place, &format!("{field}/{}", comparison.operator.name()), path))
            }
            asl::Operand::Bool(value) => Operand::Bool(*value),
            asl::Operand::Number(text) => Operand::Number(number(text)),
            asl::Operand::String(text) => match operator {
                Operator::StringMatches => Operand::Pattern(Pattern::new(text)),
                Operator::Timestamp(_) => Operand::Timestamp(
                    clock::parse_timestamp(text).expect("the reader refuses what is no timestamp"),
                ),
                _ => Operand::String(text.as_str().into()),
            },
        };
        Comparison { variable, operator, operand }
    }

    /// Turns runs of rules that compare one variable with strings into one look-up each.
    fn gather(&self, choice: &Choice) -> Vec<ChoiceStep> {
        let mut steps = Vec::new();
        let mut from = 0;
        while from < choice.rules.len() {
            let run = match self.equality(choice, from) {
                Some((variable, _)) => (from..choice.rules.len())
                    .take_while(|&i| self.equality(choice, i).is_some_and(|(other, _)| other == variable))
                    .count(),
                None => 0,
            };
            if run < GATHERED_RULES_MIN {
                steps.push(step(choice, from as u32));
                from += 1;
                continue;
            }
            let mut rules = HashMap::default();
            for i in from..from + run {
                if let Some((_, text)) = self.equality(choice, i) {
                    // The first of two equal rules wins.
                    rules.entry(text.into()).or_insert(i as u32);
                }
            }
            if let Test::Comparison(comparison) = &choice.tests[choice.rules[from].test] {
                steps.push(ChoiceStep::Equals { variable: comparison.variable, rules });
            }
            from += run;
        }
        steps
    }

    /// The variable's path and the string, if rule `i` is such a comparison.
    fn equality<'c>(&'c self, choice: &'c Choice, i: usize) -> Option<(&'c str, &'c str)> {
        match &choice.tests[choice.rules[i].test] {
            Test::Comparison(Comparison {
                variable,
                operator: Operator::String(Order::Equal),
                operand: Operand::String(text),
            }) => Some((self.program.paths[*variable].source(), text)),
            _ => None,
        }
    }
}

/// The step of a single rule.
fn step(choice: &Choice, rule: u32) -> ChoiceStep {
    match &choice.tests[choice.rules[rule as usize].test] {
        Test::Comparison(comparison)
            if comparison.operator != Operator::IsPresent
                && !matches!(comparison.operand, Operand::Path(_)) =>
        {
            ChoiceStep::Compare { comparison: comparison.clone(), rule }
        }
        _ => ChoiceStep::Rule(rule),
    }
}

fn number(text: &str) -> Number {
    let mut arena = Arena::new();
    let value = json::read(&mut arena, text.as_bytes()).expect("the reader found a JSON value there");
    arena.number(value).expect("the reader refuses what is no number")
}
