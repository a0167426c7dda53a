"""A cluster's nodes over TLS: each answers for executions of all. usage: boto3_nodes.py CA PORT..."""

import sys

import boto3
from botocore.config import Config

CA, *PORTS = sys.argv[1:]

nodes = [
    boto3.client(
        "stepfunctions", endpoint_url=f"https://localhost:{port}", verify=CA, region_name="us-east-1",
        aws_access_key_id="k", aws_secret_access_key="s", config=Config(retries={"max_attempts": 1}))
    for port in PORTS]
machine = nodes[0].create_state_machine(
    name="passes", roleArn="arn:aws:iam::123456789012:role/r",
    definition='{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}')["stateMachineArn"]
started = [
    nodes[n % len(nodes)].start_execution(stateMachineArn=machine, name=f"e{n}")["executionArn"]
    for n in range(30)]
for node in nodes:
    for arn in started:
        assert node.describe_execution(executionArn=arn)["name"] == arn.rsplit(":", 1)[1]
    listed = node.list_executions(stateMachineArn=machine, maxResults=100)["executions"]
    assert {execution["executionArn"] for execution in listed} == set(started), listed
print("nodes over TLS")
