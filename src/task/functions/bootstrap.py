# Runs the function `handler` (or `lambda_handler`) of a file: takes one invocation after the other from Lambda's runtime API.
import http.client
import importlib.util
import json
import os
import sys
import time
import traceback

file = sys.argv[1]
name = os.path.splitext(os.path.basename(file))[0]
sys.argv = [file]
sys.path[0:1] = [os.path.dirname(file)]
# No function sees a module that is not there.
server = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
ROOT = "/2018-06-01/runtime/"


def ask(method, path, body=None, headers={}):
    server.request(method, ROOT + path, body, headers)
    reply = server.getresponse()
    return reply, reply.read()


def tell(path, error, kind=None):
    """Posts an error, and writes it to the log."""
    frames = traceback.extract_tb(error.__traceback__)
    # Frames of this script are of no interest.
    frames = [frame for frame in frames if not frame.filename.startswith(("<bootstrap>", "<frozen"))]
    told = {
        "errorMessage": str(error),
        "errorType": kind or type(error).__name__,
        "stackTrace": traceback.format_list(frames),
    }
    if path.startswith("invocation/"):
        told["requestId"] = path.split("/")[1]
    print("[ERROR] %s: %s" % (told["errorType"], told["errorMessage"]), file=sys.stderr)
    print("".join(told["stackTrace"]), end="", file=sys.stderr, flush=True)
    ask("POST", path, json.dumps(told).encode(), {"Lambda-Runtime-Function-Error-Type": told["errorType"]})


class Context:
    """What a handler is told of its invocation."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        client = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = json.loads(client) if client else None
        self.identity = None
        self.deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self.deadline_ms - int(time.time() * 1000))


class Missing(Exception):
    pass


try:
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    handler = getattr(module, "handler", None) or getattr(module, "lambda_handler", None)
    if handler is None:
        raise Missing("Handler 'handler' missing on module '%s'" % name)
except Exception as error:
    kinds = [
        (ImportError, "Runtime.ImportModuleError"),
        (SyntaxError, "Runtime.UserCodeSyntaxError"),
        (Missing, "Runtime.HandlerNotFound"),
    ]
    tell("init/error", error, next((kind for of, kind in kinds if isinstance(error, of)), None))
    sys.exit(1)

while True:
    reply, event = ask("GET", "invocation/next")
    if reply.status != 200:
        sys.exit("the runtime API says %d" % reply.status)
    os.environ["_X_AMZN_TRACE_ID"] = reply.headers.get("Lambda-Runtime-Trace-Id", "")
    context = Context(reply.headers)
    path = "invocation/" + context.aws_request_id
    try:
        result = handler(json.loads(event), context)
    except Exception as error:
        tell(path + "/error", error)
        continue
    try:
        body = json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        tell(path + "/error", error, "Runtime.MarshalError")
        continue
    ask("POST", path + "/response", body)
