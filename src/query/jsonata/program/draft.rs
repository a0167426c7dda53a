//! The first half of compiling: chains of `.` become paths, predicates and bindings move to their steps, and every `%`
//! is resolved to the step whose input it is. (The same transformations as the reference implementation's, in the same
//! order, because the order decides which error is reported.)

use super::super::syntax::{BinaryOp, CompileError, Literal, Signature, Syntax, SyntaxId, Tree};

/// A draft of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DraftId(u32);

/// The source of a `%`'s value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ancestor(u32);

/// A node with its attachments.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) form: Form,
    pub(super) end: u32,
    pub(super) keep_array: bool,
    /// Its array is not flattened into the enclosing sequence.
    pub(super) cons_array: bool,
    /// It carries bindings from item to item.
    pub(super) tuple: bool,
    /// Predicates on its whole value.
    pub(super) predicates: Vec<Stage>,
    /// Predicates and index bindings on it as a step of a path.
    pub(super) stages: Vec<Stage>,
    pub(super) group: Option<Vec<(DraftId, DraftId)>>,
    pub(super) group_end: u32,
    pub(super) focus: Option<String>,
    pub(super) index: Option<String>,
    pub(super) ancestor: Option<Ancestor>,
    /// Nested `%`s whose step is further out.
    seeking: Vec<Ancestor>,
}

/// An operation on the items of a step.
#[derive(Debug)]
pub(super) enum Stage {
    Filter(DraftId),
    Index(String),
}

/// The forms of drafts.
#[derive(Debug)]
pub(super) enum Form {
    Path { steps: Vec<DraftId>, keep_singleton: bool },
    Sort(Vec<(DraftId, bool)>),
    Name(String),
    Variable(String),
    Literal(Literal),
    Regex { pattern: String, flags: String },
    Wildcard,
    Descendant,
    Parent(Ancestor),
    Placeholder,
    Negate(DraftId),
    Array(Vec<DraftId>),
    Object(Vec<(DraftId, DraftId)>),
    Bind(String, DraftId),
    Apply(DraftId, DraftId),
    Binary(BinaryOp, DraftId, DraftId),
    Condition(DraftId, DraftId, Option<DraftId>),
    Block(Vec<DraftId>),
    Call(DraftId, Vec<DraftId>),
    Partial(DraftId, Vec<DraftId>),
    Lambda { params: Vec<String>, signature: Option<Signature>, body: DraftId },
    Transform { pattern: DraftId, update: DraftId, delete: Option<DraftId> },
}

/// All drafts of an expression.
#[derive(Debug)]
pub(super) struct Drafts {
    drafts: Vec<Draft>,
    ancestors: Vec<Slot>,
    pub(super) root: DraftId,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    label: u32,
    /// Steps still to go outwards.
    level: i32,
}

impl Drafts {
    pub(super) fn get(&self, id: DraftId) -> &Draft {
        &self.drafts[id.0 as usize]
    }

    /// The name under which the value of a `%` is carried; it is not valid for variables.
    pub(super) fn label(&self, ancestor: Ancestor) -> String {
        format!("!{}", self.ancestors[ancestor.0 as usize].label)
    }
}

/// Makes drafts of a tree.
pub(super) fn draft(tree: &Tree) -> Result<Drafts, CompileError> {
    let mut drafting = Drafting { tree, drafts: Vec::new(), ancestors: Vec::new() };
    let root = drafting.process(tree.root)?;
    let top = drafting.at(root);
    if matches!(top.form, Form::Parent(_)) || !top.seeking.is_empty() {
        return Err(no_parent(top.end, &drafting.type_of(root)));
    }
    Ok(Drafts { drafts: drafting.drafts, ancestors: drafting.ancestors, root })
}

fn no_parent(end: u32, token: &str) -> CompileError {
    let message = "The object representing the 'parent' cannot be derived from this expression".to_owned();
    CompileError::new("S0217", end as usize, Some(token), message)
}

struct Drafting<'t> {
    tree: &'t Tree,
    drafts: Vec<Draft>,
    ancestors: Vec<Slot>,
}

type Drafted = Result<DraftId, CompileError>;

impl Drafting<'_> {
    fn at(&self, id: DraftId) -> &Draft {
        &self.drafts[id.0 as usize]
    }

    fn at_mut(&mut self, id: DraftId) -> &mut Draft {
        &mut self.drafts[id.0 as usize]
    }

    fn add(&mut self, form: Form, end: u32) -> DraftId {
        self.drafts.push(Draft {
            form,
            end,
            keep_array: false,
            cons_array: false,
            tuple: false,
            predicates: Vec::new(),
            stages: Vec::new(),
            group: None,
            group_end: 0,
            focus: None,
            index: None,
            ancestor: None,
            seeking: Vec::new(),
        });
        DraftId(self.drafts.len() as u32 - 1)
    }

    /// The last step of a path, anything else itself.
    fn last_step(&self, id: DraftId) -> DraftId {
        match &self.at(id).form {
            Form::Path { steps, .. } => *steps.last().unwrap_or(&id),
            _ => id,
        }
    }

    fn is_path(&self, id: DraftId) -> bool {
        matches!(self.at(id).form, Form::Path { .. })
    }

    /// The reference's name for the type of a node, which one error quotes.
    fn type_of(&self, id: DraftId) -> String {
        match &self.at(id).form {
            Form::Path { .. } => "path",
            Form::Sort(_) => "sort",
            Form::Name(_) => "name",
            Form::Variable(_) => "variable",
            Form::Literal(Literal::String(_)) => "string",
            Form::Literal(Literal::Number(_)) => "number",
            Form::Literal(_) => "value",
            Form::Regex { .. } => "regex",
            Form::Wildcard => "wildcard",
            Form::Descendant => "descendant",
            Form::Parent(_) => "parent",
            Form::Placeholder => "operator",
            Form::Negate(_) | Form::Array(_) | Form::Object(_) => "unary",
            Form::Bind(..) => "bind",
            Form::Apply(..) => "apply",
            Form::Binary(..) => "binary",
            Form::Condition(..) => "condition",
            Form::Block(_) => "block",
            Form::Call(..) => "function",
            Form::Partial(..) => "partial",
            Form::Lambda { .. } => "lambda",
            Form::Transform { .. } => "transform",
        }
        .to_owned()
    }

    fn process(&mut self, id: SyntaxId) -> Drafted {
        let tree = self.tree;
        let node = tree.node(id);
        let end = node.end;
        let result = match &node.kind {
            Syntax::Name(name) => self.name(name.clone(), end, node.keep_array),
            Syntax::Variable(name) => self.add(Form::Variable(name.clone()), end),
            Syntax::Literal(literal) => self.add(Form::Literal(literal.clone()), end),
            Syntax::Regex { pattern, flags } => {
                self.add(Form::Regex { pattern: pattern.clone(), flags: flags.clone() }, end)
            }
            Syntax::Wildcard => self.add(Form::Wildcard, end),
            Syntax::Descendant => self.add(Form::Descendant, end),
            Syntax::Placeholder => self.add(Form::Placeholder, end),
            Syntax::End => {
                let message = "Unexpected end of expression".to_owned();
                return Err(CompileError::new("S0207", end as usize, Some("(end)"), message));
            }
            Syntax::Parent => {
                let label = self.ancestors.len() as u32;
                self.ancestors.push(Slot { label, level: 1 });
                self.add(Form::Parent(Ancestor(label)), end)
            }
            Syntax::Dot(left, right) => self.dot(*left, *right, end)?,
            Syntax::Predicate(left, predicate) => self.predicate(*left, *predicate)?,
            Syntax::Group(left, members) => self.group(*left, members, end)?,
            Syntax::Sort(left, terms) => self.sort(*left, terms, end)?,
            Syntax::Focus(left, name) => self.focus(*left, name, node.keep_array, end)?,
            Syntax::Index(left, name) => self.index(*left, name, end)?,
            _ => self.plain(id)?,
        };
        if node.keep_array {
            self.at_mut(result).keep_array = true;
        }
        Ok(result)
    }

    /// The forms that only collect their children.
    fn plain(&mut self, id: SyntaxId) -> Drafted {
        let tree = self.tree;
        let end = tree.node(id).end;
        let (form, children) = match &tree.node(id).kind {
            Syntax::Negate(operand) => {
                let operand = self.process(*operand)?;
                if let Form::Literal(Literal::Number(number)) = &mut self.at_mut(operand).form {
                    *number = -*number;
                    return Ok(operand);
                }
                (Form::Negate(operand), vec![operand])
            }
            Syntax::Array(items) => {
                let items = self.all(items)?;
                (Form::Array(items.clone()), items)
            }
            Syntax::Object(members) => {
                let members = self.pairs(members)?;
                let children = members.iter().flat_map(|&(key, value)| [key, value]).collect();
                (Form::Object(members), children)
            }
            Syntax::Bind(name, value) => {
                let value = self.process(*value)?;
                (Form::Bind(name.clone(), value), vec![value])
            }
            Syntax::Apply(left, right) => {
                let (left, right) = (self.process(*left)?, self.process(*right)?);
                let id = self.add(Form::Apply(left, right), end);
                self.at_mut(id).keep_array = self.at(left).keep_array || self.at(right).keep_array;
                return Ok(id);
            }
            Syntax::Binary(op, left, right) => {
                let (left, right) = (self.process(*left)?, self.process(*right)?);
                (Form::Binary(*op, left, right), vec![left, right])
            }
            Syntax::Condition(condition, then, otherwise) => {
                let condition = self.process(*condition)?;
                let then = self.process(*then)?;
                let otherwise = otherwise.map(|id| self.process(id)).transpose()?;
                let children = [Some(condition), Some(then), otherwise].into_iter().flatten().collect();
                (Form::Condition(condition, then, otherwise), children)
            }
            Syntax::Block(items) => {
                let items = self.all(items)?;
                let id = self.add(Form::Block(items.clone()), end);
                self.at_mut(id).cons_array = items.iter().any(|&item| self.conses(item));
                self.take_seekers(id, &items);
                return Ok(id);
            }
            Syntax::Call(procedure, arguments) => {
                let arguments = self.all(arguments)?;
                let procedure = self.process(*procedure)?;
                (Form::Call(procedure, arguments.clone()), arguments)
            }
            Syntax::Partial(procedure, arguments) => {
                let arguments = self.all(arguments)?;
                let procedure = self.process(*procedure)?;
                (Form::Partial(procedure, arguments.clone()), arguments)
            }
            Syntax::Lambda { params, signature, body } => {
                let body = self.process(*body)?;
                (Form::Lambda { params: params.clone(), signature: *signature, body }, Vec::new())
            }
            Syntax::Transform { pattern, update, delete } => {
                let pattern = self.process(*pattern)?;
                let update = self.process(*update)?;
                let delete = delete.map(|id| self.process(id)).transpose()?;
                (Form::Transform { pattern, update, delete }, Vec::new())
            }
            // The other forms are distinguished in `process`.
            _ => (Form::Placeholder, Vec::new()),
        };
        let id = self.add(form, end);
        self.take_seekers(id, &children);
        Ok(id)
    }

    fn all(&mut self, ids: &[SyntaxId]) -> Result<Vec<DraftId>, CompileError> {
        ids.iter().map(|&id| self.process(id)).collect()
    }

    fn pairs(&mut self, pairs: &[(SyntaxId, SyntaxId)]) -> Result<Vec<(DraftId, DraftId)>, CompileError> {
        pairs.iter().map(|&(key, value)| Ok((self.process(key)?, self.process(value)?))).collect()
    }

    /// Whether the item makes its block an array constructor.
    fn conses(&self, item: DraftId) -> bool {
        match &self.at(item).form {
            Form::Path { steps, .. } => steps.first().is_some_and(|&step| self.at(step).cons_array),
            _ => self.at(item).cons_array,
        }
    }

    fn name(&mut self, name: String, end: u32, keep_array: bool) -> DraftId {
        let step = self.add(Form::Name(name), end);
        self.at_mut(step).keep_array = keep_array;
        self.add(Form::Path { steps: vec![step], keep_singleton: keep_array }, end)
    }

    fn dot(&mut self, left: SyntaxId, right: SyntaxId, end: u32) -> Drafted {
        let left = self.process(left)?;
        let path = if self.is_path(left) {
            left
        } else {
            self.add(Form::Path { steps: vec![left], keep_singleton: false }, end)
        };
        if let Form::Parent(ancestor) = self.at(left).form {
            self.at_mut(path).seeking = vec![ancestor];
        }
        let rest = self.process(right)?;
        let mut added = match &mut self.at_mut(rest).form {
            Form::Path { steps, .. } => std::mem::take(steps),
            _ => {
                let draft = self.at_mut(rest);
                draft.stages.append(&mut draft.predicates);
                vec![rest]
            }
        };
        let mut steps = self.take_steps(path);
        steps.append(&mut added);
        self.check_steps(&steps)?;
        let keep = steps.iter().any(|&step| self.at(step).keep_array);
        for step in [steps.first(), steps.last()].into_iter().flatten() {
            let draft = self.at_mut(*step);
            draft.cons_array |= matches!(draft.form, Form::Array(_));
        }
        if let Form::Path { steps: place, keep_singleton } = &mut self.at_mut(path).form {
            *place = steps;
            *keep_singleton |= keep;
        }
        self.resolve_ancestry(path)?;
        Ok(path)
    }

    fn take_steps(&mut self, path: DraftId) -> Vec<DraftId> {
        match &mut self.at_mut(path).form {
            Form::Path { steps, .. } => std::mem::take(steps),
            _ => Vec::new(),
        }
    }

    /// Literal strings in a path are names; other literals are not allowed there.
    fn check_steps(&mut self, steps: &[DraftId]) -> Result<(), CompileError> {
        for &step in steps {
            let draft = self.at_mut(step);
            if let Form::Literal(literal) = &draft.form {
                let text = match literal {
                    Literal::String(name) => {
                        draft.form = Form::Name(name.clone());
                        continue;
                    }
                    Literal::Number(number) => crate::query::jsonata::number::js_text(*number),
                    Literal::Bool(value) => value.to_string(),
                    Literal::Null => "null".to_owned(),
                };
                let message =
                    format!("The literal value {text} cannot be used as a step within a path expression");
                return Err(CompileError::new("S0213", draft.end as usize, Some(&text), message));
            }
        }
        Ok(())
    }

    fn predicate(&mut self, left: SyntaxId, predicate: SyntaxId) -> Drafted {
        let result = self.process(left)?;
        let step = self.last_step(result);
        // A path's grouping comes after the predicates of its last step, wherever it is written.
        if self.at(step).group.is_some() {
            let message = "A predicate cannot follow a grouping expression in a step".to_owned();
            return Err(CompileError::new("S0209", self.tree.node(left).end as usize, None, message));
        }
        let predicate = self.process(predicate)?;
        for ancestor in self.at(predicate).seeking.clone() {
            match self.ancestors[ancestor.0 as usize].level {
                1 => self.seek_parent(step, ancestor)?,
                _ => self.ancestors[ancestor.0 as usize].level -= 1,
            }
        }
        self.take_seekers(step, &[predicate]);
        let draft = self.at_mut(step);
        if step == result && !matches!(draft.form, Form::Path { .. }) {
            draft.predicates.push(Stage::Filter(predicate))
        } else {
            draft.stages.push(Stage::Filter(predicate))
        }
        Ok(result)
    }

    fn group(&mut self, left: SyntaxId, members: &[(SyntaxId, SyntaxId)], end: u32) -> Drafted {
        let result = self.process(left)?;
        if self.at(result).group.is_some() {
            let message = "Each step can only have one grouping expression".to_owned();
            return Err(CompileError::new("S0210", end as usize, None, message));
        }
        let members = self.pairs(members)?;
        let draft = self.at_mut(result);
        draft.group = Some(members);
        draft.group_end = end;
        Ok(result)
    }

    fn sort(&mut self, left: SyntaxId, terms: &[(SyntaxId, bool)], end: u32) -> Drafted {
        let left = self.process(left)?;
        let path = if self.is_path(left) {
            left
        } else {
            self.add(Form::Path { steps: vec![left], keep_singleton: false }, end)
        };
        let mut sorted = Vec::with_capacity(terms.len());
        for &(term, descending) in terms {
            sorted.push((self.process(term)?, descending));
        }
        let children: Vec<DraftId> = sorted.iter().map(|&(id, _)| id).collect();
        let step = self.add(Form::Sort(sorted), end);
        self.take_seekers(step, &children);
        if let Form::Path { steps, .. } = &mut self.at_mut(path).form {
            steps.push(step);
        }
        self.resolve_ancestry(path)?;
        Ok(path)
    }

    fn focus(&mut self, left: SyntaxId, name: &str, keep_array: bool, end: u32) -> Drafted {
        let result = self.process(left)?;
        let step = self.last_step(result);
        let draft = self.at(step);
        let error = match draft {
            Draft { stages, predicates, .. } if !stages.is_empty() || !predicates.is_empty() => {
                Some(("S0215", "A context variable binding must precede any predicates on a step"))
            }
            Draft { form: Form::Sort(_), .. } => {
                Some(("S0216", "A context variable binding must precede the 'order-by' clause on a step"))
            }
            _ => None,
        };
        if let Some((code, message)) = error {
            return Err(CompileError::new(code, end as usize, None, message.to_owned()));
        }
        let draft = self.at_mut(step);
        draft.keep_array |= keep_array;
        draft.focus = Some(name.to_owned());
        draft.tuple = true;
        Ok(result)
    }

    fn index(&mut self, left: SyntaxId, name: &str, end: u32) -> Drafted {
        let left = self.process(left)?;
        let step = self.last_step(left);
        let result = if self.is_path(left) {
            left
        } else {
            let draft = self.at_mut(left);
            draft.stages.append(&mut draft.predicates);
            self.add(Form::Path { steps: vec![left], keep_singleton: false }, end)
        };
        let draft = self.at_mut(step);
        if draft.stages.is_empty() {
            draft.index = Some(name.to_owned())
        } else {
            draft.stages.push(Stage::Index(name.to_owned()))
        }
        draft.tuple = true;
        Ok(result)
    }

    /// Passes the children's unresolved `%`s to their parent.
    fn take_seekers(&mut self, parent: DraftId, children: &[DraftId]) {
        for &child in children {
            let mut seeking = std::mem::take(&mut self.at_mut(child).seeking);
            if let Form::Parent(ancestor) = self.at(child).form {
                seeking.push(ancestor);
            }
            self.at_mut(parent).seeking.extend(seeking);
        }
    }

    fn resolve_ancestry(&mut self, path: DraftId) -> Result<(), CompileError> {
        let Form::Path { steps, .. } = &self.at(path).form else { return Ok(()) };
        let steps = steps.clone();
        let Some(&last) = steps.last() else { return Ok(()) };
        let mut slots = self.at(last).seeking.clone();
        if let Form::Parent(ancestor) = self.at(last).form {
            slots.push(ancestor);
        }
        for slot in slots {
            let mut before = steps.len() - 1;
            while self.ancestors[slot.0 as usize].level > 0 {
                if before == 0 {
                    self.at_mut(path).seeking.push(slot);
                    break;
                }
                before -= 1;
                // Of several steps that bind their context without moving on, only the first moves.
                while before > 0
                    && self.at(steps[before]).focus.is_some()
                    && self.at(steps[before - 1]).focus.is_some()
                {
                    before -= 1;
                }
                self.seek_parent(steps[before], slot)?;
            }
        }
        Ok(())
    }

    /// Goes outwards through `id` by one level, or more if it is a path.
    fn seek_parent(&mut self, id: DraftId, slot: Ancestor) -> Result<(), CompileError> {
        let draft = self.at_mut(id);
        match &draft.form {
            Form::Name(_) | Form::Wildcard => {
                self.ancestors[slot.0 as usize].level -= 1;
                if self.ancestors[slot.0 as usize].level == 0 {
                    if let Some(earlier) = self.at(id).ancestor {
                        self.ancestors[slot.0 as usize].label = self.ancestors[earlier.0 as usize].label;
                    }
                    let draft = self.at_mut(id);
                    draft.ancestor = Some(slot);
                    draft.tuple = true;
                }
            }
            Form::Parent(_) => self.ancestors[slot.0 as usize].level += 1,
            Form::Block(items) => {
                if let Some(&last) = items.last() {
                    draft.tuple = true;
                    self.seek_parent(last, slot)?;
                }
            }
            Form::Path { steps, .. } => {
                let steps = steps.clone();
                draft.tuple = true;
                for &step in steps.iter().rev() {
                    self.seek_parent(step, slot)?;
                    if self.ancestors[slot.0 as usize].level <= 0 {
                        break;
                    }
                }
            }
            _ => {
                let end = draft.end;
                return Err(no_parent(end, &self.type_of(id)));
            }
        }
        Ok(())
    }
}
