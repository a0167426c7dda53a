//! The steps of a state's processing, as a listener may see them.

use crate::fault::Fault;
use crate::json::Value;

/// A value, or a number, at a step of a state's processing. Listeners may ignore it; it is formed only when a listener
/// wants it.
#[derive(Clone, Copy, Debug)]
pub enum Step<'s> {
    /// The input after `InputPath`.
    InputPath(Value),
    /// The input after `Parameters` or `Arguments`.
    Parameters(Value),
    /// The state's result, before any selection.
    Result(Value),
    /// The result after `ResultSelector`.
    ResultSelector(Value),
    /// The result and the input, combined by `ResultPath`.
    ResultPath(Value),
    /// The items of a Map.
    Items(Value),
    /// The input of the next iteration, after `ItemSelector`.
    Item(Value),
    /// The effective `MaxConcurrency`; 0 is no limit.
    MaxConcurrency(u64),
    /// `ToleratedFailureCount`
    ToleratedFailureCount(u64),
    /// `ToleratedFailurePercentage`
    ToleratedFailurePercentage(f64),
    /// The state failed; retriers and catchers come next.
    Failed(&'s Fault),
    /// The retrier that matches, by its index, and the delay before the next attempt, unless its attempts are used up.
    Retry(usize, Option<u64>),
    /// The catcher that matches, by its index.
    Catch(usize),
}
