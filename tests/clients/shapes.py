"""Checks raw responses against the service model that botocore carries: every member known, of its type, none missing."""

import json


def check(value, shape, place):
    """All differences between a JSON value and a shape of the model."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{place}: not an object"]
        wrong = [f"{place}.{name}: unknown member" for name in value if name not in shape.members]
        wrong += [f"{place}.{name}: missing" for name in shape.required_members if name not in value]
        for name, member in shape.members.items():
            if name in value and value[name] is not None:
                wrong += check(value[name], member, f"{place}.{name}")
        return wrong
    if kind == "list":
        if not isinstance(value, list):
            return [f"{place}: not a list"]
        return [it for n, item in enumerate(value) for it in check(item, shape.member, f"{place}[{n}]")]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{place}: not a map"]
        return [it for name, item in value.items() for it in check(item, shape.value, f"{place}.{name}")]
    if kind == "string":
        if not isinstance(value, str):
            return [f"{place}: not a string"]
        enum = getattr(shape, "enum", None)
        if enum and value not in enum:
            return [f"{place}: {value!r} is none of {enum}"]
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
        if len(value) < least or (most is not None and len(value) > most):
            return [f"{place}: {len(value)} characters, not {least} to {most}"]
        return []
    if kind in ("timestamp", "float", "double"):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return [] if is_number else [f"{place}: not a number"]
    if kind in ("integer", "long"):
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return [] if is_integer else [f"{place}: not an integer"]
    if kind == "boolean":
        return [] if isinstance(value, bool) else [f"{place}: not a boolean"]
    return [f"{place}: a {kind}, which this does not know"]


class Watcher:
    """Looks at every response of a client; remembers which operations were seen, and what was wrong."""

    def __init__(self, client):
        self.seen, self.wrong = set(), []
        model = client.meta.service_model
        # `before-parse` sees the raw response; `after-call` is not called for errors that are raised.
        client.meta.events.register(
            "before-parse.sfn",
            lambda operation_model, response_dict, **_: self.look(
                model.operation_model(operation_model.name), response_dict, response_dict["status_code"] >= 300
            ),
        )

    def look(self, operation, http, is_error):
        """One response, as botocore has it before parsing."""
        name = operation.name
        self.seen.add(name)
        headers = {key.lower(): value for key, value in http["headers"].items()}
        if not headers.get("x-amzn-requestid"):
            self.wrong.append(f"{name}: no request id")
        if headers.get("content-type") != "application/x-amz-json-1.0":
            self.wrong.append(f"{name}: content type {headers.get('content-type')}")
        body = json.loads(http["body"] or b"{}")
        if is_error:
            if not body.get("__type") or not headers.get("x-amzn-errortype"):
                self.wrong.append(f"{name}: an error without a name")
        elif operation.output_shape is not None:
            self.wrong += check(body, operation.output_shape, name)
