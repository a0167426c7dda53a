//! Calling functions: built-in ones, definitions and their closures, partial applications, chains, matchers.

use super::*;
use crate::json::Mark;
use crate::query::jsonata::syntax::Signature;
use crate::query::pattern::Spans;

/// Arguments on the stack, from a mark to its top.
pub(in crate::query::jsonata) type Arguments = Mark;

/// Adds the name of a built-in function that is not called by a name: `x ~> $sum`, `$map(x, $sum)`.
#[cold]
fn in_builtin(mut error: Failure, function: Value) -> Failure {
    if let (Some(_), None, Some(builtin)) =
        (error.code, &error.token, function.opaque_id().and_then(Builtin::at))
    {
        error.message = error.message.replacen(error::NAME, builtin.name(), 1);
        error.token = Some(builtin.name().to_owned());
    }
    error
}

impl Eval<'_> {
    /// A call; `applied` is the left side of `~>`, which comes first.
    pub(super) fn call(&mut self, id: CallId, applied: Option<Value>, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let call = &program.calls[id.index()];
        if let (Some(fold), None) = (call.fold, applied) {
            return self.fold_call(fold, id, input, frame);
        }
        let procedure = self.procedure(call, input, frame)?;
        let from = self.arena.begin();
        if let Some(applied) = applied {
            self.arena.push(applied);
        }
        for &argument in &program.lists[call.arguments.range()] {
            let value = self.eval(argument, input, frame)?;
            self.arena.push(value);
        }
        let value = self.apply(procedure, from, input, frame);
        self.arena.cancel(from);
        value.map_err(|error| self.in_call(error, id))
    }

    /// `$sum` and similar functions over a path: the items are folded in place, without an array.
    fn fold_call(&mut self, fold: Builtin, id: CallId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let call = &program.calls[id.index()];
        let argument = program.lists[call.arguments.range().start];
        if self.depth >= self.limits.depth || self.nesting >= limits::JSONATA_NESTING_MAX {
            return Err(self.stack_overflow());
        }
        let from = self.arena.begin();
        self.depth += 1;
        self.nesting += 1;
        let items = self.argument_items(argument, input, frame, from)?;
        self.nesting -= 1;
        self.depth -= 1;
        if let path::Items::Stack(first, last) = items
            && last - first > 1
        {
            self.work(last - first)?;
            let numbers = &self.arena.pushed(from)[first..last];
            if let Some(result) = fold.fold(self.arena, numbers) {
                self.arena.cancel(from);
                return Ok(self.number(result));
            }
        }
        let value = self.value_of(items, from)?;
        let from = self.arena.begin();
        self.arena.push(value);
        let value = self.apply(Value::opaque(fold as u32), from, input, frame);
        self.arena.cancel(from);
        value.map_err(|error| self.in_call(error, id))
    }

    /// The function of a call.
    fn procedure(&mut self, call: &Call, input: Value, frame: Frame) -> Outcome {
        match call.direct {
            Some(builtin) => Ok(Value::opaque(builtin as u32)),
            None => {
                let value = self.eval(call.procedure, input, frame)?;
                if value.is_undefined() && call.bare {
                    return Err(self.did_you_mean("T1005", "invoke", call));
                }
                Ok(value)
            }
        }
    }

    #[cold]
    fn did_you_mean(&self, code: &'static str, verb: &str, call: &Call) -> Failure {
        let name = call.name.map_or("", |name| &self.program.texts[name.index()]);
        let message = format!("Attempted to {verb} a non-function. Did you mean ${name}?");
        let mut error = EvalError::new(code, message);
        error.position = Some(call.end as usize);
        error.token = Some(name.to_owned());
        Failure::new(error)
    }

    /// Adds the position and the function's name to an error without them.
    #[cold]
    fn in_call(&self, mut error: Failure, id: CallId) -> Failure {
        let call = &self.program.calls[id.index()];
        if error.code.is_some() {
            if error.position.is_none() {
                error.position = Some(call.end as usize);
            }
            if error.token.is_none() {
                let name = call.name.map(|name| self.program.texts[name.index()].to_string());
                if let Some(name) = &name {
                    error.message = error.message.replacen(error::NAME, name, 1);
                }
                error.token = name;
            }
        }
        error
    }

    /// Leaves the function and its arguments for the loop in `apply`.
    pub(super) fn tail_call(&mut self, id: CallId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let call = &program.calls[id.index()];
        // The reference evaluates these where the function was called.
        let depth = std::mem::replace(&mut self.depth, self.tail_depth);
        let procedure = self.procedure(call, input, frame)?;
        for &argument in &program.lists[call.arguments.range()] {
            let value = self.eval(argument, input, frame)?;
            self.arena.push(value);
        }
        self.depth = depth;
        self.tail = (procedure, call.arguments.range().len() as u32);
        self.tail_call = id;
        Ok(TAIL)
    }

    /// Applies a function to the arguments pushed since `from`. They stay on the stack or are replaced; the caller
    /// removes them.
    pub(in crate::query::jsonata) fn apply(
        &mut self,
        function: Value,
        from: Arguments,
        input: Value,
        frame: Frame,
    ) -> Outcome {
        if self.nesting >= limits::JSONATA_NESTING_MAX {
            return Err(self.stack_overflow());
        }
        self.nesting += 1;
        let value = self.apply_loop(function, from, input, frame);
        self.nesting -= 1;
        value
    }

    fn apply_loop(&mut self, mut function: Value, from: Arguments, input: Value, frame: Frame) -> Outcome {
        // The position of an error in a tail call.
        let mut place = None;
        let since = self.since();
        loop {
            let result = self.apply_once(function, from, input, frame);
            let value = match (result, place) {
                (Err(error), Some(call)) => return Err(self.in_call(error, call)),
                (Err(error), None) => return Err(error),
                (Ok(value), _) => value,
            };
            if value.opaque_id() != TAIL.opaque_id() {
                return Ok(value);
            }
            self.work(1)?;
            function = self.tail.0;
            place = Some(self.tail_call);
            let (count, total) = (self.tail.1 as usize, self.arena.pushed(from).len());
            self.move_down(from, total - count, total);
            self.reclaim(since, &mut [])?;
        }
    }

    /// One application; the value may be `TAIL`.
    fn apply_once(&mut self, function: Value, from: Arguments, input: Value, frame: Frame) -> Outcome {
        let Some(id) = function.opaque_id() else { return Err(not_a_function()) };
        if let Some(builtin) = Builtin::at(id) {
            self.charge(builtin.work())?;
            let args = self.validated(builtin, from, input)?;
            return match builtin {
                Builtin::Zip => Builtin::zip(self, from),
                _ => builtin.call(self, args, frame),
            };
        }
        if id < LAMBDAS {
            return self.match_from(RegexId(id - REGEXES), from);
        }
        match self.scratch.functions.get((id - LAMBDAS) as usize).cloned() {
            None => Err(not_a_function()),
            Some(Function::Lambda { lambda, input: outer, frame: closure }) => {
                self.apply_lambda(lambda, from, input, outer, closure)
            }
            Some(Function::Partial { function, arguments }) => {
                self.fill_in(arguments, from);
                self.apply(function, from, input, frame)
            }
            Some(Function::Chain(first, second)) => {
                let value = self.apply(first, from, input, frame)?;
                self.arena.cancel(from);
                self.arena.push(value);
                self.apply(second, from, input, frame)
            }
            Some(Function::Transform { transform, frame }) => {
                let signature = const {
                    match Signature::parse(b"<(oa):o>") {
                        Ok(signature) => signature,
                        Err(_) => panic!("the transform's signature is wrong"),
                    }
                };
                self.validate(&signature, from, input)?;
                let object = self.argument(from, 0);
                self.transform(transform, object, frame)
            }
            Some(Function::NextMatch { regex, text, from: at }) => self.next_match(regex, text, at as usize),
        }
    }

    fn apply_lambda(
        &mut self,
        lambda: LambdaId,
        from: Arguments,
        context: Value,
        input: Value,
        closure: Frame,
    ) -> Outcome {
        let program = self.program;
        let lambda = &program.lambdas[lambda.index()];
        if let Some(signature) = lambda.signature {
            self.validate(&program.signatures[signature as usize], from, context)?;
        }
        let functions = self.scratch.functions.len();
        let inner = self.push_frame(closure, lambda.slots);
        for slot in 0..lambda.params as usize {
            let value = self.argument(from, slot);
            self.set_slot(inner, slot, value);
        }
        let outer = std::mem::replace(&mut self.tail_depth, self.depth);
        let value = self.eval(lambda.body, input, inner)?;
        self.tail_depth = outer;
        if self.scratch.functions.len() > functions && !value.is_container() && value.kind() != Kind::Opaque {
            // Functions made inside are unreachable now.
            self.scratch.functions.truncate(functions);
        }
        self.pop_frame(inner, functions);
        Ok(value)
    }

    /// Argument `index` on the stack.
    pub(in crate::query::jsonata) fn argument(&self, from: Arguments, index: usize) -> Value {
        self.arena.pushed(from).get(index).copied().unwrap_or(Value::UNDEFINED)
    }

    /// Fills the gaps of a partial application with the arguments on the stack.
    fn fill_in(&mut self, arguments: Value, from: Arguments) {
        let given = self.arena.pushed(from).len();
        let mut next = 0;
        for index in 0..arguments.len() {
            let mut value = self.item_of(arguments, index);
            if value.opaque_id() == UNBOUND.opaque_id() {
                value = if next < given { self.arena.pushed(from)[next] } else { Value::UNDEFINED };
                next += 1;
            }
            self.arena.push(value);
        }
        let end = self.arena.pushed(from).len();
        self.move_down(from, given, end);
    }

    /// A partial application.
    pub(super) fn partial(&mut self, id: CallId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let call = &program.calls[id.index()];
        let from = self.arena.begin();
        for &argument in &program.lists[call.arguments.range()] {
            let value = match program.node(argument) {
                Node::Placeholder => UNBOUND,
                _ => self.eval(argument, input, frame)?,
            };
            self.arena.push(value);
        }
        let function = match call.direct {
            Some(builtin) => self.builtin(builtin),
            None => self.eval(call.procedure, input, frame)?,
        };
        if function.is_undefined() && call.bare {
            return Err(self.did_you_mean("T1007", "partially apply", call));
        }
        if !self.is_function(function) {
            let mut error = EvalError::new("T1008", "Attempted to partially apply a non-function".to_owned());
            error.position = Some(call.end as usize);
            error.token = call.name.map(|name| program.texts[name.index()].to_string());
            return Err(Failure::new(error));
        }
        let arguments = self.end_array(from, 0)?;
        Ok(self.function(Function::Partial { function, arguments }))
    }

    /// `left ~> right`.
    pub(super) fn apply_operator(
        &mut self,
        node: NodeId,
        (left, right): (NodeId, NodeId),
        input: Value,
        frame: Frame,
    ) -> Outcome {
        let value = self.eval(left, input, frame)?;
        let call = match self.program.node(right) {
            Node::Call(call) => Some(call),
            Node::Wrap(wrap) => match self.program.node(self.program.wraps[wrap.index()].inner) {
                Node::Call(call) => Some(call),
                _ => None,
            },
            _ => None,
        };
        if let Some(call) = call {
            return self.call(call, Some(value), input, frame);
        }
        let function = self.eval(right, input, frame)?;
        if !self.is_function(function) {
            let message =
                "The right side of the function application operator ~> must be a function".to_owned();
            return Err(self.raise(node, "T2006", "~>", message));
        }
        if self.is_function(value) {
            return Ok(self.function(Function::Chain(value, function)));
        }
        let from = self.arena.begin();
        self.arena.push(value);
        let result = self.apply(function, from, Value::NULL, frame);
        self.arena.cancel(from);
        result.map_err(|error| in_builtin(error, function))
    }

    /// How many arguments a higher-order function passes.
    pub(in crate::query::jsonata) fn arity(&self, function: Value) -> usize {
        let Some(id) = function.opaque_id() else { return 0 };
        if let Some(builtin) = Builtin::at(id) {
            return builtin.arity();
        }
        if id < LAMBDAS {
            return 2;
        }
        match self.scratch.functions.get((id - LAMBDAS) as usize) {
            Some(Function::Lambda { lambda, .. }) => self.program.lambdas[lambda.index()].params as usize,
            Some(Function::Partial { arguments, .. }) => {
                let gap = |value: &&Value| value.opaque_id() == UNBOUND.opaque_id();
                self.arena.items(*arguments).iter().filter(gap).count()
            }
            Some(Function::Chain(..) | Function::Transform { .. }) => 1,
            Some(Function::NextMatch { .. }) | None => 0,
        }
    }

    /// Calls `function` with as many of `arguments` as it takes, at least the first.
    pub(in crate::query::jsonata) fn call_with(
        &mut self,
        function: Value,
        arity: usize,
        arguments: &[Value],
        frame: Frame,
    ) -> Outcome {
        let from = self.arena.begin();
        for &argument in &arguments[..arity.clamp(1, arguments.len())] {
            self.arena.push(argument);
        }
        let value = self.apply(function, from, Value::NULL, frame);
        self.arena.cancel(from);
        value.map_err(|error| in_builtin(error, function))
    }

    // ---- matchers ----

    /// The compiled expression, if the function is one.
    pub(in crate::query::jsonata) fn regex_of(&self, function: Value) -> Option<RegexId> {
        function.opaque_id().filter(|id| (REGEXES..LAMBDAS).contains(id)).map(|id| RegexId(id - REGEXES))
    }

    /// A regular expression called as a function: with a text, and a start.
    fn match_from(&mut self, regex: RegexId, from: Arguments) -> Outcome {
        let text = self.argument(from, 0);
        if !text.is_string() {
            return Ok(Value::UNDEFINED);
        }
        let start = self.arena.as_f64(self.argument(from, 1)).unwrap_or(0.0).max(0.0).trunc();
        match self.byte_of_utf16(self.arena.str(text), start)? {
            Some(at) => self.match_at(regex, text, at),
            None => Ok(Value::UNDEFINED),
        }
    }

    fn next_match(&mut self, regex: RegexId, text: Value, at: usize) -> Outcome {
        if at >= text.len() {
            return Ok(Value::UNDEFINED);
        }
        let found = self.match_at(regex, text, at)?;
        if self.arena.get_str(found, "match").is_some_and(|text| text.is_empty()) {
            return Err(empty_match());
        }
        Ok(found)
    }

    /// The groups of the first match from byte `at`.
    pub(in crate::query::jsonata) fn search(
        &self,
        regex: RegexId,
        text: &str,
        at: usize,
    ) -> Outcome<Option<Spans>> {
        // What it holds counts as the evaluation's, though it is not in the arena.
        let room = |bytes| {
            let held = self.arena.bytes().saturating_add(bytes);
            if held > self.bytes_max { Err(self.out_of_memory()) } else { Ok(()) }
        };
        self.program.regexes[regex.index()].search(text, at, |work| self.charge(work), room)
    }

    /// The first match from byte `at`, as an object.
    fn match_at(&mut self, regex: RegexId, text: Value, at: usize) -> Outcome {
        let source = self.arena.str(text);
        let Some(spans) = self.search(regex, source, at)? else { return Ok(Value::UNDEFINED) };
        let (start, end) = spans.first().copied().flatten().unwrap_or((at, at));
        let utf16 = |to: usize| Ok(self.utf16_len(&source[..to])? as i64);
        let places = (utf16(start)?, utf16(end)?);
        let out = self.arena.begin();
        let matched = self.arena.substring(text, start, end);
        self.push_member("match", matched)?;
        self.push_member("start", Value::int(places.0))?;
        self.push_member("end", Value::int(places.1))?;
        let groups = self.arena.begin();
        for group in &spans[1..] {
            let group = group.map_or(Value::UNDEFINED, |(start, end)| self.arena.substring(text, start, end));
            self.odd |= group.is_undefined();
            self.arena.push(group);
        }
        let groups = self.end_array(groups, 0)?;
        self.push_member("groups", groups)?;
        let next = self.function(Function::NextMatch { regex, text, from: end as u32 });
        self.push_member("next", next)?;
        self.end_object(out)
    }

    /// Pushes a key and a value.
    pub(in crate::query::jsonata) fn push_member(&mut self, key: &str, value: Value) -> Outcome<()> {
        let key = self.string(key)?;
        self.arena.push(key);
        self.arena.push(value);
        Ok(())
    }
}

#[cold]
fn not_a_function() -> Failure {
    Failure::new(EvalError::new("T1006", "Attempted to invoke a non-function".to_owned()))
}

/// A regular expression that matches the empty text would match for ever.
#[cold]
pub(in crate::query::jsonata) fn empty_match() -> Failure {
    Failure::new(EvalError::new("D1004", "Regular expression matches zero length string".to_owned()))
}
