//! What each action does on this node.

use super::call::Call;
use super::read::Fields;
use super::request::Action;
use super::{activities, definitions, executions, machines, map_runs};
use crate::service::{Error, Service};

/// Does an action on this node.
pub(super) async fn act(
    service: &Service,
    action: Action,
    call: Call<'_>,
    fields: Fields<'_>,
) -> Result<Vec<u8>, Error> {
    match action {
        Action::CreateActivity => activities::create(service, fields),
        Action::CreateStateMachine => machines::create(service, fields),
        Action::CreateStateMachineAlias => machines::create_alias(service, fields),
        Action::DeleteActivity => activities::delete(service, fields),
        Action::DeleteStateMachine => machines::delete(service, fields),
        Action::DeleteStateMachineAlias => machines::delete_alias(service, fields),
        Action::DeleteStateMachineVersion => machines::delete_version(service, fields),
        Action::DescribeActivity => activities::describe(service, fields),
        Action::DescribeExecution => executions::describe(service, fields).await,
        Action::DescribeMapRun => map_runs::describe(service, fields),
        Action::DescribeStateMachine => machines::describe(service, fields),
        Action::DescribeStateMachineAlias => machines::describe_alias(service, fields),
        Action::DescribeStateMachineForExecution => machines::describe_for_execution(service, fields).await,
        Action::GetActivityTask => activities::task(service, fields).await,
        Action::GetExecutionHistory => executions::history(service, fields).await,
        Action::ListActivities => activities::list(service, fields),
        Action::ListExecutions => executions::list(service, fields).await,
        Action::ListMapRuns => map_runs::list(service, fields),
        Action::ListStateMachineAliases => machines::list_aliases(service, fields),
        Action::ListStateMachineVersions => machines::list_versions(service, fields),
        Action::ListStateMachines => machines::list(service, fields),
        Action::ListTagsForResource => machines::list_tags(service, fields),
        Action::PublishStateMachineVersion => machines::publish(service, fields),
        Action::RedriveExecution => executions::redrive(service, fields).await,
        Action::SendTaskFailure => activities::failure(service, fields).await,
        Action::SendTaskHeartbeat => activities::heartbeat(service, fields),
        Action::SendTaskSuccess => activities::success(service, fields).await,
        Action::StartExecution => executions::start(service, fields, call.trace_header).await,
        Action::StartSyncExecution => executions::start_sync(service, fields, call.trace_header).await,
        Action::StopExecution => executions::stop(service, fields).await,
        Action::TagResource => machines::tag(service, fields),
        Action::UntagResource => machines::untag(service, fields),
        Action::UpdateMapRun => map_runs::update(service, fields),
        Action::UpdateStateMachine => machines::update(service, fields),
        Action::UpdateStateMachineAlias => machines::update_alias(service, fields),
        Action::TestState => definitions::test_state(service, fields).await,
        Action::ValidateStateMachineDefinition => definitions::validate(service, fields),
    }
}
