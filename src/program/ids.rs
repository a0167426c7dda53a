//! Ids of the rows of a program's tables.

use crate::index::ids;

ids! {
    /// A state.
    StateId;
    /// A workflow: the machine itself, a branch of a Parallel, the processor of a Map.
    WorkflowId;
    /// A [`Path`](crate::query::path::Path).
    PathId;
    /// A [`ReferencePath`](crate::query::path::ReferencePath).
    ReferenceId;
    /// A [`Template`](crate::query::template::Template).
    TemplateId;
    /// An [`Assign`](super::Assign).
    AssignId;
    /// The [`Recovery`](super::Recovery) of a state.
    RecoveryId;
    /// A [`Choice`](super::Choice).
    ChoiceId;
    /// A [`Wait`](super::Wait).
    WaitId;
    /// A [`Fail`](super::Fail).
    FailId;
    /// A [`Task`](super::Task).
    TaskId;
    /// A [`Parallel`](super::Parallel).
    ParallelId;
    /// A [`Map`](super::Map).
    MapId;
}
