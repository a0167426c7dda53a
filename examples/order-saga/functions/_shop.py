"""The shop's database: what is in stock, what is reserved for an order, and what was charged for it."""
import contextlib
import os
import sqlite3

FILE = os.environ.get("SHOP", os.path.join(os.path.dirname(__file__), "..", "shop.sqlite3"))


@contextlib.contextmanager
def changes():
    """All of a function's changes, or none: other orders are worked on at the same time."""
    with contextlib.closing(sqlite3.connect(FILE, timeout=30, isolation_level=None)) as shop:
        shop.execute("BEGIN IMMEDIATE")
        shop.execute("CREATE TABLE IF NOT EXISTS stock (article TEXT PRIMARY KEY, pieces INTEGER CHECK (pieces >= 0))")
        shop.execute("CREATE TABLE IF NOT EXISTS reserved (id TEXT, article TEXT, pieces INTEGER, PRIMARY KEY (id, article))")
        shop.execute("CREATE TABLE IF NOT EXISTS charged (id TEXT PRIMARY KEY, cents INTEGER, tries INTEGER)")
        shop.execute("INSERT OR IGNORE INTO stock VALUES ('book', 10), ('pen', 100), ('globe', 3)")
        try:
            yield shop
        except BaseException:
            shop.execute("ROLLBACK")
            raise
        shop.execute("COMMIT")


if __name__ == "__main__":
    with changes() as shop:
        for table in ["stock", "reserved", "charged"]:
            rows = shop.execute("SELECT * FROM %s ORDER BY 1, 2" % table).fetchall()
            print(table, *rows, sep="\n  ")
