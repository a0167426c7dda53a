"""Every operation of services whose protocol is XML, called by workflows, against botocore's own serializers and parsers:
what a task sends for its parameters, and what it gives back for an answer, with the names of AWS's SDK for Java.

    models.py PROGRAM SERVICES SERVICE[:OPERATION]...

Parameters and answers are drawn by the service's model; the seed is the operation's name. SERVICES is the program's own
table, `services.table`: where it was made from another botocore, operations and members that it lacks are left out.
"""

import base64
import json
import random
import re
import subprocess
import sys
import threading
import urllib.parse
import xml.etree.ElementTree
import zlib
from datetime import datetime, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import boto3
import botocore
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import Session

KEYWORDS = """abstract assert boolean break byte case catch char class const continue default do double else enum extends
    false final finally float for goto if implements import instanceof int interface long native new null package private
    protected public return short static strictfp super switch synchronized this throw throws transient true try void
    volatile while""".split()
# What the SDK renames and takes away (its files `customization.config`).
RENAMED = {
    ("cloudformation", "ListStacksInput", "StackStatusFilter"): "StackStatusFilters",
    ("ec2", "Image", "Public"): "PublicLaunchPermissions",
    ("ec2", "FpgaImage", "Public"): "IsPublic",
    ("sns", "AddPermissionInput", "AWSAccountId"): "AwsAccountIds",
    ("sns", "AddPermissionInput", "ActionName"): "ActionNames",
}
TAKEN_AWAY = {("ec2", "DryRun"), ("rds", "SourceRegion"), ("s3", "ChecksumAlgorithm")}
# What Step Functions does not support.
UNSUPPORTED = {
    ("s3", "SelectObjectContent"),
    ("sts", "AssumeRole"),
    ("sts", "AssumeRoleWithSAML"),
    ("sts", "AssumeRoleWithWebIdentity"),
    # Its host is another.
    ("s3", "WriteGetObjectResponse"),
}
DEPTH_MAX = 5


def java(service, shape, name):
    """A member's name in workflows."""
    renamed = RENAMED.get((service, shape.name, name))
    if renamed:
        return renamed
    first = re.match("[A-Z]+(?![a-z])|[A-Z]?", name).group()
    small = first.lower() + name[len(first) :]
    taken = small.lower() in KEYWORDS or small in ("builder", "equals", "notify", "wait")
    return small[0].upper() + small[1:] + ("Value" if taken else "")


class Table:
    """What the program's table has of a service."""

    def __init__(self, path, service_id):
        index, _, packed = open(path, "rb").read().partition(b"\n\n")
        for line in index.decode().split("\n"):
            _, name, _, size, _ = line.split(" ")
            section, packed = packed[: int(size)], packed[int(size) :]
            if name == service_id.replace(" ", "_"):
                break
        lines = zlib.decompress(section).decode().split("\n")[2:]
        self.operations = {line.split()[0]: line.split()[1:3] for line in lines if line and line[0].isalpha()}
        self.shapes = [line for line in lines if line and line[0] in "{|[<"]

    def members(self, at):
        """The members of a structure, with their types."""
        members = [it.rpartition(":") for it in self.shapes[int(at)][1:].split()]
        return {re.split("[=>!*+]", name)[0]: kind.partition("@")[0] for name, _, kind in members}

    def required(self, at):
        """The members of a structure that must be there, whatever another version of botocore says of them."""
        members = [it.rpartition(":")[0] for it in self.shapes[int(at)][1:].split()]
        return {re.split("[=>!*+]", name)[0] for name in members if name[-1] in "!*"}

    def inner(self, at):
        """The type of a list's elements, or of a map's values."""
        return self.shapes[int(at)][1:].lstrip("~").split()[0].partition("@")[0]


class Drawn:
    """A value for a shape: botocore's form of it, and the workflow's."""

    def __init__(self, service, table, seed):
        self.service, self.table, self.random = service, table, random.Random(seed)

    def value(self, shape, at, depth=0, place=None):
        """`at` is the shape's number in the table, if it restricts what is drawn; `place` where a member goes."""
        kind = shape.type_name
        if kind == "structure":
            own, flow = {}, {}
            known, required = (self.table.members(at), self.table.required(at)) if at else ({}, set())
            required |= set(shape.required_members)
            for name, member in shape.members.items():
                if at and name not in known:
                    continue
                place = "host" if member.metadata.get("hostLabel") or name == "AccountId" else member.serialization.get("location")
                # A token that is left out is made anew for each request.
                is_needed = name in required or bool(member.metadata.get("idempotencyToken"))
                is_needed = is_needed or place == "uri" or shape.serialization.get("payload") == name
                leaf = member.type_name not in ("structure", "list", "map")
                if (self.service, name) in TAKEN_AWAY or (depth >= DEPTH_MAX and not leaf and not is_needed):
                    continue
                is_union = getattr(shape, "is_tagged_union", False)
                if not is_needed and not is_union and self.random.random() < (0.3 if depth < 2 else 0.6):
                    continue
                drawn = self.value(member, known.get(name), depth + 1, place)
                own[name], flow[java(self.service, shape, name)] = drawn
                if is_union:
                    break
            return own, flow
        if kind in ("list", "map"):
            at = at and self.table.inner(at)
        if kind == "list":
            pairs = [self.value(shape.member, at, depth + 1, place) for _ in range(self.random.randint(1, 2))]
            return [it for it, _ in pairs], [it for _, it in pairs]
        if kind == "map":
            keys = [self.text(shape.key, place) for _ in range(self.random.randint(1, 2))]
            pairs = {key: self.value(shape.value, at, depth + 1, place) for key in keys}
            return {key: it for key, (it, _) in pairs.items()}, {key: it for key, (_, it) in pairs.items()}
        if kind == "timestamp":
            time = datetime.fromtimestamp(self.random.randint(1, 1_900_000_000), timezone.utc)
            return time, time.strftime("%Y-%m-%dT%H:%M:%SZ")
        if kind == "blob":
            text = self.text(shape, place)
            return text.encode(), text
        if kind == "boolean":
            value = self.random.random() < 0.5
        elif kind in ("integer", "long"):
            value = self.random.randint(0, 100_000)
        elif kind in ("float", "double"):
            value = self.random.randint(1, 1_000) + 0.25
        else:
            assert kind == "string", kind
            value = self.text(shape, place)
        return value, value

    def text(self, shape, place):
        if getattr(shape, "enum", None):
            return self.random.choice(shape.enum)
        letters = "abcXYZ019-_.~ &<>'\"=%+äß/"
        if place in ("header", "headers"):
            letters = "abc019-_.~"
        elif place == "host":
            letters = "0123456789"
        elif self.service == "route53":
            # The SDK leaves what is behind the last slash of some members of answers.
            letters = letters[:-1]
        return "".join(self.random.choice(letters) for _ in range(self.random.randint(1, 9))).strip() or "x"


def answer(shape, value, protocol, name):
    """An element of an answer, as services write them."""
    kind = shape.type_name
    if kind == "structure":
        attribute, inner = "", ""
        for member_name, member in shape.members.items():
            if member_name not in value or "location" in member.serialization:
                continue
            wire = member.serialization.get("name", member_name)
            if member.serialization.get("xmlAttribute"):
                attribute = f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" {wire}="{escape(value[member_name])}"'
                continue
            inner += answer(member, value[member_name], protocol, wire)
        return f"<{name}{attribute}>{inner}</{name}>"
    if kind == "list":
        item = shape.member.serialization.get("name", "item" if protocol == "ec2" else "member")
        if shape.serialization.get("flattened"):
            # The name of the list's element, where it has one.
            name = shape.member.serialization.get("name", name)
            return "".join(answer(shape.member, it, protocol, name) for it in value)
        inner = "".join(answer(shape.member, it, protocol, item) for it in value)
        return f"<{name}>{inner}</{name}>"
    if kind == "map":
        entries = "".join(
            "<entry>"
            + answer(shape.key, key, protocol, shape.key.serialization.get("name", "key"))
            + answer(shape.value, it, protocol, shape.value.serialization.get("name", "value"))
            + "</entry>"
            for key, it in value.items()
        )
        return f"<{name}>{entries}</{name}>"
    if kind == "timestamp":
        text = value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    elif kind == "blob":
        text = base64.b64encode(value).decode()
    elif kind == "boolean":
        text = str(value).lower()
    else:
        text = str(value)
    return f"<{name}>{escape(text)}</{name}>"


class Service(BaseHTTPRequestHandler):
    """What stands for AWS."""

    asked, says = None, (200, {}, b"")

    def do(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        Service.asked = (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        status, headers, body = Service.says
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = do

    def log_message(self, *_):
        pass


def canonical(body):
    """XML without what does not matter: AWS's SDK for Java sends an element even if it has nothing in it."""
    try:
        text = xml.etree.ElementTree.canonicalize(body)
    except xml.etree.ElementTree.ParseError:
        return body
    return "" if re.fullmatch("<[A-Za-z0-9]+ xmlns=[^>]*></[A-Za-z0-9]+>", text) else text


def header(shape, value):
    """A value in an answer's header."""
    if shape.type_name == "timestamp":
        is_iso = shape.serialization.get("timestampFormat") == "iso8601"
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if is_iso else format_datetime(value, usegmt=True)
    if shape.type_name == "list":
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def asked_of(request):
    """The parts of a request that must be the same."""
    method, target, headers, body = request
    path, _, query = target.partition("?")
    is_form = "urlencoded" in headers.get("content-type", "")
    ours = ("host", "user-agent", "authorization", "x-amz-date", "x-amz-content-sha256", "content-length", "content-type",
            "connection", "accept-encoding", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-sha256")
    return {
        "method": method,
        "path": urllib.parse.unquote(path),
        "query": sorted(urllib.parse.parse_qsl(query, keep_blank_values=True)),
        "headers": {name: value for name, value in headers.items() if name not in ours},
        "body": sorted(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)) if is_form else canonical(body),
    }


def ours(value, service, shape):
    """What botocore's parser gives, as workflows see it."""
    kind = shape.type_name
    if kind == "structure":
        members = {name: it for name, it in value.items() if name in shape.members}
        return {java(service, shape, name): ours(it, service, shape.members[name]) for name, it in members.items()}
    if kind == "list":
        return [ours(it, service, shape.member) for it in value]
    if kind == "map":
        return {key: ours(it, service, shape.value) for key, it in value.items()}
    if kind == "timestamp":
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.decode() if isinstance(value, bytes) else value


def differ(model, table, is_same, name, sfn):
    """What is wrong with one operation."""
    service, protocol = model.service_name, model.metadata["protocol"]
    operation = model.operation_model(name)
    drawn = Drawn(service, table, f"{service} {name}")
    asked, answered = (None, None) if is_same else table.operations[name]
    own, flow = drawn.value(operation.input_shape, asked) if operation.input_shape else ({}, {})
    prepared = create_serializer(protocol, include_validation=False).serialize_to_request(own, operation)
    body = prepared["body"]
    if isinstance(body, dict):
        body = urllib.parse.urlencode(body).encode()
    url = "http://host" + prepared["url_path"]
    request = AWSRequest(prepared["method"], url, dict(prepared["headers"]), body or b"", prepared["query_string"]).prepare()
    target = request.url.removeprefix("http://host")
    expected = asked_of((request.method, target, {k.lower(): str(v) for k, v in request.headers.items()}, request.body or b""))

    output = operation.output_shape
    result, headers, body = {}, {}, b""
    if output:
        result, _ = drawn.value(output, answered)
        wrapper = output.serialization.get("resultWrapper")
        payload = output.serialization.get("payload")
        for member_name, member in output.members.items():
            if member.serialization.get("location") == "header" and member_name in result:
                headers[member.serialization["name"]] = header(member, result[member_name])
            elif member.serialization.get("location") == "headers":
                for key, value in result.get(member_name, {}).items():
                    headers[member.serialization["name"] + key.lower()] = value
        headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        if payload and output.members[payload].type_name in ("structure",):
            if payload in result:
                member = output.members[payload]
                body = answer(member, result[payload], protocol, member.serialization.get("name", payload)).encode()
        elif payload:
            body = result[payload] if isinstance(result.get(payload), bytes) else result.get(payload, "").encode()
        else:
            body = answer(output, result, protocol, wrapper or f"{name}Response").encode()
            body = b"<R>" + body + b"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></R>" if wrapper else body
    headers["x-amzn-requestid"] = "r"
    Service.says = (200, headers, body)
    Service.asked = None
    package = "".join(c for c in model.service_id if c.isalnum()).lower()
    state = {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{package}:{name[0].lower()}{name[1:]}", "Parameters": flow, "End": True}
    found = sfn.test_state(definition=json.dumps(state), roleArn="arn:aws:iam::123456789012:role/r", input="{}")
    wrong = []
    if Service.asked is None:
        return [f"{service}:{name}: nothing was asked: {found.get('error')}: {found.get('cause')}"]
    got = asked_of(Service.asked)
    wrong += [f"{service}:{name}: {part}: {got[part]!r}\n    not {expected[part]!r}" for part in expected if got[part] != expected[part]]
    parsed = create_parser(protocol).parse({"status_code": 200, "headers": headers, "body": body}, output) if output else {}
    parsed.pop("ResponseMetadata", None)
    # The body's own length.
    if service == "s3" and "ContentLength" in output.members if output else False:
        parsed["ContentLength"] = len(body)
    for key, value in list(parsed.items()):
        if hasattr(value, "read"):
            parsed[key] = value.read()
    wanted = ours(parsed, service, output) if output else {}
    given = json.loads(found["output"]) if "output" in found else found.get("cause")
    if given != wanted:
        wrong.append(f"{service}:{name}: gives {given!r}\n    not {wanted!r}")
    return wrong


def main():
    program, path, *services = sys.argv[1:]
    with open(path) as file:
        is_same = f" botocore {botocore.__version__};" in file.readline()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    command = [program, "serve", "-p", "0"]
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}
    models = [Session().get_service_model(service.partition(":")[0]) for service in services]
    environment |= {f"AWS_ENDPOINT_URL_{it.service_id.replace(' ', '_').upper()}": endpoint for it in models}
    serving = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = next(line for line in serving.stderr if "ready on" in line)
        threading.Thread(target=serving.stderr.read, daemon=True).start()
        url = re.search("http://[0-9.:]+", said).group()
        sfn = boto3.client("stepfunctions", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a",
                           aws_secret_access_key="s", config=boto3.session.Config(inject_host_prefix=False, retries={"total_max_attempts": 1}))
        wrong, tried = [], 0
        for service, model in zip(services, models):
            service, _, only = service.partition(":")
            table = Table(path, str(model.service_id))
            for name in [only] if only else model.operation_names:
                if (service, name) in UNSUPPORTED or not (is_same or name in table.operations):
                    continue
                tried += 1
                try:
                    wrong += differ(model, table, is_same, name, sfn)
                except Exception as error:
                    wrong.append(f"{service}:{name}: {type(error).__name__}: {error}")
    finally:
        serving.kill()
        serving.wait()
    print("\n".join(wrong))
    print(f"{tried} operations, {len(wrong)} differences")
    return 1 if wrong or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
