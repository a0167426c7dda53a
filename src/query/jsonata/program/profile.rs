//! The dialects of expressions.

/// The dialect of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// JSONata 2.0.6 itself: `$` and `$$` are the input, names stand for its members.
    Language,
    /// As AWS Step Functions runs it: no context at the top level, `$states`, additional functions, no `$eval`.
    StepFunctions(Allowed),
}

/// Which parts of `$states` the field may use (developer guide, "Transforming data with JSONata").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `$states.result`: the `Output` and `Assign` of Task, Parallel and Map.
    pub result: bool,
    /// `$states.errorOutput`: the `Output` and `Assign` of a Catcher.
    pub error_output: bool,
    /// No `$states.context.Task.Token`: not a task that waits for one (measured: AWS refuses it elsewhere).
    pub no_token: bool,
}
