"""A session through the AWS CLI. usage: cli_session.py AWS   (the command, with `expressway env` in the environment)"""

import json
import subprocess
import sys
import threading

AWS = sys.argv[1]
ROLE = "arn:aws:iam::123456789012:role/clients"


def aws(operation, *arguments):
    command = [AWS, "stepfunctions", operation, "--output", "json", "--no-cli-pager" if V2 else "--color=off", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout) if done.stdout.strip() else {}


def refused(code, operation, *arguments):
    try:
        answer = aws(operation, *arguments)
    except RuntimeError as error:
        assert f"({code})" in str(error), error
        return
    raise AssertionError(f"{code} expected, not {answer}")


def passing(result):
    return json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": result, "End": True}}})


def run(arn):
    return aws("start-sync-execution", "--state-machine-arn", arn, "--input", "{}")


V2 = subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout.startswith("aws-cli/2")
valid = aws("validate-state-machine-definition", "--definition", passing(1), "--type", "EXPRESS")
assert valid["result"] == "OK", valid
arn = aws("create-state-machine", "--name", "cli", "--definition", passing("one"), "--role-arn", ROLE,
          "--type", "EXPRESS", "--tags", "key=team,value=cli")["stateMachineArn"]
assert run(arn)["output"] == '"one"'
refused("InvalidExecutionInput", "start-sync-execution", "--state-machine-arn", arn, "--input", "{")
one = aws("publish-state-machine-version", "--state-machine-arn", arn)["stateMachineVersionArn"]
two = aws("update-state-machine", "--state-machine-arn", arn, "--definition", passing("two"),
          "--publish")["stateMachineVersionArn"]


def route(version):
    return json.dumps([{"stateMachineVersionArn": version, "weight": 100}])


alias = aws("create-state-machine-alias", "--name", "live", "--routing-configuration", route(one))["stateMachineAliasArn"]
assert run(alias)["output"] == '"one"'
aws("update-state-machine-alias", "--state-machine-alias-arn", alias, "--routing-configuration", route(two))
assert run(alias)["output"] == '"two"'
assert aws("list-tags-for-resource", "--resource-arn", arn)["tags"] == [{"key": "team", "value": "cli"}]
aws("untag-resource", "--resource-arn", arn, "--tag-keys", "team")
activity = aws("create-activity", "--name", "cli-work")["activityArn"]


def work():
    task = aws("get-activity-task", "--activity-arn", activity, "--worker-name", "cli")
    aws("send-task-success", "--task-token", task["taskToken"], "--task-output", '{"done":true}')


worker = threading.Thread(target=work)
worker.start()
standard = aws("create-state-machine", "--name", "cli-standard", "--role-arn", ROLE, "--definition", json.dumps(
    {"StartAt": "W", "States": {"W": {"Type": "Task", "Resource": activity, "End": True}}}))["stateMachineArn"]
execution = aws("start-execution", "--state-machine-arn", standard)["executionArn"]
worker.join()
for _ in range(30):
    status = aws("describe-execution", "--execution-arn", execution)
    if status["status"] != "RUNNING":
        break
assert status["status"] == "SUCCEEDED", status
aws("delete-state-machine-alias", "--state-machine-alias-arn", alias)
for machine in (arn, standard):
    aws("delete-state-machine", "--state-machine-arn", machine)
aws("delete-activity", "--activity-arn", activity)
print("a session through the AWS CLI")
