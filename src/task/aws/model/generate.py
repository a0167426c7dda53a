#!/usr/bin/env python3
"""Makes services.txt, which mod.rs reads, from the service models in an installed botocore.

    python3 src/task/aws/model/generate.py > src/task/aws/model/services.txt

A service is a line that begins with `@`, its errors, its operations, and its shapes, which are counted from 0:

    @ID PROTOCOL ENDPOINT SIGNING TARGET VERSION    the service's identifier (blanks as `_`) and how it is called
    !CLASS[=CODE] ...                               its errors, with their codes on the wire where these differ
    NAME INPUT OUTPUT [WRAPPER]                     an operation, its shapes (`-`: none), the query protocol's result element
    {NAME:TYPE NAME=WIRE:TYPE ...                   a shape: a structure
    [TYPE [ELEMENT]    [~TYPE [ELEMENT]             a list, a flattened one
    <TYPE [KEY VALUE]  <~TYPE [KEY VALUE]           a map, a flattened one

A type is the number of a shape or one of `s` text, `i` integer, `f` float, `b` boolean, `t` time, `u` time written as a
text (ISO 8601), `x` bytes, `d` any JSON.
"""

import sys

import botocore
from botocore.loaders import Loader
from botocore.session import Session

# What speaks AWS JSON or the query protocol and is called by workflows; the giants among the rest are left out.
SERVICES = """
application-autoscaling athena autoscaling cloudformation cloudwatch codebuild codepipeline cognito-idp comprehend
dynamodb dynamodbstreams ecr ecs elbv2 emr events firehose iam kinesis kms logs rds redshift-data rekognition
resourcegroupstaggingapi secretsmanager servicediscovery ses sns sqs ssm stepfunctions sts textract transcribe translate
""".split()

SCALARS = {
    "string": "s", "character": "s", "integer": "i", "long": "i", "float": "f", "double": "f",
    "boolean": "b", "timestamp": "t", "blob": "x",
}


class Service:
    def __init__(self, model):
        self.model, self.shapes, self.numbers = model, [], {}
        metadata = model["metadata"]
        protocols = metadata.get("protocols", [metadata["protocol"]])
        self.protocol = "json" if "json" in protocols else "query"

    def type(self, reference):
        name = reference["shape"]
        shape = self.model["shapes"][name]
        kind = shape["type"]
        if shape.get("document"):
            return "d"
        if kind == "timestamp":
            # JSON counts seconds and the query protocol writes ISO 8601, unless the model says otherwise.
            form = reference.get("timestampFormat", shape.get("timestampFormat"))
            form = form or ("unixTimestamp" if self.protocol == "json" else "iso8601")
            return {"unixTimestamp": "t", "iso8601": "u"}[form]
        if kind in SCALARS:
            return SCALARS[kind]
        if name in self.numbers:
            return str(self.numbers[name])
        number = self.numbers[name] = len(self.shapes)
        self.shapes.append("")
        self.shapes[number] = self.line(shape, kind)
        return str(number)

    def line(self, shape, kind):
        flat = "~" if shape.get("flattened") else ""
        query = self.protocol == "query"
        if kind == "structure":
            members = []
            for name, member in shape["members"].items():
                wire = member.get("locationName", name)
                assert not member.get("flattened") or self.protocol == "json", name
                alias = "" if wire == name else f"={wire}"
                members.append(f"{name}{alias}:{self.type(member)}")
            return "{" + " ".join(members)
        if kind == "list":
            element = shape["member"].get("locationName")
            return f"[{flat}{self.type(shape['member'])}" + (f" {element}" if query and element else "")
        assert kind == "map", kind
        key, value = (shape[it].get("locationName") for it in ("key", "value"))
        names = f" {key or 'key'} {value or 'value'}" if query and (key or value) else ""
        return f"<{flat}{self.type(shape['value'])}{names}"

    def lines(self):
        metadata, model = self.model["metadata"], self.model
        prefix = metadata["endpointPrefix"]
        version = metadata["jsonVersion"] if self.protocol == "json" else metadata["apiVersion"]
        yield " ".join([
            "@" + metadata["serviceId"].replace(" ", "_"), self.protocol, prefix,
            metadata.get("signingName", prefix), metadata.get("targetPrefix", "-"), version,
        ])
        errors = []
        for name, shape in model["shapes"].items():
            if shape.get("exception"):
                code = shape.get("error", {}).get("code", name)
                errors.append(name if code == name else f"{name}={code}")
        yield " ".join("!" + error for error in sorted(errors))
        for name, operation in sorted(model["operations"].items()):
            sides = [self.type(operation[side]) if side in operation else "-" for side in ("input", "output")]
            wrapper = operation.get("output", {}).get("resultWrapper")
            yield " ".join([name, *sides] + ([wrapper] if wrapper else []))
        yield from self.shapes


def main():
    loader = Session().get_component("data_loader")
    print(f"# Made by generate.py from botocore {botocore.__version__}; not to be edited.")
    for name in SERVICES:
        for line in Service(loader.load_service_model(name, "service-2")).lines():
            print(line)


if __name__ == "__main__":
    sys.exit(main())
