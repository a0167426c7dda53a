//! Definitions with very many problems.

use expressway::{asl, limits};

/// Each suggestion costs a comparison with all names of AWS's services.
#[test]
fn suggestions_for_resources_are_bounded() {
    let task = |n: usize| {
        format!(
            r#""t{n}": {{"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:dynamodbb{n}:getItem", "End": true}}"#
        )
    };
    let tasks: Vec<String> = (0..2 * limits::SUGGESTIONS_MAX).map(task).collect();
    let text = format!(r#"{{"StartAt": "t0", "States": {{{}}}}}"#, tasks.join(","));
    let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
    assert!(definition.is_none() && problems.len() >= tasks.len(), "{}", problems.len());
    let suggestions = problems.iter().filter(|problem| problem.suggestion.is_some()).count();
    assert_eq!(suggestions, limits::SUGGESTIONS_MAX);
}
