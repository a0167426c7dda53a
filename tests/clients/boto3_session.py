"""Every operation through boto3, unmodified: only the environment says where the server is.

usage: boto3_session.py   (with AWS_ENDPOINT_URL_SFN and the rest of `expressway env`)
"""

import json
import os
import sys
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shapes import Watcher

ROLE = "arn:aws:iam::123456789012:role/clients"
verify = os.environ.get("EXPRESSWAY_CA") or None
client = boto3.client("stepfunctions", verify=verify, config=Config(retries={"max_attempts": 1}, read_timeout=90))
watcher = Watcher(client)


def fails(error, call, **arguments):
    try:
        answer = call(**arguments)
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        assert code in error, f"{code} ({refused}) instead of {error}"
        return refused
    raise AssertionError(f"{error} expected, not {answer}")


def until(ask, what):
    """Asks until there is an answer; the server has as long as a slow machine may need."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"no {what} after a minute")


def ended(arn):
    def ask():
        execution = client.describe_execution(executionArn=arn)
        return execution if execution["status"] != "RUNNING" else None

    return until(ask, "end")


def express():
    definition = json.dumps({
        "StartAt": "Kind",
        "States": {
            "Kind": {"Type": "Choice", "Default": "Bad", "Choices": [
                {"Variable": "$.ok", "BooleanEquals": True, "Next": "Good"}]},
            "Good": {"Type": "Pass", "Parameters": {"id.$": "$.id", "done": True}, "End": True},
            "Bad": {"Type": "Fail", "Error": "Order.Bad", "Cause": "not ok"},
        },
    })
    valid = client.validate_state_machine_definition(definition=definition, type="EXPRESS")
    assert valid["result"] == "OK" and valid["diagnostics"] == [], valid
    bad = client.validate_state_machine_definition(definition='{"StartAt": "A", "States": {}}', type="EXPRESS")
    assert bad["result"] == "FAIL" and bad["diagnostics"], bad
    arn = client.create_state_machine(
        name="boto3-express", definition=definition, roleArn=ROLE, type="EXPRESS",
        tags=[{"key": "team", "value": "orders"}])["stateMachineArn"]
    good = client.start_sync_execution(stateMachineArn=arn, name="one", input='{"ok": true, "id": "ä"}')
    assert good["status"] == "SUCCEEDED" and json.loads(good["output"]) == {"id": "ä", "done": True}, good
    assert good["startDate"] <= good["stopDate"] and good["name"] == "one", good
    assert good["billingDetails"]["billedMemoryUsedInMB"] == 64, good
    wrong = client.start_sync_execution(stateMachineArn=arn, input='{"ok": false}')
    assert (wrong["status"], wrong["error"], wrong["cause"]) == ("FAILED", "Order.Bad", "not ok"), wrong
    assert client.start_execution(stateMachineArn=arn, input="{}")["executionArn"].startswith("arn:aws:states:")
    fails(["InvalidExecutionInput"], client.start_sync_execution, stateMachineArn=arn, input="{")
    fails(["InvalidDefinition"], client.create_state_machine, name="broken", definition="{", roleArn=ROLE)
    fails(["StateMachineDoesNotExist"], client.start_sync_execution, stateMachineArn=arn + "-not")
    fails(["InvalidArn"], client.describe_state_machine, stateMachineArn="orders")
    fails(["StateMachineTypeNotSupported"], client.list_executions, stateMachineArn=arn)
    listed = client.list_tags_for_resource(resourceArn=arn)["tags"]
    assert listed == [{"key": "team", "value": "orders"}], listed
    client.tag_resource(resourceArn=arn, tags=[{"key": "stage", "value": "test"}])
    client.untag_resource(resourceArn=arn, tagKeys=["team"])
    listed = client.list_tags_for_resource(resourceArn=arn)["tags"]
    assert listed == [{"key": "stage", "value": "test"}], listed
    state = client.test_state(
        definition='{"Type": "Pass", "Result": {"n": 1}, "End": true}', roleArn=ROLE, input="{}", inspectionLevel="DEBUG")
    assert state["status"] == "SUCCEEDED" and json.loads(state["output"]) == {"n": 1}, state
    versions(arn)
    client.delete_state_machine(stateMachineArn=arn)


def versions(arn):
    def answer(which):
        return json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": which, "End": True}}})

    client.update_state_machine(stateMachineArn=arn, definition=answer("one"))
    one = client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
    two = client.update_state_machine(
        stateMachineArn=arn, definition=answer("two"), publish=True)["stateMachineVersionArn"]
    listed = [it["stateMachineVersionArn"] for it in
              client.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]]
    assert listed == [two, one], listed
    alias = client.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": one, "weight": 100}])["stateMachineAliasArn"]
    assert json.loads(client.start_sync_execution(stateMachineArn=alias)["output"]) == "one"
    shift = [{"stateMachineVersionArn": one, "weight": 50}, {"stateMachineVersionArn": two, "weight": 50}]
    client.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=shift)
    seen = {json.loads(client.start_sync_execution(stateMachineArn=alias)["output"]) for _ in range(64)}
    assert seen == {"one", "two"}, seen
    client.update_state_machine_alias(
        stateMachineAliasArn=alias, routingConfiguration=[{"stateMachineVersionArn": two, "weight": 100}])
    assert json.loads(client.start_sync_execution(stateMachineArn=alias)["output"]) == "two"
    described = client.describe_state_machine_alias(stateMachineAliasArn=alias)
    assert described["routingConfiguration"] == [{"stateMachineVersionArn": two, "weight": 100}], described
    assert len(client.list_state_machine_aliases(stateMachineArn=arn)["stateMachineAliases"]) == 1
    fails(["ConflictException"], client.delete_state_machine_version, stateMachineVersionArn=two)
    client.delete_state_machine_alias(stateMachineAliasArn=alias)
    client.delete_state_machine_version(stateMachineVersionArn=one)


def standard():
    activity = client.create_activity(name="boto3-work")["activityArn"]
    assert client.describe_activity(activityArn=activity)["name"] == "boto3-work"
    assert activity in [it["activityArn"] for it in client.list_activities()["activities"]]
    definition = json.dumps({
        "StartAt": "Work",
        "States": {"Work": {"Type": "Task", "Resource": activity, "HeartbeatSeconds": 60, "End": True}},
    })
    arn = client.create_state_machine(name="boto3-standard", definition=definition, roleArn=ROLE)["stateMachineArn"]
    assert client.describe_state_machine(stateMachineArn=arn)["type"] == "STANDARD"
    assert arn in [it["stateMachineArn"] for it in client.list_state_machines()["stateMachines"]]
    fails(["StateMachineTypeNotSupported"], client.start_sync_execution, stateMachineArn=arn)
    for outcome in ("success", "failure"):
        execution = client.start_execution(stateMachineArn=arn, name=outcome, input='{"n": 1}')["executionArn"]
        again = client.start_execution(stateMachineArn=arn, name=outcome, input='{"n": 1}')["executionArn"]
        assert again == execution, "the same name and input are the same execution"
        # Only now: a worker could otherwise end the execution before it is started again.
        worker = threading.Thread(target=work, args=(activity, outcome))
        worker.start()
        status = ended(execution)
        expected = "SUCCEEDED" if outcome == "success" else "FAILED"
        assert status["status"] == expected, status
        worker.join()
    history = client.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=2)
    assert [event["type"] for event in history["events"]] == ["ExecutionFailed", "ActivityFailed"], history
    assert "nextToken" in history, history
    assert client.describe_state_machine_for_execution(executionArn=execution)["name"] == "boto3-standard"
    left = client.start_execution(stateMachineArn=arn, name="left")["executionArn"]
    client.stop_execution(executionArn=left, error="Enough", cause="of this")
    status = ended(left)
    assert (status["status"], status["error"]) == ("ABORTED", "Enough"), status
    listed = client.list_executions(stateMachineArn=arn, statusFilter="SUCCEEDED")["executions"]
    assert [it["name"] for it in listed] == ["success"], listed
    fails(["TaskDoesNotExist", "InvalidToken", "TaskTimedOut"], client.send_task_success, taskToken="x", output="{}")
    client.delete_state_machine(stateMachineArn=arn)
    client.delete_activity(activityArn=activity)
    return left


def work(activity, outcome):
    token = until(lambda: client.get_activity_task(activityArn=activity, workerName="boto3").get("taskToken"), "task")
    client.send_task_heartbeat(taskToken=token)
    if outcome == "success":
        client.send_task_success(taskToken=token, output='{"done": true}')
    else:
        client.send_task_failure(taskToken=token, error="Broken", cause="as it should")


def what_is_not_there(execution):
    """Distributed Map and redrive are refused, in words of the model or by name."""
    run = "arn:aws:states:us-east-1:123456789012:mapRun:orders/Map:00000000-0000-0000-0000-000000000000"
    refusals = ["ResourceNotFound", "ValidationException", "InvalidArn", "ExecutionDoesNotExist", "ExecutionNotRedrivable"]
    fails(refusals, client.describe_map_run, mapRunArn=run)
    fails(refusals, client.update_map_run, mapRunArn=run, maxConcurrency=1)
    fails(refusals, client.redrive_execution, executionArn=execution)
    try:
        assert client.list_map_runs(executionArn=execution)["mapRuns"] == []
    except ClientError as refused:
        assert refused.response["Error"]["Code"] in refusals, refused


express()
what_is_not_there(standard())
unseen = set(client.meta.service_model.operation_names) - watcher.seen
assert not unseen, f"never asked for: {sorted(unseen)}"
assert not watcher.wrong, "responses unlike the model:\n" + "\n".join(sorted(set(watcher.wrong)))
print(f"{len(watcher.seen)} operations, every response as the model has it")
