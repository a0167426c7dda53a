"""Writes the files beside it: the same rows in several forms, and what they are as JSON. It takes pyarrow 26."""
import base64, datetime, decimal, json, pathlib, random, uuid
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
ROWS = 40
random.seed(7)


def maybe(make, chance=0.25):
    return None if random.random() < chance else make()


def several(make, most=3):
    return [make() for _ in range(random.randint(0, most))]


def word():
    return random.choice(["", "plum", "plum tree", "plum \"trees\"", "ünïcode", "a/b/c/d", "a/b/c/e"])


def number():
    return random.randint(-1000, 1000)


struct = pa.struct([("n", pa.int32()), ("words", pa.list_(pa.string()))])
TYPES = {
    "id": pa.field("id", pa.int64(), nullable=False),
    "flag": pa.bool_(), "small": pa.int8(), "short": pa.int16(), "int": pa.int32(),
    "byte": pa.uint8(), "unsigned": pa.uint32(), "long": pa.uint64(),
    "half": pa.float16(), "float": pa.float32(), "double": pa.float64(),
    "text": pa.string(), "bytes": pa.binary(), "fixed": pa.binary(4), "uuid": pa.uuid(),
    "date": pa.date32(), "time": pa.time32("ms"), "micros": pa.time64("us"), "nanos": pa.time64("ns"),
    "at_ms": pa.timestamp("ms", "UTC"), "at_us": pa.timestamp("us"), "at_ns": pa.timestamp("ns", "UTC"),
    "price": pa.decimal128(9, 2), "wide": pa.decimal128(38, 10), "whole": pa.decimal128(18, 0),
    "list": pa.list_(pa.int32()), "lists": pa.list_(pa.list_(pa.string())), "struct": struct,
    "structs": pa.list_(struct), "map": pa.map_(pa.string(), pa.int64()), "by_number": pa.map_(pa.int32(), struct),
}


def a_struct():
    return {"n": maybe(number), "words": maybe(lambda: several(lambda: maybe(word)))}


def moment(part):
    return datetime.datetime(2026, 1, 31, 23, 59, 58, part) + datetime.timedelta(hours=random.randint(-400_000, 400_000))


def row(n):
    return {
        "id": n, "flag": maybe(lambda: random.random() < 0.5), "small": maybe(lambda: random.randint(-128, 127)),
        "short": maybe(number), "int": maybe(lambda: random.randint(-2**31, 2**31 - 1)),
        "byte": maybe(lambda: random.randint(0, 255)), "unsigned": maybe(lambda: random.randint(0, 2**32 - 1)),
        "long": maybe(lambda: random.randint(0, 2**64 - 1)), "half": maybe(lambda: number() / 4),
        "float": maybe(lambda: random.choice([0.1, -2.5, 1e10, float("nan")])),
        "double": maybe(lambda: random.choice([0.1, 1e300, float("inf"), float("-inf")])),
        "text": maybe(word), "bytes": maybe(lambda: random.randbytes(random.randint(0, 5))),
        "fixed": maybe(lambda: random.randbytes(4)), "uuid": maybe(lambda: random.randbytes(16)),
        "date": maybe(lambda: moment(0).date()), "time": maybe(lambda: datetime.time(23, 59, 58, 123_000)),
        "micros": maybe(lambda: datetime.time(0, 0, 1, 123_456)), "nanos": maybe(lambda: 86_399_000_000_007),
        "at_ms": maybe(lambda: moment(123_000)), "at_us": maybe(lambda: moment(123_456)),
        "at_ns": maybe(lambda: moment(123_456)), "price": maybe(lambda: decimal.Decimal(number()) / 100),
        "wide": maybe(lambda: decimal.Decimal(random.randint(-10**37, 10**37)).scaleb(-10, decimal.Context(prec=40))),
        "whole": maybe(lambda: decimal.Decimal(number())),
        "list": maybe(lambda: several(lambda: maybe(number))),
        "lists": maybe(lambda: several(lambda: maybe(lambda: several(lambda: maybe(word))))),
        "struct": maybe(a_struct), "structs": maybe(lambda: several(lambda: maybe(a_struct))),
        "map": maybe(lambda: {f"k{n}": maybe(number) for n in range(random.randint(0, 3))}.items()),
        "by_number": maybe(lambda: {n: maybe(a_struct) for n in range(random.randint(0, 2))}.items()),
    }


def shown(name, value):
    """A value as JSON."""
    if value is None:
        return None
    if name in ("map", "by_number"):
        return {str(key): item for key, item in value}
    if name == "uuid":
        return str(uuid.UUID(bytes=value))
    if name == "nanos":
        return "23:59:59.000000007"
    if name in ("float", "double") and value not in (0.1, -2.5, 1e10, 1e300):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        since = value - datetime.datetime(1970, 1, 1)
        return since // datetime.timedelta(milliseconds=1)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat("milliseconds" if name == "time" else "microseconds")
    if isinstance(value, decimal.Decimal):
        scale = TYPES[name].scale
        return format(value, f".{scale}f")
    return value


rows = [row(n) for n in range(ROWS)]
fields = [it if isinstance(it, pa.Field) else pa.field(name, it) for name, it in TYPES.items()]
table = pa.Table.from_pylist([{name: list(v) if type(v).__name__ == "dict_items" else v for name, v in r.items()} for r in rows],
                             schema=pa.schema(fields))
lines = [json.dumps({name: shown(name, value) for name, value in r.items()}, ensure_ascii=False) for r in rows]
(HERE / "kinds.jsonl").write_text("\n".join(lines) + "\n")
deltas = {"id": "DELTA_BINARY_PACKED", "int": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY",
          "bytes": "DELTA_LENGTH_BYTE_ARRAY", "double": "BYTE_STREAM_SPLIT",
          "lists.list.element.list.element": "DELTA_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY"}
plain = dict(row_group_size=ROWS, store_schema=False, write_statistics=False)
for name, more in {
    "plain": dict(compression="none", use_dictionary=False),
    "snappy": dict(compression="snappy", row_group_size=16, data_page_size=64),
    "gzip": dict(compression="gzip", data_page_version="2.0", row_group_size=16, data_page_size=64),
    "zstd": dict(compression="zstd", use_dictionary=False, column_encoding=deltas, data_page_version="2.0"),
    "old": dict(compression="snappy", version="1.0", use_compliant_nested_type=False),
    "brotli": dict(compression="brotli", row_group_size=ROWS),
}.items():
    kept = table
    if name == "old":
        # Neither small integers nor parts of milliseconds are known there as what they are.
        kept = table.select(["id", "text", "list", "lists", "structs", "map", "price"])
    elif name == "brotli":
        kept = table.select(["id", "text"])
    pq.write_table(kept, HERE / f"{name}.parquet", **{**plain, **more})
