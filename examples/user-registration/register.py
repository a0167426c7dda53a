"""Plays a registration from beginning to end: the server, two people who register, and the staff."""
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import unquote

HERE = os.path.dirname(os.path.abspath(__file__))
ACTIVITY = "arn:aws:states:us-east-1:123456789012:activity:look-at-accounts"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:registration"


def call(server, operation, request):
    """Calls Step Functions' API: AWS JSON, which every AWS SDK speaks, too."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AWSStepFunctions." + operation}
    asked = urllib.request.Request(server, json.dumps(request).encode(), headers)
    try:
        with urllib.request.urlopen(asked, timeout=120) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise SystemExit("%s: %s" % (operation, error.read().decode()))


def staff(server, over):
    """Takes one account after the other, until all is over."""
    while not over.is_set():
        task = call(server, "GetActivityTask", {"activityArn": ACTIVITY, "workerName": "Ruth"})
        if not task.get("taskToken"):
            continue
        account = json.loads(task["input"])
        print("the staff looks at %(email)s, confirmed from %(clicked)s" % account)
        call(server, "SendTaskHeartbeat", {"taskToken": task["taskToken"]})
        call(server, "SendTaskSuccess", {"taskToken": task["taskToken"], "output": json.dumps({"by": "Ruth"})})


def letter(folder, email):
    """Waits for a letter."""
    file = os.path.join(folder, "mail", email)
    while not os.path.exists(file):
        time.sleep(0.05)
    with open(file) as text:
        return text.read()


def outcome(server, execution):
    while True:
        told = call(server, "DescribeExecution", {"executionArn": execution})
        if told["status"] != "RUNNING":
            return told.get("output") or told["status"]
        time.sleep(0.05)


def main(folder):
    environment = dict(os.environ, REGISTRATION_FOLDER=folder)
    command = ["expressway", "serve", "--port", "0", "--definitions", HERE, "--lambda-dir", os.path.join(HERE, "functions")]
    over = threading.Event()
    process = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            ready = re.search(r"ready on (http://\S+)", line)
            if ready:
                break
        else:
            raise SystemExit("the server did not start")
        server = ready.group(1) + "/"
        # What it says from here on is of interest when something goes wrong.
        threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
        call(server, "CreateActivity", {"name": "look-at-accounts"})
        threading.Thread(target=staff, args=(server, over), daemon=True).start()

        def register(email, patience):
            request = {"stateMachineArn": MACHINE, "input": json.dumps({"email": email, "patience": patience})}
            return call(server, "StartExecution", request)["executionArn"]

        ada = register("ada@example.com", 3600)
        bob = register("bob@example.com", 2)
        link = letter(folder, "ada@example.com")
        print("ada has an e-mail:", re.sub(r"token=\S+", "token=…", link).strip())
        token = unquote(re.search(r"token=(\S+)", link).group(1))
        call(server, "SendTaskSuccess", {"taskToken": token, "output": json.dumps({"from": "the link"})})
        print("ada:", outcome(server, ada))
        print("bob:", outcome(server, bob))
        print("accounts:", *sorted(os.listdir(os.path.join(folder, "accounts"))))
    finally:
        over.set()
        process.terminate()
        process.wait()


with tempfile.TemporaryDirectory() as folder:
    main(folder)
