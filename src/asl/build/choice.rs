//! Choice states.

use super::{items, sourced_text, string, text};
use crate::asl::model::{
    Choice, ChoiceRule, Comparison, Operand, Operator, OperatorClass, Setting, Test, jsonata_expression,
};
use crate::json::source::{Node, Sourced};

pub(super) fn choice(node: &Node) -> Option<Choice> {
    Some(Choice {
        rules: items(node, "Choices").map(rule).collect::<Option<_>>()?,
        default: text(node, "Default"),
    })
}

fn rule(node: &Node) -> Option<ChoiceRule> {
    Some(ChoiceRule {
        test: test(node)?,
        next: text(node, "Next")?,
        comment: string(node, "Comment"),
        assign: node.get("Assign").cloned(),
        output: node.get("Output").cloned(),
        span: node.span,
    })
}

fn test(node: &Node) -> Option<Test> {
    for member in node.members()? {
        let value = &member.value;
        match &*member.key.value {
            "Condition" => return condition(value).map(Test::Condition),
            "And" => return value.items()?.iter().map(test).collect::<Option<_>>().map(Test::And),
            "Or" => return value.items()?.iter().map(test).collect::<Option<_>>().map(Test::Or),
            "Not" => return test(value).map(|inner| Test::Not(Box::new(inner))),
            name => {
                if let Some(operator) = Operator::named(name) {
                    let variable = text(node, "Variable")?;
                    let operand = Sourced::new(operand(operator, value)?, value.span);
                    return Some(Test::Comparison(Comparison { variable, operator, operand }));
                }
            }
        }
    }
    None
}

fn condition(node: &Node) -> Option<Setting<bool>> {
    match node.as_str().and_then(jsonata_expression) {
        Some(expression) => Some(Setting::Expression(Sourced::new(expression.to_owned(), node.span))),
        None => Some(Setting::Literal(Sourced::new(node.as_bool()?, node.span))),
    }
}

fn operand(operator: Operator, node: &Node) -> Option<Operand> {
    if operator.has_path_operand() {
        return sourced_text(node).map(|path| Operand::Path(path.value));
    }
    match operator.class() {
        OperatorClass::Numeric => node.as_number().map(|number| Operand::Number(number.to_owned())),
        OperatorClass::Boolean | OperatorClass::Is => node.as_bool().map(Operand::Bool),
        OperatorClass::String | OperatorClass::Matches | OperatorClass::Timestamp => {
            node.as_str().map(|text| Operand::String(text.to_owned()))
        }
    }
}
