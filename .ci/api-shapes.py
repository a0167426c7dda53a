#!/usr/bin/env python3
"""Writes the shapes of AWS APIs' answers to stdout, from the service models in an installed or downloaded `botocore`.

  api-shapes.py [WHEEL] > src/service/test_state/api-shapes.txt

One section for each service: `service <id>`, a line of `operation:shape`, and one line for each shape, numbered from 0:
`{ Field:shape Required!:shape`, `[ shape`, `map shape`, `enum A|B`, `string min..max`, `number min..max`, `boolean`,
`any`. Field names begin with a capital, as Step Functions has them; blobs and timestamps are strings there.
"""
import gzip, json, os, sys, zipfile

SERVICES = """athena batch cloudformation cloudwatch codebuild comprehend databrew dynamodb ecr ecs eks emr emr-containers
emr-serverless events firehose glue kinesis kms lambda logs polly rds-data redshift-data rekognition s3 scheduler
secretsmanager ses sesv2 sns sqs ssm stepfunctions sts textract transcribe translate""".split()

if len(sys.argv) > 1:
    wheel = zipfile.ZipFile(sys.argv[1])
    names, read = wheel.namelist(), wheel.read
else:
    import botocore
    top = os.path.dirname(os.path.dirname(botocore.__file__))
    data = os.path.join(top, "botocore", "data")
    names = [os.path.relpath(os.path.join(d, f), top) for d, _, files in os.walk(data) for f in files]
    read = lambda name: open(os.path.join(top, name), "rb").read()

# What AWS's check of mocks has otherwise (recorded): a function's memory, without that of managed instances.
LIMITS = {("lambda", "MemorySize"): {"max": 10240}}
NUMBERS = {"integer", "long", "float", "double", "short", "bigdecimal", "biginteger"}


def model(service):
    start = f"botocore/data/{service}/"
    name = max(n for n in names if n.startswith(start) and "service-2.json" in n)
    text = read(name)
    return json.loads(gzip.decompress(text) if name.endswith(".gz") else text)


def section(service):
    described = model(service)
    shapes, lines, same, known = described["shapes"], [], {}, {}

    def scalar(line):
        if line not in same:
            same[line] = len(lines)
            lines.append(line)
        return same[line]

    def ranged(kind, shape):
        low, high = shape.get("min", ""), shape.get("max", "")
        return scalar(kind if low == high == "" else f"{kind} {low}..{high}")

    def container(name, line):
        known[name] = at = len(lines)
        lines.append("")
        lines[at] = line()
        return at

    def number(name):
        if name in known:
            return known[name]
        shape = shapes[name]
        kind = shape["type"]
        if kind == "structure" and not shape.get("document"):
            needed = shape.get("required", [])
            field = lambda key, of: f"{key[:1].upper()}{key[1:]}{'!' if key in needed else ''}:{number(of['shape'])}"
            return container(name, lambda: "{ " + " ".join(field(k, v) for k, v in shape["members"].items()))
        if kind == "list":
            return container(name, lambda: f"[ {number(shape['member']['shape'])}")
        if kind == "map":
            return container(name, lambda: f"map {number(shape['value']['shape'])}")
        if kind == "structure":
            at = scalar("any")
        elif kind == "string" and "enum" in shape:
            at = scalar("enum " + "|".join(shape["enum"]))
        elif kind in ("string", "blob"):
            at = ranged("string", shape)
        elif kind == "timestamp":
            at = scalar("string")
        elif kind in NUMBERS:
            at = ranged("number", {**shape, **LIMITS.get((service, name), {})})
        else:
            at = scalar(kind)
        known[name] = at
        return at

    answers = {name[0].lower() + name[1:]: number(op["output"]["shape"])
               for name, op in sorted(described["operations"].items()) if "output" in op}
    identifier = "".join(c for c in described["metadata"]["serviceId"].lower() if c.isalnum())
    return [f"service {identifier}", " ".join(f"{name}:{at}" for name, at in answers.items()), *lines]


for service in SERVICES:
    print("\n".join(section(service)))
