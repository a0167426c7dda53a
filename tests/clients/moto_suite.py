"""moto's own tests of Step Functions, unmodified, with this server in moto's place for Step Functions alone.

    moto_suite.py EXPRESSWAY SUITE KNOWN

EXPRESSWAY is the command, SUITE the unpacked source distribution of moto, KNOWN the list of tests that are left out or
fail, with a reason each. Each test has a server of its own, as moto forgets everything between two tests; everything
else (roles, tables, queues) is moto's own server. What moto would run in its own process, it runs in server mode; what it
has verified against AWS runs as against AWS.
"""

import collections
import fcntl
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "FOOBARKEY",
    "AWS_SECRET_ACCESS_KEY": "FOOBARSECRET",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}


# Begins the reasons of tests that fail or pass as it happens.
BY_CHANCE = "By chance: "


def free_port():
    """A port that no other test uses, as `tests/ports` has it, and the locked file that says so."""
    folder = pathlib.Path(tempfile.gettempdir()) / "expressway-ports"
    folder.mkdir(exist_ok=True)
    for n in range(8_000):
        port = 20_000 + (os.getpid() * 97 + n) % 8_000
        try:
            locked = open(folder / str(port), "w")
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(("127.0.0.1", port))
            return port, locked
        except OSError:
            continue
    raise AssertionError("all ports from 20,000 on are in use")


def start_moto():
    """moto's server; its process and address."""
    port, locked = free_port()
    command = [pathlib.Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()
            process.locked = locked
            return process, address
        except OSError:
            assert time.monotonic() < until and process.poll() is None, "moto's server does not start"
            time.sleep(0.05)


class Serving:
    """A server of ours."""

    def __init__(self, program, moto, region):
        command = [program, "serve", "--port", "0", "--region", region]
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": moto}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in self.process.stderr:
            if found := re.search(r"ready on (\S+)", line):
                self.address = found[1]
                return
        raise AssertionError("the server does not start")

    def end(self):
        self.process.kill()
        self.process.stderr.close()
        self.process.wait()


class Plugin:
    """Sends clients where they belong, and notes what became of the tests."""

    def __init__(self, program, moto):
        self.program, self.moto, self.serving = program, moto, None
        self.results = {}
        for name in ("client", "resource"):
            setattr(boto3, name, self.directed(getattr(boto3, name)))

    def directed(self, make):
        def directed(service, *arguments, **options):
            ours = service == "stepfunctions"
            options["endpoint_url"] = self.serving.address if ours else self.moto
            return make(service, *arguments, **options)

        return directed

    def pytest_collection_finish(self):
        from moto import settings
        from tests.test_stepfunctions import parser

        # What is skipped in server mode, because there moto has nothing to verify, has something to verify here.
        settings.TEST_SERVER_MODE = False
        for name, module in list(sys.modules.items()):
            if name.startswith("tests.test_stepfunctions") and hasattr(module, "base_url"):
                module.base_url = self.moto.removeprefix("http://")
        # It is not AWS, where looking 30 times has to do for minutes; here the slowest takes 15 seconds.
        parser.sleep = lambda seconds: time.sleep(min(seconds, 0.6))

    @pytest.fixture(autouse=True)
    def server(self, request):
        # A server is in one region; a test that has no choice is in the usual one.
        parameters = getattr(request.node, "callspec", None)
        region = parameters.params.get("test_region") if parameters else None
        self.serving = Serving(self.program, self.moto, region or KEYS["AWS_DEFAULT_REGION"])
        yield
        self.serving.end()

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.removeprefix("tests/test_stepfunctions/")
        before = self.results.get(name, ("passed", ""))
        if report.outcome != "passed" and before[0] != "failed":
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.results[name] = (report.outcome, why)
        else:
            self.results.setdefault(name, before)


def known(path):
    """The tests of the list, and their reasons."""
    lines = pathlib.Path(path).read_text().splitlines()
    return dict(line.split("  ", 1) for line in lines if line and not line.startswith("#"))


def main(program, suite, known_path):
    os.environ.update(KEYS, TEST_SERVER_MODE="true", MOTO_TEST_ALLOW_AWS_REQUEST="true")
    # moto runs Lambda functions in Docker.
    os.environ["TESTS_SKIP_REQUIRES_DOCKER"] = "true"
    os.environ.pop("AWS_PROFILE", None)
    program = os.path.abspath(program)
    reasons = known(known_path)
    os.chdir(suite)
    # The tests' own packages; moto itself is the one that is installed.
    sys.path.insert(0, os.getcwd())
    process, moto = start_moto()
    os.environ["TEST_SERVER_MODE_ENDPOINT"] = moto
    plugin = Plugin(program, moto)
    try:
        options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=short", "-W", "ignore"]
        pytest.main([*options, "tests/test_stepfunctions"], plugins=[plugin])
    finally:
        process.kill()
        process.wait()
    counts = collections.Counter(outcome for outcome, _ in plugin.results.values())
    wrong = [name for name, (outcome, _) in plugin.results.items() if outcome == "failed" and name not in reasons]
    stale = [
        name
        for name, why in reasons.items()
        if not why.startswith(BY_CHANCE) and plugin.results.get(name, ("absent",))[0] != "failed"
    ]
    for name in wrong:
        print(f"FAILS: {name}\n{plugin.results[name][1]}")
    for name in stale:
        print(f"LISTED, but does not fail: {name}")
    for name, (outcome, why) in plugin.results.items():
        if outcome == "skipped":
            print(f"skipped: {name}: {why}")
    print(f"{counts['passed']} passed, {counts['failed']} failed ({len(reasons)} known), {counts['skipped']} skipped")
    return 1 if wrong or stale or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
