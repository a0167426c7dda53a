"""Reads orders from the SQL database that the environment names."""
import contextlib
import os
import sqlite3


def handler(event, context):
    with contextlib.closing(sqlite3.connect(os.environ["ORDERS_DATABASE"])) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(
            "SELECT id, customer, amount, currency FROM orders WHERE month = ? ORDER BY id", (event["month"],)
        )
        return [dict(row) for row in rows]
