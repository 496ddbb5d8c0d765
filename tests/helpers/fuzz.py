"""Requests drawn from an OpenAPI description: valid ones, and ones that are wrong in one or more places."""

import base64
import json
import random
from typing import Any
from urllib.parse import quote

ODD = (
    None,
    True,
    -1,
    0,
    1e300,
    -3.4e38,
    2**70,
    "",
    "x" * 2000,
    "\ud83d",
    "é\n\t",
    [],
    {},
    [[1]],
    {"a": 1},
    "NaN",
    0.1,
)
RAW = (
    b"",
    b"{",
    b"NaN",
    b"[NaN]",
    b'{"a":Infinity}',
    b"[" * 5000,
    b"\xff\xfe",
    b'"',
    b"null",
    b"1e999",
    b"[1,]",
    b"{}",
)
TYPES = ("application/json", "text/plain", "image/png", "multipart/form-data; boundary=x", "text/html", "", "\x7f")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def requests(description: dict[str, Any], rng: random.Random, count: int) -> Any:
    """Yield (method, path, headers, body)."""
    posts = [
        (quote(path), kind, content["schema"])
        for path, methods in description["paths"].items()
        if "post" in methods
        for kind, content in methods["post"]["requestBody"]["content"].items()
    ]
    gets = [quote(path) for path, methods in description["paths"].items() if "get" in methods]
    for _ in range(count):
        if rng.random() < 0.1:
            yield rng.choice(["GET", "GET", "POST", "PUT"]), _spoiled(rng.choice(gets), rng), {}, b""
            continue
        path, kind, schema = rng.choice(posts)
        content = value_of(schema, rng)
        if rng.random() < 0.5:
            content = mutated(content, rng)
        body = _body(content, kind, rng)
        if rng.random() < 0.1:
            body = rng.choice(
                [rng.choice(RAW), body[: rng.randrange(len(body) + 1)], body + b"x", _flipped(body, rng)]
            )
        headers = {"Content-Type": kind if rng.random() < 0.9 else rng.choice(TYPES[:-1])}
        if rng.random() < 0.1:
            headers["Inference-Header-Content-Length"] = str(
                rng.choice([0, len(body), 10**9, -1, "x", len(body) // 2])
            )
        yield "POST", path, headers, body


def value_of(schema: dict[str, Any], rng: random.Random) -> Any:
    """Draw a value that a schema allows."""
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return value_of(rng.choice(schema[choice]), rng)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0] if rng.random() < 0.7 else rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        needed = schema.get("required", ())
        items = schema["properties"].items()
        return {n: value_of(s, rng) for n, s in items if n in needed or rng.random() < 0.5}
    if kind == "array":
        low = schema.get("minItems", 0)
        high = min(schema.get("maxItems", low + 4), low + 4)
        return [value_of(schema["items"], rng) for _ in range(rng.randint(low, max(low, high)))]
    if kind in ("number", "integer"):
        low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
        drawn = rng.choice([rng.uniform(-10, 10), rng.uniform(low, high), low, high, rng.randint(0, 20)])
        return int(max(low, min(high, drawn))) if kind == "integer" else drawn
    if kind == "string":
        if schema.get("contentEncoding") == "base64":
            return base64.b64encode(PNG).decode()
        if schema.get("format") == "binary":
            return PNG
        texts = [
            *schema.get("examples", ()),
            "a",
            "12",
            "",
            "../../etc/passwd",
            "große Wörter " * rng.randint(0, 9),
        ]
        return rng.choice(texts)
    return {"boolean": rng.random() < 0.5, "null": None}.get(kind, 1)


def mutated(value: Any, rng: random.Random) -> Any:
    """Change a value in one place, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        rest = {key: inner for key, inner in value.items() if key != name}
        change = rng.random()
        if change < 0.2:
            return rest
        return {**rest, (name + "?" if change < 0.3 else name): mutated(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return [*value[:place], *value[place + 1 :]]
        return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    return rng.choice(ODD)


def _body(content: Any, kind: str, rng: random.Random) -> bytes:
    if kind.startswith("multipart/") and isinstance(content, dict):
        parts = []
        for name, value in content.items():
            data = value if isinstance(value, bytes) else str(value).encode(errors="replace")
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode(
                errors="replace"
            )
            parts.append(head + data + b"\r\n")
        return b"".join(parts) + b"--x--\r\n"
    if isinstance(content, bytes):
        return content if rng.random() < 0.7 else _flipped(content, rng)
    if kind == "text/plain" and isinstance(content, str):
        return content.encode(errors="replace")
    return json.dumps(content, default=str).encode()


def _flipped(body: bytes, rng: random.Random) -> bytes:
    if not body:
        return b"\0"
    place = rng.randrange(len(body))
    return body[:place] + bytes([body[place] ^ (1 << rng.randrange(8))]) + body[place + 1 :]


def _spoiled(path: str, rng: random.Random) -> str:
    return (
        path if rng.random() < 0.7 else rng.choice([path + "/", path + "x", path + "%00", "/v2/models/%ff/ready"])
    )
