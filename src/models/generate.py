#!/usr/bin/env python3
"""Makes services.table and names.txt, which mod.rs reads, from the service models in an installed botocore.

    python3 src/models/generate.py table > src/models/services.table
    python3 src/models/generate.py names > src/models/names.txt
    python3 src/models/generate.py text > services.txt      the table as text, to read

The second has the names of all services, as workflows write them, and of their actions: after a line with botocore's version
and one with 26 verbs, a service a line. Its actions are words: letters that stand for verbs (`a` is the first), and what
follows any of them; without such a letter, the action itself.

    account bhContactInformation ...    GetContactInformation, PutContactInformation, if `b` and `h` are those verbs

The table begins with a line for each service, sorted by their names in resources, and an empty line:

    PACKAGE ID PROTOCOL PACKED SIZE     its name in resources, its identifier (blanks as `_`), its protocol, the bytes of its
                                        text packed (zlib) and as they are

The packed texts follow in the same order. A text is a line with what a service is called by, its errors, its operations, by
name, its shapes, which are counted from 0, and the bounds of its values, which are counted from 0 as well:

    ID PROTOCOL ENDPOINT SIGNING TARGET VERSION     the service's identifier and how it is called; of REST with XML, TARGET
                                                    is the namespace of its elements
    !CLASS[=CODE] ...                               its errors, with their codes on the wire where these differ
    NAME INPUT OUTPUT [WRAPPER]                     an operation, its shapes (`-`: none), the query protocol's result element
    NAME INPUT OUTPUT METHOD/PATH [ROOT[!]]         one of REST; with XML, the element around the members of the request's
                                                    body; with `!`, S3 wants a checksum of it (`!` alone: of a member)
    NAME INPUT OUTPUT METHOD/PATH ~                 one of REST whose answer is a stream of events
    ... @PREFIX                                     what stands before the host of an operation; members in braces
    {MEMBER ...                                     a shape: a structure; `|MEMBER ...`: one that is a union
    [TYPE [ELEMENT]    [~TYPE [ELEMENT]             a list, a flattened one
    <TYPE [KEY VALUE]  <~TYPE [KEY VALUE]           a map, a flattened one
    #MIN..MAX [PATTERN]                             bounds of a number or a length, and how a text must look
    #|NAME|NAME...                                  what a text may be

A protocol is `json`, `query`, `ec2`, `rest-json`, `rest-xml`, `none` where the service speaks or is signed otherwise, so
that it is not called, or `own`. The shapes of requests to EC2 are apart from those of its answers: it writes other names in them.

A member is `NAME[=WIRE][>JAVA][MARK]:TYPE`: WIRE is what the service calls it (empty: it is not sent; with `/` before it, it is
part of the path, with `?` of the query, with `^` a header, or all headers that begin so if it is a map (`^:status` is the
answer's status), with `%` it is the body), JAVA what AWS's SDK for Java renames it to. MARK is `!` for one that is required; `*` and `+` stand for the token that
makes a call idempotent, which SDKs fill in: one that is required, and that workflows must give, and another. A type is the number of a shape or one of `s` text, `i` integer, `f` float, `b` boolean, `t`
time, `u` time written as a text (ISO 8601), `h` time as in headers of HTTP, `x` bytes, `d` any JSON, and `@` with the number of its bounds behind it where
it has any.
"""

import json
import re
import string
import sys
import zlib
from collections import Counter
from copy import deepcopy
from pathlib import Path

import botocore
from botocore.loaders import Loader
from botocore.session import Session

PROTOCOLS = ("json", "query", "ec2", "rest-json", "rest-xml")

# What the customization files of AWS's SDK for Java 2 (`customization.config` of each service in `aws/aws-sdk-java-v2`)
# say of members, by its folder there: customized.json, with the commit at which each file was read, or null where there is none.
# `renamed` is `modify` with `emitPropertyName`, `former_names_stay` is `existingNameDeprecated`, `injected` and `excluded`
# are `inject` and `exclude` of `*`, `unions` is `union`, `shapes_of` is what a service shares with another. All other names
# follow from the SDK's general rules (names.rs); so do those of `renamed_as_by_rule`. Of services that are not in it the file
# was not read, and is taken to have nothing of this kind, as most have.
CUSTOMIZED = json.loads((Path(__file__).parent / "customized.json").read_text())
# What may be left out although the model requires it: there is another way to say it.
OPTIONAL = {("s3", "CopyObjectRequest"), ("s3", "UploadPartCopyRequest")}
# What AWS's check of mocks has otherwise (recorded): a function's memory, without that of managed instances.
BOUNDS = {("lambda", "MemorySize"): {"max": 10240}}

# The integrations that are no service's operation (developer guide, "Call HTTPS APIs", "Create API Gateway REST APIs",
# "Create and manage Amazon EKS clusters", "Invoke and customize Amazon Bedrock models"; of `InvokeModel`, Bedrock Runtime's
# API reference, with `Input` and `Output`).
OWN = """\
HTTP_task own - - - -

Invoke 0 -
{ApiEndpoint!:s Method!:s Authentication:1 InvocationConfig:1 Headers:d QueryParameters:d RequestBody:d Transform:2
{ConnectionArn!:s
{RequestBodyEncoding:s RequestEncodingOptions:3
{ArrayFormat:s
API_Gateway_task own - - - -

Invoke 0 -
{ApiEndpoint!:s Method!:s Headers:d Stage:s Path:s QueryParameters:d RequestBody:d AllowNullValues:b AuthType:s
EKS_task own - - - -

Call 0 -
RunJob 1 -
{ClusterName!:s CertificateAuthority!:s Endpoint!:s Method!:s@0 Path!:s QueryParameters:d RequestBody:d
{ClusterName!:s CertificateAuthority!:s Endpoint!:s Namespace:s Job!:d LogOptions:d
#|GET|POST|PUT|DELETE|HEAD|PATCH
Bedrock_task own - - - -

InvokeModel 0 -
{ModelId!:s Body:d Accept:s ContentType:s Trace:s GuardrailIdentifier:s GuardrailVersion:s PerformanceConfigLatency:s \
ServiceTier:s Input:1 Output:2
{S3Uri!:s
{S3Uri!:s KmsKeyId:s
"""

# Those of EMR, by name: members of their own, and with the shapes of EMR's operations (developer guide, "Create and manage
# Amazon EMR clusters").
EMR_OWN = {
    "AddStep": {"ClusterId!": "String", "ExecutionRoleArn": "ArnType", "Step!": "StepConfig"},
    "CancelStep": {"ClusterId!": "String", "StepId!": "String"},
    "CreateCluster": "RunJobFlowInput",
    "ModifyInstanceFleetByName": {
        "ClusterId!": "String", "InstanceFleetName!": "String", "InstanceFleet!": "InstanceFleetModifyConfig",
    },
    "ModifyInstanceGroupByName": {
        "ClusterId!": "String", "InstanceGroupName!": "String", "InstanceGroup!": "InstanceGroupModifyConfig",
    },
    "SetClusterTerminationProtection": {"ClusterId!": "String", "TerminationProtected!": "Boolean"},
    "TerminateCluster": {"ClusterId!": "String"},
}

SCALARS = {
    "string": "s", "character": "s", "integer": "i", "long": "i", "float": "f", "double": "f",
    "boolean": "b", "timestamp": "t", "blob": "x",
}


def package_of(identifier):
    """The name of a service in resources, and of its folder in the SDK."""
    return "".join(c for c in identifier if c.isalnum()).lower().removesuffix("service")


class Service:
    def __init__(self, name, model):
        self.name, self.model = name, model
        self.package = package_of(model["metadata"]["serviceId"])
        self.shapes, self.numbers, self.bounds = [], {}, []
        metadata = model["metadata"]
        protocols = metadata.get("protocols", [metadata["protocol"]])
        self.protocol = next((it for it in PROTOCOLS if it in protocols), "none")
        # Which of an operation's shapes is being written.
        self.side = "input"

    def customized(self, what, none):
        own = CUSTOMIZED.get(self.package, {})
        theirs = [CUSTOMIZED[service].get(what) for service in own.get("shapes_of", {})]
        return own.get(what) or next((it for it in theirs if it), none)

    def check_customized(self):
        """What is transcribed is in the model."""
        shapes, own = self.model["shapes"], CUSTOMIZED.get(self.package, {})
        for what in ("renamed", "injected", "renamed_of_exceptions"):
            for shape, members in own.get(what, {}).items():
                assert what == "injected" or all(it in shapes[shape]["members"] for it in members), (self.name, shape)
        for shape in [*own.get("injected", {}), *own.get("unions", []), *own.get("former_names_stay", [])]:
            assert shapes[shape]["type"] == "structure", (self.name, shape)

    def type(self, reference):
        name = reference["shape"]
        shape = self.model["shapes"][name]
        bounds = self.bound(name, shape)
        return self.plain_type(reference, name, shape) + (f"@{bounds}" if bounds is not None else "")

    def bound(self, name, shape):
        shape = {**shape, **BOUNDS.get((self.name, name), {})}
        if shape["type"] == "timestamp":
            return None
        if shape["type"] == "string" and "enum" in shape:
            line = "#|" + "|".join(shape["enum"])
        else:
            low, high, pattern = shape.get("min", ""), shape.get("max", ""), shape.get("pattern", "")
            # A pattern that any text fits says nothing.
            pattern = "" if pattern in (".*", "[\\s\\S]*", "[\\S\\s]*", ".+", "^.*$") else pattern
            # Nor do those that name a machine's folders have to be here.
            pattern = "" if "mnt" in pattern.split("/") else pattern
            # No value is above what 64 bits hold, nor any length below nothing.
            low = "" if shape["type"] not in SCALARS or SCALARS[shape["type"]] in "sx" and low == 0 else low
            if shape["type"] in ("list", "map"):
                low, high = shape.get("min", ""), shape.get("max", "")
                low = "" if low == 0 else low
            if (low, high, pattern) == ("", "", "") or "\n" in pattern:
                return None
            line = f"#{low}..{high}" + (f" {pattern}" if pattern else "")
        if line not in self.bounds:
            self.bounds.append(line)
        return self.bounds.index(line)

    def plain_type(self, reference, name, shape):
        kind = shape["type"]
        if shape.get("document"):
            return "d"
        if kind == "timestamp":
            # JSON counts seconds, headers have dates as HTTP writes them, and everything else ISO 8601, unless the
            # model says otherwise.
            form = reference.get("timestampFormat", shape.get("timestampFormat"))
            place = reference.get("location") if self.protocol.startswith("rest") else None
            own = {"header": "rfc822", "uri": "iso8601", "querystring": "iso8601"}
            form = form or own.get(place, "unixTimestamp" if "json" in self.protocol else "iso8601")
            return {"unixTimestamp": "t", "rfc822": "h"}.get(form, "u")
        if kind in SCALARS:
            return SCALARS[kind]
        # A member may flatten a list that is not flat elsewhere.
        flattened = self.protocol == "rest-xml" and reference.get("flattened", False)
        key = (name, flattened, self.side if self.protocol == "ec2" else "")
        if key in self.numbers:
            return str(self.numbers[key])
        number = self.numbers[key] = len(self.shapes)
        self.shapes.append("")
        self.shapes[number] = self.line(name, {**shape, "flattened": shape.get("flattened") or flattened}, kind)
        return str(number)

    def member(self, shape_name, shape, name, member):
        wire = member.get("locationName", name)
        if self.protocol == "ec2" and self.side == "input":
            wire = member.get("queryName", wire[0].upper() + wire[1:])
        places = {"uri": "/", "querystring": "?", "header": "^", "headers": "^", "statusCode": "^"}
        if self.protocol.startswith("rest") and member.get("location") in places:
            wire = ":status" if member["location"] == "statusCode" else wire
            wire = places[member["location"]] + (wire.lower() if "header" in member["location"] else wire)
        elif self.protocol.startswith("rest") and shape.get("payload") == name:
            wire = "%" + wire
        assert not member.get("flattened") or self.protocol not in ("query", "ec2"), name
        java = self.customized("renamed", {}).get(shape_name, {}).get(name)
        required = name in shape.get("required", ()) and (self.name, shape_name) not in OPTIONAL
        token = member.get("idempotencyToken") or self.model["shapes"][member["shape"]].get("idempotencyToken")
        # AWS does not want tokens that the service does not want (recorded: `secretsmanager:createSecret`).
        mark = ("*" if required else "+") if token else "!" if required else ""
        injected = name in self.customized("injected", {}).get(shape_name, [])
        alias = "=" if injected else "" if wire == name else f"={wire}"
        rename = f">{java}" if java else ""
        both = [f"{name}{alias}:{self.type(member)}"] if java and shape_name in self.customized("former_names_stay", []) else []
        return [f"{name}{alias}{rename}{mark}:{self.type(member)}", *both]

    def line(self, shape_name, shape, kind):
        flat = "~" if shape.get("flattened") and self.protocol in ("json", "query", "rest-xml") else ""
        if self.protocol == "ec2":
            # Its lists are flat in requests, never in answers; it has no maps.
            assert kind != "map" and not shape.get("flattened"), shape_name
            flat = "~" if self.side == "input" else ""
        xml = self.protocol in ("query", "rest-xml")
        if kind == "structure":
            members = [
                text
                for name, member in shape["members"].items()
                if name not in self.customized("excluded", [])
                for text in self.member(shape_name, shape, name, member)
            ]
            added = self.customized("injected", {}).get(shape_name, [])
            members += [f"{name}=:s" for name in added if name not in shape["members"]]
            is_union = shape.get("union") or shape_name in self.customized("unions", [])
            return ("|" if is_union else "{") + " ".join(members)
        if kind == "list":
            element = shape["member"].get("locationName")
            return f"[{flat}{self.type(shape['member'])}" + (f" {element}" if xml and element else "")
        assert kind == "map", kind
        key, value = (shape[it].get("locationName") for it in ("key", "value"))
        names = f" {key or 'key'} {value or 'value'}" if xml and (key or value) else ""
        return f"<{flat}{self.type(shape['value'])}{names}"

    def rest_target(self, operation):
        """None for an operation whose request is a stream of events, or whose host S3 gives it."""
        shapes = [self.model["shapes"][operation[side]["shape"]] for side in ("input", "output") if side in operation]
        streams = [
            side
            for side in ("input", "output") if side in operation
            for shape in [self.model["shapes"][operation[side]["shape"]]] if "payload" in shape
            if self.model["shapes"][shape["members"][shape["payload"]]["shape"]].get("eventstream")
        ]
        is_routed = operation.get("endpoint", {}).get("hostPrefix") == "{RequestRoute}."
        if is_routed or "input" in streams:
            return None
        target = operation["http"]["method"] + operation["http"]["requestUri"].rstrip("?")
        if streams:
            return f"{target} ~"
        if self.protocol != "rest-xml":
            return target
        root = operation.get("input", {}).get("locationName", "")
        if "input" in operation:
            body = [it for it in shapes[0]["members"].values() if "location" not in it]
            assert len(body) == 1 if "payload" in shapes[0] else bool(body) == bool(root), operation["name"]
        root += "!" if operation.get("httpChecksumRequired") and self.name == "s3control" else ""
        return f"{target} {root}" if root else target

    def namespace(self):
        references = [
            member
            for shape in self.model["shapes"].values() if "payload" in shape
            for member in shape["members"].values()
        ]
        references += [operation["input"] for operation in self.model["operations"].values() if "input" in operation]
        uris = {reference["xmlNamespace"]["uri"] for reference in references if "xmlNamespace" in reference}
        assert len(uris) == 1, uris
        return uris.pop()

    def lines(self):
        metadata, model = self.model["metadata"], self.model
        prefix = metadata["endpointPrefix"]
        version = metadata["jsonVersion"] if self.protocol == "json" else metadata["apiVersion"]
        # Bearer tokens, or signatures of another version.
        is_called = metadata.get("signatureVersion") in ("v4", "s3", "s3v4")
        yield " ".join([
            metadata["serviceId"].replace(" ", "_"), self.protocol if is_called else "none", prefix,
            metadata.get("signingName", prefix),
            self.namespace() if self.protocol == "rest-xml" else metadata.get("targetPrefix", "-"), version,
        ])
        errors = []
        for name, shape in model["shapes"].items():
            if shape.get("exception"):
                code = shape.get("error", {}).get("code", name)
                errors.append(name if code == name else f"{name}={code}")
        yield " ".join("!" + error for error in sorted(errors))
        for name, operation in sorted(model["operations"].items()):
            sides = []
            for self.side in ("input", "output"):
                sides.append(self.type(operation[self.side]) if self.side in operation else "-")
            wrapper = operation.get("output", {}).get("resultWrapper") if self.protocol == "query" else None
            if self.protocol.startswith("rest"):
                wrapper = self.rest_target(operation)
            host = operation.get("endpoint", {}).get("hostPrefix", "{AccountId}.")
            host = f"@{host}" if host not in ("{AccountId}.", "{RequestRoute}.") else None
            yield " ".join(it for it in [name, *sides, wrapper, host] if it)
        yield from self.shapes
        yield from self.bounds


def emr_task(model):
    """The section of EMR's own integrations."""
    model = deepcopy(model)
    shapes = model["shapes"]
    # What is named instead, what is not allowed, and what must be there.
    for shape, member in [("InstanceFleetModifyConfig", "InstanceFleetId"), ("InstanceGroupModifyConfig", "InstanceGroupId")]:
        del shapes[shape]["members"][member]
        shapes[shape]["required"].remove(member)
    del shapes["RunJobFlowInput"]["members"]["Steps"]
    shapes["JobFlowInstancesConfig"]["required"] = ["KeepJobFlowAliveWhenNoSteps"]
    model["operations"] = {}
    for name, members in EMR_OWN.items():
        shape = members
        if isinstance(members, dict):
            shape = f"{name}TaskInput"
            shapes[shape] = {
                "type": "structure",
                "required": [it[:-1] for it in members if it.endswith("!")],
                "members": {it.removesuffix("!"): {"shape": members[it]} for it in members},
            }
        model["operations"][name] = {"input": {"shape": shape}}
    _, _, *rest = Service("emr", model).lines()
    return ["EMR_task own - - - -", "", *rest]


def names():
    """The lines of names.txt."""
    session = Session()
    services = {}
    for name in session.get_available_services():
        model = session.get_service_model(name)
        actions = services.setdefault(package_of(model.service_id), set())
        actions.update(model.operation_names)
    words = re.compile("([A-Z][a-z0-9]*)([A-Za-z0-9]*)")
    split = {package: [words.fullmatch(it).groups() for it in actions] for package, actions in services.items()}
    count = Counter(verb for actions in split.values() for verb, _ in actions)
    verbs = dict(zip(sorted(count, key=lambda verb: (-count[verb], verb)), string.ascii_lowercase))
    yield f"botocore {botocore.__version__}"
    yield " ".join(verbs)
    for package, actions in sorted(split.items()):
        nouns = {}
        for verb, noun in sorted(actions):
            key, letter = (noun, verbs[verb]) if verb in verbs else (verb + noun, "")
            nouns.setdefault((key, not letter), []).append(letter)
        yield " ".join([package, *sorted("".join(letters) + noun for (noun, _), letters in nouns.items())])


def texts():
    """The text of each service, by its name in resources."""
    loader = Session().get_component("data_loader")
    found = {package_of(text.split(" ")[0]): text.rstrip("\n") for text in re.split(r"\n(?=\w+ own )", OWN)}
    found["emrtask"] = "\n".join(emr_task(loader.load_service_model("emr", "service-2")))
    for name in loader.list_available_services("service-2"):
        service = Service(name, loader.load_service_model(name, "service-2"))
        service.check_customized()
        text = "\n".join(service.lines())
        # One is there by two names.
        assert found.get(service.package, text) == text, name
        found[service.package] = text
    return dict(sorted(found.items()))


def main():
    if sys.argv[1:] == ["names"]:
        print("\n".join(names()))
    elif sys.argv[1:] == ["text"]:
        print(f"# botocore {botocore.__version__}")
        print("\n".join("@" + text for text in texts().values()))
    else:
        assert sys.argv[1:] == ["table"], __doc__
        packed = {package: (text, zlib.compress(text.encode(), 9)) for package, text in texts().items()}
        for package, (text, bytes_) in packed.items():
            words = [package, *text.split(" ")[:2], str(len(bytes_)), str(len(text.encode()))]
            sys.stdout.buffer.write(" ".join(words).encode() + b"\n")
        sys.stdout.buffer.write(b"\n" + b"".join(bytes_ for _, bytes_ in packed.values()))


if __name__ == "__main__":
    sys.exit(main())
