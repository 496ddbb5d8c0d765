"""The Open Inference Protocol: metadata, JSON and binary tensors, with and without tritonclient."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from http_client import ask

from dltrain.serving.oip import HEADER


def infer(url, model, body, header=None):
    more = {HEADER.replace("-", "_"): str(header)} if header is not None else {}
    return ask(url, f"/v2/models/{model}/infer", body, **more)


def tensors_of(answer) -> dict[str, np.ndarray]:
    size = int(answer.headers.get(HEADER, len(answer.body)))
    found, place = {}, size
    for entry in json.loads(answer.body[:size])["outputs"]:
        dtype = {"INT32": "<i4", "FP32": "<f4", "BYTES": object}[entry["datatype"]]
        if "data" in entry:
            values = np.array(entry["data"], dtype)
        elif entry["datatype"] == "BYTES":
            values, end = [], place + entry["parameters"]["binary_data_size"]
            while place < end:
                (length,) = struct.unpack_from("<I", answer.body, place)
                values.append(answer.body[place + 4 : place + 4 + length].decode())
                place += 4 + length
            values = np.array(values, object)
        else:
            end = place + entry["parameters"]["binary_data_size"]
            values, place = np.frombuffer(answer.body[place:end], dtype), end
        found[entry["name"]] = values.reshape(entry["shape"])
    return found


def tensor(name, values, datatype="FP32", **more):
    return {"name": name, "datatype": datatype, "shape": list(np.shape(values)), **more}


def as_binary(entries: dict[str, tuple[str, np.ndarray]], **more) -> tuple[bytes, int]:
    raw = {name: values.tobytes() for name, (_, values) in entries.items()}
    inputs = [
        tensor(name, values, datatype, parameters={"binary_data_size": len(raw[name])})
        for name, (datatype, values) in entries.items()
    ]
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(raw.values()), len(head)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1), np.uint8)


def test_metadata_names_the_server_the_model_and_its_tensors(digits_url, table_url):
    server = ask(digits_url, "/v2").json
    assert server["name"] == "dltrain" and server["extensions"] == ["binary_tensor_data"]
    model = ask(digits_url, "/v2/models/mein%20lauf").json
    assert model["name"] == "mein lauf" and model["versions"] == ["1"] and model["platform"]
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert [(o["name"], o["datatype"], o["shape"]) for o in model["outputs"]] == [
        ("class", "INT32", [-1]),
        ("probabilities", "FP32", [-1, 10]),
        ("class_name", "BYTES", [-1]),
    ]
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/flats/ready",
        "/v2/models/flats/versions/1/ready",
    ):
        assert ask(table_url, path).status == 200
    assert ask(table_url, "/v2/models/flats/versions/1").json["name"] == "flats"
    for path in ("/v2/models/flat", "/v2/models/flats/versions/2", "/v3", "/v2/models/flats/infer/x"):
        assert ask(table_url, path).status == 404 and ask(table_url, path).error
    assert ask(table_url, "/predict").status == 405


@pytest.mark.parametrize("asks_binary", [False, True])
@pytest.mark.parametrize("sends_binary", [False, True])
def test_tensors_in_json_and_binary_give_the_decisions(digits_url, digits, pixels, sends_binary, asks_binary):
    more = {"id": "a é", "parameters": {"binary_data_output": asks_binary}}
    if sends_binary:
        body, header = as_binary({"image": ("UINT8", pixels)}, **more)
    else:
        nested = {"inputs": [tensor("image", pixels, "UINT8", data=pixels.tolist())], **more}
        body, header = json.dumps(nested).encode(), None
    answer = infer(digits_url, "mein%20lauf", body, header)
    assert answer.status == 200 and (HEADER in answer.headers) == asks_binary
    size = int(answer.headers.get(HEADER, len(answer.body)))
    about = json.loads(answer.body[:size])
    assert (about["id"], about["model_name"], about["model_version"]) == ("a é", "mein lauf", "1")
    found, wanted = tensors_of(answer), digits.predict(pixels)
    assert np.array_equal(found["class"], wanted["class"])
    assert np.allclose(found["probabilities"], wanted["probabilities"], rtol=1e-5, atol=1e-7)
    assert found["class_name"].tolist() == [digits.spec.classes[i] for i in wanted["class"]]


def test_chosen_outputs_are_returned_in_the_chosen_form_and_order(digits_url, pixels):
    outputs = [{"name": "class_name", "parameters": {"binary_data": True}}, {"name": "class"}]
    flat = tensor("image", pixels, "UINT8", data=pixels.reshape(-1).tolist())
    answer = infer(digits_url, "mein%20lauf", {"inputs": [flat], "outputs": outputs})
    about = json.loads(answer.body[: int(answer.headers[HEADER])])["outputs"]
    assert [o["name"] for o in about] == ["class_name", "class"] and "data" in about[1] and "data" not in about[0]
    assert tensors_of(answer)["class_name"].shape == (5,)


def test_a_table_takes_its_arrays_or_its_columns(table_url, table, flats):
    rows = [{**row, "photo": None} for row in flats[:6]]
    wanted = table.predict(rows)["probabilities"]
    arrays = table.bundle.encode(rows)
    types = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
    body, header = as_binary({name: (types[str(v.dtype)], v) for name, v in arrays.items()})
    assert np.allclose(tensors_of(infer(table_url, "flats", body, header))["probabilities"], wanted, rtol=1e-5)
    full = [flats[i] for i in (1, 2, 4, 5)]  # nothing is missing but `about` of the second
    columns = {name: ["" if row[name] is None else row[name] for row in full] for name in full[0]}
    columns["rooms"] = [2.0, 1.0, 3.0, 1.0]
    files = [Path(path).read_bytes() for path in columns.pop("photo")]
    inputs = [tensor("rooms", columns.pop("rooms"), "FP32", data=[2.0, 1.0, 3.0, 1.0])]
    inputs += [tensor(name, values, "BYTES", data=values) for name, values in columns.items()]
    raw = b"".join(struct.pack("<I", len(content)) + content for content in files)
    inputs.append(tensor("photo", files, "BYTES", parameters={"binary_data_size": len(raw)}) | {"shape": [4, 1]})
    head = json.dumps({"inputs": inputs}).encode()
    answer = infer(table_url, "flats", head + raw, len(head))
    wanted = table.predict([{**row, "rooms": n} for row, n in zip(full, (2, 1, 3, 1), strict=True)])
    assert np.allclose(tensors_of(answer)["probabilities"], wanted["probabilities"], rtol=1e-5), answer.body


GOOD = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 1], "data": [0] * 64}
WRONG = {
    "no object": ([], "expected a JSON object"),
    "no inputs": ({"inputs": []}, "expected image"),
    "another name": ({"inputs": [{**GOOD, "name": "picture"}]}, "image is missing; expected image"),
    "twice": ({"inputs": [GOOD, GOOD]}, "image is given twice"),
    "another shape": (
        {"inputs": [{**GOOD, "shape": [1, 64]}]},
        r"expected uint8 [N, 8, 8, 1], found uint8 [1, 64]",
    ),
    "another size": (
        {"inputs": [{**GOOD, "shape": [1, 4, 4, 1], "data": [0] * 16}]},
        "expected uint8 [N, 8, 8, 1]",
    ),
    "too few": ({"inputs": [{**GOOD, "data": [0] * 63}]}, "found 63 values"),
    "uneven": ({"inputs": [{**GOOD, "data": [[0], [0, 1]]}]}, "found other values"),
    "floats": ({"inputs": [{**GOOD, "data": [0.5] * 64}]}, "expected data of UINT8"),
    "too large": ({"inputs": [{**GOOD, "data": [256] * 64}]}, "UINT8"),
    "huge": ({"inputs": [{**GOOD, "datatype": "INT64", "data": [10**30] * 64}]}, "INT64 cannot hold"),
    "a datatype": ({"inputs": [{**GOOD, "datatype": "INT7"}]}, "expected one of BOOL"),
    "texts": ({"inputs": [{**GOOD, "datatype": "BYTES", "shape": [1], "data": ["a"]}]}, "is not a JPEG"),
    "a bad shape": ({"inputs": [{**GOOD, "shape": [-1, 8, 8, 1]}]}, "expected a shape"),
    "no rows": ({"inputs": [{**GOOD, "shape": [0, 8, 8, 1], "data": []}]}, "no rows"),
    "an output": ({"inputs": [GOOD], "outputs": [{"name": "logits"}]}, "expected class, probabilities, class_name"),
    "classification": (
        {"inputs": [GOOD], "outputs": [{"name": "class", "parameters": {"classification": 2}}]},
        "ask for class_name",
    ),
    "shared memory": ({"inputs": [{**GOOD, "parameters": {"shared_memory_region": "x"}}]}, "not supported"),
    "an id": ({"inputs": [GOOD], "id": 7}, "id: expected a text"),
    "raw bytes": ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 64}}]}, "0 raw bytes are left"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_what_was_expected(digits_url, name):
    body, words = WRONG[name]
    answer = infer(digits_url, "mein%20lauf", body)
    assert answer.status == 400 and words in answer.error, answer


def test_numbers_that_are_not_finite_or_no_level_are_refused(table_url, table, flats):
    arrays = {k: v.copy() for k, v in table.bundle.encode([{**flats[0], "photo": None}]).items()}
    types = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
    for name, value, words in (
        ("numbers", np.nan, "nan at [0, 0]; expected finite numbers"),
        ("categories", 99, "categories is 99 at [0, 0], expected a number from 0 to 3"),
        ("categories", -1, "categories is -1 at [0, 0]"),
    ):
        changed = {**arrays, name: arrays[name].copy()}
        changed[name][0, 0] = value
        body, header = as_binary({n: (types[str(v.dtype)], v) for n, v in changed.items()})
        answer = infer(table_url, "flats", body, header)
        assert answer.status == 400 and words in answer.error, answer


@pytest.mark.parametrize("header", ["-1", "x", "99999", "3", "9" * 20])
def test_a_wrong_header_length_is_refused(digits_url, header):
    body, _ = as_binary({"image": ("UINT8", np.zeros((1, 8, 8, 1), np.uint8))})
    assert infer(digits_url, "mein%20lauf", body, header).status == 400


@pytest.mark.parametrize("size", [63, 65, 0, -1, True, "64"])
def test_a_wrong_number_of_raw_bytes_is_refused(digits_url, size):
    entry = {**GOOD, "parameters": {"binary_data_size": size}}
    del entry["data"]
    head = json.dumps({"inputs": [entry]}).encode()
    answer = infer(digits_url, "mein%20lauf", head + bytes(64), len(head))
    assert answer.status == 400 and ("bytes" in answer.error or "binary_data_size" in answer.error)


@pytest.mark.parametrize("raw", [b"", b"\1\0\0", b"\2\0\0\0a", b"\xff\xff\xff\xffa", b"\1\0\0\0ab"])
def test_texts_that_do_not_fit_their_lengths_are_refused(table_url, raw):
    entry = {"name": "city", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry]}).encode()
    answer = infer(table_url, "flats", head + raw, len(head))
    assert answer.status == 400 and "expected 1 BYTES elements" in answer.error


def test_tritonclient_reads_metadata_and_infers(digits_url, digits, pixels):
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = triton.InferenceServerClient(digits_url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("mein lauf")
    assert client.get_server_metadata()["name"] == "dltrain"
    (described,) = client.get_model_metadata("mein lauf")["inputs"]
    wanted = digits.predict(pixels)
    for binary in (True, False):
        given = triton.InferInput("image", pixels.shape, described["datatype"])
        given.set_data_from_numpy(pixels, binary_data=binary)
        names = ("class", "probabilities", "class_name")
        for outputs in (None, [triton.InferRequestedOutput(name, binary_data=binary) for name in names]):
            found = client.infer("mein lauf", [given], outputs=outputs, request_id="1")
            assert np.array_equal(found.as_numpy("class"), wanted["class"])
            assert np.allclose(found.as_numpy("probabilities"), wanted["probabilities"], rtol=1e-5, atol=1e-7)
            texts = [v.decode() if isinstance(v, bytes) else v for v in found.as_numpy("class_name")]
            assert texts == [digits.spec.classes[i] for i in wanted["class"]]
    with pytest.raises(Exception, match="expected uint8"):
        given = triton.InferInput("image", [1, 4], "UINT8")
        given.set_data_from_numpy(np.zeros((1, 4), np.uint8))
        client.infer("mein lauf", [given])
    client.close()
