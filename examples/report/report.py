"""Stands for DynamoDB, for the service with exchange rates and for the SQL database, and runs the workflow over them."""
import http.server
import json
import os
import sqlite3
import subprocess
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
CUSTOMERS = {
    "c-1": {"id": {"S": "c-1"}, "name": {"S": "Ada"}, "country": {"S": "GB"}},
    "c-2": {"id": {"S": "c-2"}, "name": {"S": "Émilie"}, "country": {"S": "FR"}},
    "c-3": {"id": {"S": "c-3"}, "name": {"S": "Max"}, "country": {"S": "CH"}},
}
ORDERS = [
    (1, "2026-10", "c-1", 100.0, "GBP"),
    (2, "2026-10", "c-2", 19.9, "EUR"),
    (3, "2026-10", "c-3", 250.5, "CHF"),
    (4, "2026-10", "c-1", 7.25, "GBP"),
    (5, "2026-10", "c-9", 12.0, "EUR"),
    (6, "2026-11", "c-2", 1.0, "EUR"),
]


class Elsewhere(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        if self.headers["x-api-key"] != "example":
            return self.answer(403, {})
        self.answer(200, {"EUR": 1, "CHF": 1.0625, "GBP": 1.125})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Amz-Target"] != "DynamoDB_20120810.GetItem":
            return self.answer(400, {"__type": "UnknownOperationException"})
        Elsewhere.asked += 1
        if Elsewhere.asked == 2:
            return self.answer(400, {"__type": "com.amazonaws.dynamodb#ProvisionedThroughputExceededException", "message": "busy"})
        item = CUSTOMERS.get(body["Key"]["id"]["S"])
        self.answer(200, {"Item": item} if item else {})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main(folder):
    database = os.path.join(folder, "orders.sqlite3")
    with sqlite3.connect(database) as orders:
        orders.execute("CREATE TABLE orders (id INTEGER, month TEXT, customer TEXT, amount REAL, currency TEXT)")
        orders.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", ORDERS)
    orders.close()
    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    place = "127.0.0.1:%d" % elsewhere.server_port
    command = ["expressway", "run", "report.asl.json", "--services", "--lambda-dir", "functions", "--files", folder]
    command += ["--endpoint", "DynamoDB=http://" + place, "--http-allow", place, "--connections", "connections.json"]
    command += ["--input", json.dumps({"month": "2026-10", "rates": "http://%s/rates" % place})]
    print("$", *command)
    done = subprocess.run(command, cwd=HERE, env=dict(os.environ, ORDERS_DATABASE=database), stdout=subprocess.PIPE, check=True)
    outcome = json.loads(done.stdout)
    print(json.dumps({"month": outcome["month"], "orders": outcome["orders"]}))
    files = os.path.join(folder, os.path.dirname(outcome["files"]))
    for name in ["SUCCEEDED_0.jsonl", "FAILED_0.jsonl"]:
        print(name)
        with open(os.path.join(files, name)) as lines:
            for line in sorted(lines):
                print(" ", line.strip())


with tempfile.TemporaryDirectory() as folder:
    main(folder)
