"""Signed requests over TLS. usage: boto3_auth.py PORT CA"""

import sys
import datetime

import boto3
import botocore.auth
from botocore.config import Config
from botocore.exceptions import ClientError

PORT, CA = sys.argv[1:3]


def client(key, secret):
    return boto3.client(
        "stepfunctions", endpoint_url=f"https://localhost:{PORT}", verify=CA, aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(retries={"max_attempts": 1}))


def fails(error, call, **arguments):
    try:
        call(**arguments)
    except ClientError as refused:
        assert refused.response["Error"]["Code"] == error, refused
        return
    raise AssertionError(f"{error} expected")


good = client("AKIDLISTS", "right")
assert "stateMachines" in good.list_state_machines()
fails("AccessDeniedException", good.create_activity, name="not-allowed")
fails("InvalidSignatureException", client("AKIDLISTS", "wrong").list_state_machines)
fails("UnrecognizedClientException", client("AKIDOTHER", "right").list_state_machines)

# A clock that is an hour behind. botocore asks its own function for the time.
real = getattr(botocore.auth, "get_current_datetime", None)
if real is not None:
    botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) - datetime.timedelta(hours=1)
    fails("InvalidSignatureException", good.list_state_machines)
    botocore.auth.get_current_datetime = real
    assert "stateMachines" in good.list_state_machines()
print("signatures over TLS")
