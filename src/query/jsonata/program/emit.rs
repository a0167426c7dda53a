//! The second half of compiling: drafts become the flat tables; names become slots.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use super::chain::{Prefix, prefix};
use super::draft::{Draft, DraftId, Drafts, Form, Stage as DraftStage};
use super::profile::{Allowed, Profile};
use super::regex::Regexes;
use super::scope::{ScopeId, Scopes, carried};
use super::tables::*;
use crate::json::Key;
use crate::query::jsonata::functions::Builtin;
use crate::query::jsonata::syntax::{CompileError, Literal, Signature};
use crate::query::{ContextField, Names, Slot};

/// Makes the program of a drafted expression.
pub(super) fn emit(
    source: &str,
    drafts: &Drafts,
    names: &mut dyn Names,
    profile: Profile,
) -> Result<Program, CompileError> {
    let mut emitter = Emitter {
        drafts,
        names,
        profile,
        scopes: Scopes::default(),
        pending: Vec::new(),
        texts: HashMap::new(),
        keys: HashMap::new(),
        program: Program {
            source: source.into(),
            nodes: Vec::new(),
            ends: Vec::new(),
            lists: Vec::new(),
            items: Vec::new(),
            members: Vec::new(),
            keys: Vec::new(),
            texts: Vec::new(),
            numbers: Vec::new(),
            regexes: Vec::new(),
            places: Vec::new(),
            variables: Vec::new(),
            chains: Vec::new(),
            paths: Vec::new(),
            steps: Vec::new(),
            stages: Vec::new(),
            terms: Vec::new(),
            calls: Vec::new(),
            signatures: Vec::new(),
            lambdas: Vec::new(),
            blocks: Vec::new(),
            transforms: Vec::new(),
            wraps: Vec::new(),
            schemas: Vec::new(),
            root: NodeId(0),
            slots: 0,
        },
    };
    let top = emitter.scopes.open(None);
    let place =
        Place { scope: top, context_is_top: matches!(profile, Profile::StepFunctions(_)), tail: false };
    emitter.program.root = emitter.node(drafts.root, place)?;
    emitter.program.slots = emitter.slots(top)?.unwrap_or(0);
    emitter.resolve()?;
    Ok(emitter.program)
}

/// The context of a draft.
#[derive(Clone, Copy)]
struct Place {
    scope: ScopeId,
    /// The context is the top-level one, which AWS does not provide.
    context_is_top: bool,
    /// Its value is that of the enclosing function.
    tail: bool,
}

impl Place {
    fn inner(self) -> Place {
        Place { tail: false, ..self }
    }
}

struct Emitter<'d, 'n> {
    drafts: &'d Drafts,
    names: &'n mut dyn Names,
    profile: Profile,
    scopes: Scopes,
    /// Variables to be resolved when all scopes are complete.
    pending: Vec<(NodeId, Cow<'d, str>, ScopeId)>,
    /// The indexes of the program's texts and keys.
    texts: HashMap<&'d str, u32>,
    keys: HashMap<&'d str, u32>,
    program: Program,
}

type Emitted = Result<NodeId, CompileError>;

/// Adds `entry` to a table and returns its index.
fn push<T>(table: &mut Vec<T>, entry: T) -> u32 {
    table.push(entry);
    table.len() as u32 - 1
}

/// Adds a run of entries to a table.
fn extend<T>(table: &mut Vec<T>, entries: Vec<T>) -> Span {
    let from = table.len() as u32;
    table.extend(entries);
    Span { from, to: table.len() as u32 }
}

impl<'d> Emitter<'d, '_> {
    fn add(&mut self, node: Node, end: u32) -> NodeId {
        self.program.ends.push(end);
        NodeId(push(&mut self.program.nodes, node))
    }

    fn slots(&self, scope: ScopeId) -> Result<Option<u16>, CompileError> {
        let slots = self.scopes.slots(scope);
        slots.map(u16::try_from).transpose().map_err(|_| {
            CompileError::new("S0201", 0, None, "Too many variables in one expression".to_owned())
        })
    }

    fn text(&mut self, text: &'d str) -> TextId {
        let texts = &mut self.program.texts;
        TextId(*self.texts.entry(text).or_insert_with(|| push(texts, text.into())))
    }

    fn key(&mut self, text: &'d str) -> KeyId {
        let keys = &mut self.program.keys;
        KeyId(*self.keys.entry(text).or_insert_with(|| push(keys, Key::new(text))))
    }

    /// A draft with its attachments.
    fn node(&mut self, id: DraftId, place: Place) -> Emitted {
        let drafts = self.drafts;
        let draft = drafts.get(id);
        if matches!(draft.form, Form::Path { .. }) {
            return self.path(id, place.inner());
        }
        if draft.predicates.is_empty() && draft.group.is_none() && !draft.keep_array {
            return self.bare(id, place);
        }
        let inner = self.bare(id, place.inner())?;
        let rows = draft.tuple.then(|| {
            let mut names = Vec::new();
            carried(self.drafts, &[id], &mut names);
            Rc::<[String]>::from(names)
        });
        let predicates = self.stages(&draft.predicates, place.inner(), rows.as_ref())?;
        let group = match &draft.group {
            Some(members) => Some(self.members(
                members,
                Place { context_is_top: false, ..place.inner() },
                rows.as_ref(),
            )?),
            None => None,
        };
        let wrap =
            Wrap { inner, predicates, group, group_end: draft.group_end, keep_array: draft.keep_array };
        let wrap = WrapId(push(&mut self.program.wraps, wrap));
        Ok(self.add(Node::Wrap(wrap), draft.end))
    }

    /// A draft alone.
    fn bare(&mut self, id: DraftId, place: Place) -> Emitted {
        let drafts = self.drafts;
        let draft = drafts.get(id);
        let inner = place.inner();
        let node = match &draft.form {
            Form::Path { .. } | Form::Sort(_) => return self.path(id, inner),
            Form::Name(name) => Node::Name(self.key(name)),
            Form::Variable(name) => return self.variable(name, draft.end, place),
            Form::Literal(Literal::String(text)) => Node::Text(self.text(text)),
            Form::Literal(Literal::Number(number)) => {
                let number = crate::query::jsonata::number::number(*number);
                Node::Number(NumberId(push(&mut self.program.numbers, number)))
            }
            Form::Literal(Literal::Bool(value)) => Node::Bool(*value),
            Form::Literal(Literal::Null) => Node::Null,
            Form::Regex { pattern, flags } => {
                let regex = match self.names.regexes() {
                    Some(shared) => shared.get(pattern, flags, self.profile),
                    None => Regexes::default().get(pattern, flags, self.profile),
                };
                let regex = regex.map_err(|message| {
                    CompileError::new("S0303", draft.end as usize, Some(pattern), message)
                })?;
                Node::Regex(RegexId(push(&mut self.program.regexes, regex)))
            }
            Form::Wildcard => Node::Wildcard,
            Form::Descendant => Node::Descendant,
            Form::Placeholder => Node::Placeholder,
            Form::Parent(ancestor) => {
                let node = self.add(Node::Undefined, draft.end);
                self.pending.push((node, self.drafts.label(*ancestor).into(), place.scope));
                return Ok(node);
            }
            Form::Negate(operand) => Node::Negate(self.node(*operand, inner)?),
            Form::Array(items) => {
                let mut emitted = Vec::with_capacity(items.len());
                for &item in items {
                    let nested = matches!(self.drafts.get(item).form, Form::Array(_));
                    emitted.push(Item { node: self.node(item, inner)?, nested });
                }
                Node::Array(extend(&mut self.program.items, emitted), draft.cons_array)
            }
            Form::Object(members) => {
                let members = self.members(members, inner, None)?;
                Node::Object(members, self.has_constant_keys(members))
            }
            Form::Bind(name, value) => {
                let value = self.node(*value, inner)?;
                let slot = self.scopes.assign(place.scope, name);
                Node::Bind { slot: slot as u16, value }
            }
            Form::Apply(left, right) => Node::Apply(self.node(*left, inner)?, self.node(*right, inner)?),
            Form::Binary(op, left, right) => {
                Node::Binary(*op, self.node(*left, inner)?, self.node(*right, inner)?)
            }
            Form::Condition(condition, then, otherwise) => {
                let condition = self.node(*condition, inner)?;
                let then = self.node(*then, place)?;
                let otherwise = match otherwise {
                    Some(otherwise) => self.node(*otherwise, place)?,
                    None => self.add(Node::Undefined, draft.end),
                };
                Node::Condition(condition, then, otherwise)
            }
            Form::Block(items) => self.block(items, place)?,
            Form::Call(procedure, arguments) => {
                let call = self.call(*procedure, arguments, draft, inner)?;
                if place.tail { Node::TailCall(call) } else { Node::Call(call) }
            }
            Form::Partial(procedure, arguments) => {
                Node::Partial(self.call(*procedure, arguments, draft, inner)?)
            }
            Form::Lambda { params, signature, body } => self.lambda(params, *signature, *body, place)?,
            Form::Transform { pattern, update, delete } => {
                let inner = Place { context_is_top: false, ..inner };
                let pattern = self.node(*pattern, inner)?;
                let update = self.node(*update, inner)?;
                let delete = delete.map(|id| self.node(id, inner)).transpose()?;
                let transform = Transform { pattern, update, delete };
                Node::Transform(TransformId(push(&mut self.program.transforms, transform)))
            }
        };
        Ok(self.add(node, draft.end))
    }

    fn block(&mut self, items: &[DraftId], place: Place) -> Result<Node, CompileError> {
        let scope = self.scopes.open(Some(place.scope));
        let mut emitted = Vec::with_capacity(items.len());
        for (index, &item) in items.iter().enumerate() {
            let tail = place.tail && index + 1 == items.len();
            emitted.push(self.node(item, Place { scope, tail, ..place })?);
        }
        let slots = self.slots(scope)?.unwrap_or(0);
        let items = extend(&mut self.program.lists, emitted);
        Ok(Node::Block(BlockId(push(&mut self.program.blocks, Block { items, slots }))))
    }

    fn lambda(
        &mut self,
        params: &[String],
        signature: Option<Signature>,
        body: DraftId,
        place: Place,
    ) -> Result<Node, CompileError> {
        let scope = self.scopes.open_function(place.scope, params);
        let body = self.node(body, Place { scope, tail: true, ..place })?;
        let slots = self.slots(scope)?.unwrap_or(0);
        let signature = signature.map(|signature| push(&mut self.program.signatures, signature));
        let lambda = Lambda { params: params.len() as u16, slots, signature, body };
        Ok(Node::Lambda(LambdaId(push(&mut self.program.lambdas, lambda))))
    }

    fn call(
        &mut self,
        procedure: DraftId,
        arguments: &[DraftId],
        draft: &Draft,
        place: Place,
    ) -> Result<CallId, CompileError> {
        let drafts = self.drafts;
        let first_name = |steps: &[DraftId]| match steps.first().map(|&step| &drafts.get(step).form) {
            Some(Form::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        let (name, bare) = match &drafts.get(procedure).form {
            Form::Variable(name) => (Some(name.as_str()), false),
            Form::Path { steps, .. } => {
                let name = first_name(steps);
                let known = name.is_some_and(|name| {
                    !self.scopes.places(place.scope, name).is_empty()
                        || Builtin::named(name, self.profile).is_some()
                        || self.names.slot(name).is_some()
                });
                (name, known)
            }
            _ => (None, false),
        };
        let name = name.map(|name| self.text(name));
        let procedure = self.node(procedure, place)?;
        let mut emitted = Vec::with_capacity(arguments.len());
        for &argument in arguments {
            emitted.push(self.node(argument, place)?);
        }
        let arguments = extend(&mut self.program.lists, emitted);
        let call = Call { procedure, direct: None, fold: None, arguments, name, bare, end: draft.end };
        Ok(CallId(push(&mut self.program.calls, call)))
    }

    fn members(
        &mut self,
        members: &[(DraftId, DraftId)],
        place: Place,
        rows: Option<&Rc<[String]>>,
    ) -> Result<Span, CompileError> {
        let mut emitted = Vec::with_capacity(members.len());
        for &(key, value) in members {
            let key = self.framed(key, place, rows)?;
            let value = self.framed(value, place, rows)?;
            emitted.push(Member { key, value });
        }
        Ok(extend(&mut self.program.members, emitted))
    }

    /// Whether the keys are constants that differ.
    fn has_constant_keys(&self, members: Span) -> bool {
        let mut keys: Vec<u32> = Vec::new();
        for member in &self.program.members[members.range()] {
            match self.program.node(member.key.node) {
                // Equal texts have the same number.
                Node::Text(text) if !keys.contains(&text.0) && keys.len() < 64 => keys.push(text.0),
                _ => return false,
            }
        }
        true
    }

    /// A draft in a frame with the row's bindings, if there are rows.
    fn framed(
        &mut self,
        id: DraftId,
        place: Place,
        rows: Option<&Rc<[String]>>,
    ) -> Result<Framed, CompileError> {
        match rows {
            None => Ok(Framed { node: self.node(id, place)?, slots: None }),
            Some(names) => {
                let scope = self.scopes.open_row(place.scope, names);
                let node = self.node(id, Place { scope, ..place })?;
                Ok(Framed { node, slots: self.slots(scope)? })
            }
        }
    }

    fn stages(
        &mut self,
        stages: &[DraftStage],
        place: Place,
        rows: Option<&Rc<[String]>>,
    ) -> Result<Span, CompileError> {
        let place = Place { context_is_top: false, ..place };
        let mut emitted = Vec::with_capacity(stages.len());
        for stage in stages {
            emitted.push(match stage {
                DraftStage::Filter(predicate) => Stage::Filter(self.framed(*predicate, place, rows)?),
                DraftStage::Index(name) => Stage::Index(column(rows, Some(name))),
            });
        }
        Ok(extend(&mut self.program.stages, emitted))
    }

    // ---- paths ----

    fn path(&mut self, id: DraftId, place: Place) -> Emitted {
        let draft = self.drafts.get(id);
        let single = [id];
        let (steps, keep_singleton) = match &draft.form {
            Form::Path { steps, keep_singleton } => (steps.as_slice(), *keep_singleton),
            _ => (single.as_slice(), false),
        };
        self.check_first_step(steps, place)?;
        let mut names = Vec::new();
        let streams = steps.iter().any(|&step| self.drafts.get(step).tuple);
        if streams {
            carried(self.drafts, steps, &mut names);
        }
        let names: Rc<[String]> = names.into();
        let Prefix { variable, steps: length } = prefix(self.drafts, steps);
        let later = Place { context_is_top: false, ..place };
        let (mut chain, mut taken, mut emitted) = (None, length, Vec::new());
        if length > 0 {
            let keys = &steps[usize::from(variable.is_some())..length];
            let states = variable == Some("states") && self.is_states(place.scope);
            // Of `$states.input.%` the parent is wanted, so that `$states` is built.
            let member = steps.get(1).map(|&step| self.drafts.get(step));
            match member.filter(|member| states && keys.is_empty() && member.ancestor.is_none()) {
                Some(Draft { form: Form::Name(name), end, tuple, .. }) => {
                    // `$states.input[0]`: the member is one step with its predicates, and nothing else is built.
                    let node = self.states_chain(&[name], *end)?;
                    let node = self.add(Node::Chain(node), *end);
                    emitted.push(self.step(steps[1], later, tuple.then_some(&names), Some(node))?);
                    taken = 2;
                }
                _ => chain = Some(self.chain(variable, keys, steps[0], place, states)?),
            }
        }
        let plain = taken == steps.len() && emitted.is_empty() && !keep_singleton && !draft.tuple;
        if let (Some(chain), true) = (chain, plain && draft.group.is_none() && !draft.keep_array) {
            return Ok(self.add(Node::Chain(chain), draft.end));
        }
        let mut in_stream = emitted.iter().any(|step: &Step| step.tuple);
        for (index, &step) in steps.iter().enumerate().skip(taken) {
            let draft = self.drafts.get(step);
            let sorts_items = !in_stream && matches!(draft.form, Form::Sort(_));
            in_stream |= draft.tuple;
            let rows = in_stream.then_some(&names);
            let place = if index == 0 { place } else { later };
            let mut emitted_step = self.step(step, place, rows, None)?;
            if let (Form::Sort(terms), true, true) = (&draft.form, sorts_items, draft.tuple) {
                // A sort at the start of the stream has items; only the following steps have rows.
                emitted_step.what = StepKind::Sort(self.terms(terms, later, None)?);
            }
            emitted.push(emitted_step);
        }
        let first_form = steps.first().map(|&step| &self.drafts.get(step).form);
        let path = Path {
            prefix: chain,
            steps: extend(&mut self.program.steps, emitted),
            keep_singleton,
            keep_array: draft.keep_array,
            tuple: draft.tuple,
            absolute: matches!(first_form, Some(Form::Variable(_))),
            schema: SchemaId(push(
                &mut self.program.schemas,
                names.iter().map(|name| name.as_str().into()).collect(),
            )),
            group: None,
            group_end: draft.group_end,
        };
        let path = PathId(push(&mut self.program.paths, path));
        if let Some(members) = &draft.group {
            let rows = streams.then_some(&names);
            let group = self.members(members, later, rows)?;
            self.program.paths[path.index()].group = Some(group);
        }
        Ok(self.add(Node::Path(path), draft.end))
    }

    /// AWS provides no context at the top level, so a path cannot begin with a bare name there.
    fn check_first_step(&self, steps: &[DraftId], place: Place) -> Result<(), CompileError> {
        let Some(first) = steps.first().map(|&step| self.drafts.get(step)) else { return Ok(()) };
        match &first.form {
            Form::Name(name) if place.context_is_top => {
                let message = format!("Reference to '{name}' at the top level is not supported.");
                Err(CompileError::unsupported(first.end as usize, name, message))
            }
            _ => Ok(()),
        }
    }

    fn is_states(&self, scope: ScopeId) -> bool {
        matches!(self.profile, Profile::StepFunctions(_)) && self.scopes.places(scope, "states").is_empty()
    }

    fn chain(
        &mut self,
        variable: Option<&'d str>,
        keys: &[DraftId],
        first: DraftId,
        place: Place,
        states: bool,
    ) -> Result<ChainId, CompileError> {
        let drafts = self.drafts;
        let key_names: Vec<&'d str> = keys
            .iter()
            .map(|&key| match &drafts.get(key).form {
                Form::Name(name) => name.as_str(),
                _ => "",
            })
            .collect();
        if states && !key_names.is_empty() {
            return self.states_chain(&key_names, drafts.get(keys[0]).end);
        }
        let root = match variable {
            None => ChainRoot::Context,
            Some(name) => ChainRoot::Node(self.variable(name, drafts.get(first).end, place)?),
        };
        Ok(self.add_chain(root, &key_names))
    }

    fn add_chain(&mut self, root: ChainRoot, names: &[&'d str]) -> ChainId {
        // Keys of one chain are contiguous, so they are not shared with other chains.
        let keys = extend(&mut self.program.keys, names.iter().map(|name| Key::new(name)).collect());
        for (at, name) in (keys.from..).zip(names) {
            self.keys.entry(name).or_insert(at);
        }
        ChainId(push(&mut self.program.chains, Chain { root, keys }))
    }

    /// A chain that begins with `$states`; `end` is the position of the first name.
    fn states_chain(&mut self, names: &[&'d str], end: u32) -> Result<ChainId, CompileError> {
        let allowed = match self.profile {
            Profile::StepFunctions(allowed) => allowed,
            Profile::Language => Allowed { result: true, error_output: true, no_token: false },
        };
        let missing = |name: &str| {
            let message = format!("Field '$states.{name}' does not exist.");
            Err(CompileError::unsupported(end as usize, name, message))
        };
        let (root, rest) = match names[0] {
            "input" => (ChainRoot::StatesInput, &names[1..]),
            "result" if !allowed.result => return missing("result"),
            "result" => (ChainRoot::StatesResult, &names[1..]),
            "errorOutput" if !allowed.error_output => return missing("errorOutput"),
            "errorOutput" => (ChainRoot::StatesErrorOutput, &names[1..]),
            "context" if allowed.no_token && names[1..].starts_with(&["Task", "Token"]) => {
                return missing("context.Task.Token");
            }
            "context" => {
                let (field, steps) = ContextField::resolve(names[1..].iter().copied());
                (ChainRoot::StatesContext(field), &names[1 + steps..])
            }
            name if matches!(self.profile, Profile::StepFunctions(_)) => return missing(name),
            _ => (ChainRoot::Nowhere, &names[1..]),
        };
        Ok(self.add_chain(root, rest))
    }

    fn step(
        &mut self,
        id: DraftId,
        place: Place,
        rows: Option<&Rc<[String]>>,
        ready: Option<NodeId>,
    ) -> Result<Step, CompileError> {
        let draft = self.drafts.get(id);
        let what = match (&draft.form, ready) {
            (Form::Sort(terms), _) => StepKind::Sort(self.terms(terms, place, rows)?),
            (_, Some(node)) => StepKind::Eval(Framed { node, slots: rows.map(|names| names.len() as u16) }),
            (Form::Path { .. }, _) => StepKind::Eval(self.framed(id, place, rows)?),
            _ => StepKind::Eval(self.framed_step(id, place, rows)?),
        };
        Ok(Step {
            what,
            stages: self.stages(&draft.stages, place, rows)?,
            tuple: draft.tuple,
            cons_array: draft.cons_array,
            focus: column(rows, draft.focus.as_deref()),
            index: column(rows, draft.index.as_deref()),
            ancestor: column(rows, draft.ancestor.map(|ancestor| self.drafts.label(ancestor)).as_deref()),
        })
    }

    fn terms(
        &mut self,
        terms: &[(DraftId, bool)],
        place: Place,
        rows: Option<&Rc<[String]>>,
    ) -> Result<Span, CompileError> {
        let mut emitted = Vec::with_capacity(terms.len());
        for &(key, descending) in terms {
            let key = self.framed(key, Place { context_is_top: false, ..place }, rows)?;
            emitted.push(Term { key, descending });
        }
        Ok(extend(&mut self.program.terms, emitted))
    }

    fn framed_step(
        &mut self,
        id: DraftId,
        place: Place,
        rows: Option<&Rc<[String]>>,
    ) -> Result<Framed, CompileError> {
        let draft = self.drafts.get(id);
        match &draft.form {
            // Whether one member stays an array is decided for the whole path.
            Form::Name(_) => {
                let node = self.bare(id, place)?;
                Ok(Framed { node, slots: rows.map(|names| names.len() as u16) })
            }
            _ => self.framed(id, place, rows),
        }
    }

    // ---- variables ----

    fn variable(&mut self, name: &'d str, end: u32, place: Place) -> Emitted {
        let refused = |name: &str, message: &str| {
            Err(CompileError::unsupported(end as usize, name, message.to_owned()))
        };
        match (name, self.profile) {
            ("", Profile::StepFunctions(_)) if place.context_is_top => {
                return refused("$", "Reference to '$' at the top level is not supported.");
            }
            ("$", Profile::StepFunctions(_)) => return refused("$$", "Reference to '$$' is not supported."),
            ("", _) => return Ok(self.add(Node::Input, end)),
            ("$", _) => return Ok(self.add(Node::Root, end)),
            _ => {}
        }
        let node = self.add(Node::Undefined, end);
        self.pending.push((node, name.into(), place.scope));
        Ok(node)
    }

    /// The node for a variable that may be bound at `places`.
    fn found(&mut self, places: &[(usize, usize, bool)], slot: Option<Slot>, otherwise: Node) -> Node {
        match places {
            [] if slot.is_none() => otherwise,
            &[(hops, slot, true), ..] => Node::Local { hops: hops as u16, slot: slot as u16 },
            _ => {
                let places = places.iter().map(|&(hops, slot, _)| (hops as u16, slot as u16)).collect();
                let otherwise = self.add(otherwise, 0);
                let variable = Variable { places: extend(&mut self.program.places, places), slot, otherwise };
                Node::Variable(VariableId(push(&mut self.program.variables, variable)))
            }
        }
    }

    /// Resolves all variables, when the names of every scope are known.
    fn resolve(&mut self) -> Result<(), CompileError> {
        for (node, name, scope) in std::mem::take(&mut self.pending) {
            let places = self.scopes.places(scope, &name);
            if places.iter().any(|&(hops, ..)| hops > u16::MAX as usize) {
                return Err(CompileError::new(
                    "S0201",
                    0,
                    None,
                    "Too many functions in one expression".into(),
                ));
            }
            let (special, has_result) = match self.profile {
                Profile::StepFunctions(allowed) => (name == "states", allowed.result),
                _ => (false, false),
            };
            let slot = if special || name.starts_with('!') { None } else { self.names.slot(&name) };
            let otherwise = match Builtin::named(&name, self.profile) {
                _ if special => Node::States { has_result },
                Some(builtin) => Node::Builtin(builtin),
                None => Node::Undefined,
            };
            self.program.nodes[node.index()] = self.found(&places, slot, otherwise);
        }
        for at in 0..self.program.calls.len() {
            let call = self.program.calls[at];
            if let Node::Builtin(builtin) = self.program.node(call.procedure) {
                self.program.calls[at].direct = Some(builtin);
                self.program.calls[at].fold = self.folds(builtin, call.arguments).then_some(builtin);
            }
        }
        Ok(())
    }

    /// Whether the function can fold the items of its argument without an array of them.
    fn folds(&self, builtin: Builtin, arguments: Span) -> bool {
        let [argument] = self.program.lists[arguments.range()] else { return false };
        let plain = match self.program.node(argument) {
            Node::Chain(_) => true,
            Node::Path(path) => {
                let path = &self.program.paths[path.index()];
                let steps = &self.program.steps[path.steps.range()];
                let kept = path.keep_singleton || path.keep_array || path.tuple || path.group.is_some();
                !kept && !steps.iter().any(|step| step.tuple)
            }
            _ => false,
        };
        plain && builtin.is_fold()
    }
}

/// The column of a carried name in a row: the item comes first. 0 without a name.
fn column(rows: Option<&Rc<[String]>>, name: Option<&str>) -> u16 {
    match (rows, name) {
        (Some(rows), Some(name)) => rows.iter().position(|known| known == name).map_or(0, |at| at as u16 + 1),
        _ => 0,
    }
}
