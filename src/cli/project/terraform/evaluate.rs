//! Expressions of Terraform, as far as the folder determines them. The others stay as `${…}`.

use std::collections::BTreeMap;

use hcl::expr::{
    BinaryOp, BinaryOperator, ForExpr, ObjectKey, Operation, Traversal, TraversalOperator, UnaryOp,
    UnaryOperator, Variable,
};
use hcl::template::{Directive, Element, Template};
use hcl::{Block, Expression, Number};
use serde_json::{Map, Value as Json};

use super::super::resources::{ACCOUNT, REGION};
use super::super::{EXPANDED_BYTES_MAX, Stop};
use super::{Module, attribute, functions, label};

/// Nesting of expressions and names.
pub(super) const DEPTH_MAX: usize = 100;
/// Bytes of an expression's value.
const BYTES_MAX: usize = 4 << 20;

/// The work of an expression, as bytes, and the bytes of an item.
const EXPRESSION_BYTES: usize = 64;
const VALUE_BYTES: usize = 16;

/// Variables of `for` and of templates.
pub(super) type Variables = BTreeMap<String, Json>;

impl Module<'_> {
    /// The value of an expression. Recursion is bounded by `depth`.
    pub(super) fn evaluate(&self, expression: &Expression, known: &Variables, depth: usize) -> Json {
        if depth > DEPTH_MAX {
            return self.unknown(expression);
        }
        if !self.may_spend(EXPRESSION_BYTES) {
            return Json::Null;
        }
        let found = self.evaluated(expression, known, depth);
        self.may_spend(match &found {
            Json::String(text) => text.len(),
            Json::Array(items) => VALUE_BYTES * items.len(),
            Json::Object(members) => 2 * VALUE_BYTES * members.len(),
            _ => 0,
        });
        found
    }

    /// Counts bytes: a few lines may stand for more than any machine has. Whether there may be so many.
    fn may_spend(&self, bytes: usize) -> bool {
        self.spent.set(self.spent.get().saturating_add(bytes));
        let fits = self.spent.get() <= EXPANDED_BYTES_MAX;
        if !fits {
            let why = format!(
                "{}: expressions stand for more than {} MiB of text",
                self.folder.display(),
                EXPANDED_BYTES_MAX >> 20
            );
            self.broken.borrow_mut().get_or_insert_with(|| Stop::failed(why));
        }
        fits
    }

    fn evaluated(&self, expression: &Expression, known: &Variables, depth: usize) -> Json {
        let value = |expression: &Expression| self.evaluate(expression, known, depth + 1);
        match expression {
            Expression::Null => Json::Null,
            Expression::Bool(bool) => Json::Bool(*bool),
            Expression::Number(number) => json_number(number),
            Expression::String(text) => Json::String(text.clone()),
            Expression::Array(items) => items.iter().map(value).collect(),
            Expression::Object(members) => {
                let member = |(key, member): (&ObjectKey, &Expression)| {
                    let key = match key {
                        ObjectKey::Identifier(name) => name.to_string(),
                        ObjectKey::Expression(Expression::Variable(name)) => name.to_string(),
                        ObjectKey::Expression(key) => functions::text(&value(key)),
                        other => other.to_string(),
                    };
                    (key, value(member))
                };
                Json::Object(members.iter().map(member).collect())
            }
            Expression::TemplateExpr(template) => match Template::from_expr(template) {
                Ok(template) => self.template(&template, known, depth + 1),
                Err(_) => self.unknown(expression),
            },
            Expression::Variable(name) => {
                known.get(name.as_str()).cloned().unwrap_or_else(|| self.unknown(expression))
            }
            Expression::Traversal(traversal) => {
                self.traversal(traversal, known, depth).unwrap_or_else(|| self.unknown(expression))
            }
            Expression::FuncCall(call) => {
                self.call(call, known, depth).unwrap_or_else(|| self.unknown(expression))
            }
            Expression::Parenthesis(inner) => value(inner),
            Expression::Conditional(conditional) => match truth(&value(&conditional.cond_expr)) {
                Some(true) => value(&conditional.true_expr),
                Some(false) => value(&conditional.false_expr),
                None => self.unknown(expression),
            },
            Expression::Operation(operation) => {
                operate(operation, &value).unwrap_or_else(|| self.unknown(expression))
            }
            Expression::ForExpr(each) => {
                self.each(each, known, depth).unwrap_or_else(|| self.unknown(expression))
            }
            _ => self.unknown(expression),
        }
    }

    /// Records an unknown value. The command line may supply it.
    fn unknown(&self, expression: &Expression) -> Json {
        let written = written(expression);
        if let Some(value) = self.given.get(&written) {
            return given(value);
        }
        let mut unresolved = self.unresolved.borrow_mut();
        if !unresolved.contains(&written) {
            unresolved.push(written.clone());
        }
        Json::from(placeholder(&written))
    }

    /// The text of a template; one that is a single expression has that one's value.
    pub(super) fn template(&self, template: &Template, known: &Variables, depth: usize) -> Json {
        if let [Element::Interpolation(only)] = template.elements() {
            return self.evaluate(&only.expr, known, depth + 1);
        }
        let mut out = String::new();
        for element in template.elements() {
            if out.len() > BYTES_MAX {
                break;
            }
            match element {
                Element::Literal(text) => out.push_str(text),
                Element::Interpolation(inner) => {
                    out.push_str(&functions::text(&self.evaluate(&inner.expr, known, depth + 1)));
                }
                Element::Directive(directive) => self.directive(directive, known, depth, &mut out),
            }
        }
        Json::from(out)
    }

    fn directive(&self, directive: &Directive, known: &Variables, depth: usize, out: &mut String) {
        match directive {
            Directive::If(it) => {
                let chosen = match truth(&self.evaluate(&it.cond_expr, known, depth + 1)) {
                    Some(true) => Some(&it.true_template),
                    _ => it.false_template.as_ref(),
                };
                if let Some(chosen) = chosen {
                    out.push_str(&functions::text(&self.template(chosen, known, depth + 1)));
                }
            }
            Directive::For(it) => {
                let collection = self.evaluate(&it.collection_expr, known, depth + 1);
                for (key, value) in pairs(&collection) {
                    let mut inner = known.clone();
                    inner.extend(it.key_var.iter().map(|name| (name.to_string(), key.clone())));
                    inner.insert(it.value_var.to_string(), value);
                    out.push_str(&functions::text(&self.template(&it.template, &inner, depth + 1)));
                    if out.len() > BYTES_MAX {
                        break;
                    }
                }
            }
        }
    }

    /// `var.a.b`, `local.a`, `aws_lambda_function.f.arn`, `data.aws_region.current.name`, `path.module`.
    fn traversal(&self, traversal: &Traversal, known: &Variables, depth: usize) -> Option<Json> {
        // `list[*].name` is the name of each.
        let splat = |it: &TraversalOperator| {
            matches!(it, TraversalOperator::FullSplat | TraversalOperator::AttrSplat)
        };
        if let Some(at) = traversal.operators.iter().position(splat) {
            let (before, behind) = (&traversal.operators[..at], &traversal.operators[at + 1..]);
            let list = match before {
                [] => self.evaluate(&traversal.expr, known, depth + 1),
                before => self.traversal(
                    &Traversal::new(traversal.expr.clone(), before.to_vec()),
                    known,
                    depth + 1,
                )?,
            };
            let each = |item: &Json| {
                let known = Variables::from([("item".to_owned(), item.clone())]);
                let item = Expression::Variable(Variable::new("item").ok()?);
                match behind {
                    [] => Some(known["item"].clone()),
                    behind => self.traversal(&Traversal::new(item, behind.to_vec()), &known, depth + 1),
                }
            };
            return list.as_array()?.iter().map(each).collect();
        }
        let mut steps = Vec::new();
        for operator in &traversal.operators {
            steps.push(match operator {
                TraversalOperator::GetAttr(name) => name.to_string(),
                TraversalOperator::Index(index) => functions::text(&self.evaluate(index, known, depth + 1)),
                TraversalOperator::LegacyIndex(index) => index.to_string(),
                _ => return None,
            });
        }
        let step = |n: usize| steps.get(n).map(String::as_str);
        let (found, used) = match &traversal.expr {
            Expression::Variable(root) => match root.as_str() {
                "var" => (self.variable(step(0)?)?, 1),
                "local" => (self.local(step(0)?, depth)?, 1),
                "path" => (Json::from(self.folder.display().to_string()), 1),
                "terraform" => (Json::from("default"), 1),
                "data" => {
                    let value = match (step(0)?, step(2)?) {
                        ("aws_caller_identity", "account_id") => Json::from(ACCOUNT),
                        ("aws_region", "name" | "id" | "region") => Json::from(REGION),
                        ("aws_partition", "partition") => Json::from("aws"),
                        (kind, _) => {
                            let block = self.block("data", kind, step(1)?)?;
                            return self.of_block(block, &steps[2..], depth);
                        }
                    };
                    (value, 3)
                }
                name if known.contains_key(name) => (known.get(name)?.clone(), 0),
                kind => {
                    let block = self.block("resource", kind, step(0)?)?;
                    return self.of_block(block, &steps[1..], depth);
                }
            },
            other => (self.evaluate(other, known, depth + 1), 0),
        };
        inside(found, &steps[used.min(steps.len())..])
    }

    /// What is behind the name of a resource or a data source: perhaps a key, an attribute, and what is in it.
    fn of_block(&self, block: &Block, steps: &[String], depth: usize) -> Option<Json> {
        let (key, steps) = match steps.split_first() {
            Some((key, steps)) if Self::has_keys(block) => (Some(&**key), steps),
            _ => (None, steps),
        };
        let Some((wanted, rest)) = steps.split_first() else {
            return Some(block)
                .filter(|it| it.identifier() == "resource")
                .and_then(|it| self.whole(it, key, depth));
        };
        let found = match (block.identifier(), label(block, 0), &**wanted) {
            ("data", "template_file", "rendered") => self.rendered(block, key, depth + 1)?,
            ("data", "local_file", "content") => {
                let known = self.known_of(block, key, depth + 1);
                let name = self.evaluate(attribute(block, "filename")?, &known, depth + 1);
                Json::from(self.content(&self.beside(&functions::text(&name)))?)
            }
            (_, kind, wanted) if kind.starts_with("aws_") => self.resource(block, key, wanted, depth)?,
            _ => return None,
        };
        inside(found, rest)
    }

    /// The text of `data.template_file`.
    fn rendered(&self, block: &Block, key: Option<&str>, depth: usize) -> Option<Json> {
        let known = self.known_of(block, key, depth);
        let of = |name: &str| Some(self.evaluate(attribute(block, name)?, &known, depth + 1));
        let text = functions::text(&of("template")?);
        let template: Template = text.parse().ok()?;
        self.filled(&template, &of("vars").unwrap_or_else(|| Json::Object(Map::new())), depth)
    }

    /// `[for x in list : f(x) if c]`, `{for k, v in map : k => v}`.
    fn each(&self, each: &ForExpr, known: &Variables, depth: usize) -> Option<Json> {
        let collection = self.evaluate(&each.collection_expr, known, depth + 1);
        if !collection.is_array() && !collection.is_object() {
            return None;
        }
        let (mut list, mut object) = (Vec::new(), Map::new());
        for (key, value) in pairs(&collection) {
            let mut inner = known.clone();
            inner.extend(each.key_var.iter().map(|name| (name.to_string(), key.clone())));
            inner.insert(each.value_var.to_string(), value);
            let value = |expression: &Expression| self.evaluate(expression, &inner, depth + 1);
            if each.cond_expr.as_ref().is_some_and(|condition| value(condition) != Json::Bool(true)) {
                continue;
            }
            match &each.key_expr {
                Some(key) => drop(object.insert(functions::text(&value(key)), value(&each.value_expr))),
                None => list.push(value(&each.value_expr)),
            }
        }
        Some(if each.key_expr.is_some() { Json::Object(object) } else { Json::Array(list) })
    }
}

/// What is behind a value: members by their names, items by their numbers.
fn inside(found: Json, steps: &[String]) -> Option<Json> {
    steps.iter().try_fold(found, |at, step| match &at {
        Json::Array(items) => items.get(step.parse::<usize>().ok()?).cloned(),
        other => other.get(step).cloned(),
    })
}

/// What stands for an unknown value. It may be within a text in JSON, which its quotes and line breaks must not end.
pub(super) fn placeholder(written: &str) -> String {
    format!("${{{}}}", written.replace('"', "'").replace(['\n', '\\'], " "))
}

/// A value of the command line. A list or an object is one, as Terraform's `-var` takes it.
pub(super) fn given(text: &str) -> Json {
    let read = serde_json::from_str(text).ok();
    read.filter(|value: &Json| value.is_array() || value.is_object()).unwrap_or_else(|| Json::from(text))
}

/// Whether a value is true. Terraform takes a text for what it says.
pub(super) fn truth(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(is) => Some(*is),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number. Terraform takes a text for what it says.
pub(super) fn number_of(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) => text.parse().ok(),
        value => value.as_f64(),
    }
}

/// An expression as Terraform's formatter writes it.
pub(super) fn written(expression: &Expression) -> String {
    hcl::format::to_string(expression).unwrap_or_default()
}

/// The elements of a collection: by index or by key.
fn pairs(collection: &Json) -> Vec<(Json, Json)> {
    match collection {
        Json::Array(items) => items.iter().enumerate().map(|(n, it)| (Json::from(n), it.clone())).collect(),
        Json::Object(members) => members.iter().map(|(key, it)| (Json::from(&**key), it.clone())).collect(),
        _ => Vec::new(),
    }
}

fn json_number(number: &Number) -> Json {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Json::from(whole),
        (None, Some(float)) => Json::from(float),
        (None, None) => Json::Null,
    }
}

fn operate(operation: &Operation, value: &dyn Fn(&Expression) -> Json) -> Option<Json> {
    use BinaryOperator as Is;
    match operation {
        Operation::Unary(UnaryOp { operator: UnaryOperator::Not, expr }) => {
            Some(Json::Bool(!truth(&value(expr))?))
        }
        Operation::Unary(UnaryOp { operator: UnaryOperator::Neg, expr }) => number(-number_of(&value(expr))?),
        Operation::Binary(BinaryOp { lhs_expr, operator, rhs_expr }) => {
            let (left, right) = (value(lhs_expr), value(rhs_expr));
            match operator {
                Is::Eq => return Some(Json::Bool(left == right)),
                Is::NotEq => return Some(Json::Bool(left != right)),
                Is::And => return Some(Json::Bool(truth(&left)? && truth(&right)?)),
                Is::Or => return Some(Json::Bool(truth(&left)? || truth(&right)?)),
                _ => {}
            }
            let (left, right) = (number_of(&left)?, number_of(&right)?);
            match operator {
                Is::Plus => number(left + right),
                Is::Minus => number(left - right),
                Is::Mul => number(left * right),
                Is::Div if right != 0.0 => number(left / right),
                Is::Mod if right != 0.0 => number(left % right),
                Is::Less => Some(Json::Bool(left < right)),
                Is::LessEq => Some(Json::Bool(left <= right)),
                Is::Greater => Some(Json::Bool(left > right)),
                Is::GreaterEq => Some(Json::Bool(left >= right)),
                _ => None,
            }
        }
    }
}

/// Integers are written as such.
pub(super) fn number(value: f64) -> Option<Json> {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        Some(Json::from(value as i64))
    } else {
        serde_json::Number::from_f64(value).map(Json::Number)
    }
}
