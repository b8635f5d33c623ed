"""The API in its own words: what it answers, whom it lets in, and what it says of bad requests."""

import asyncio
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from fastapi.testclient import TestClient

from conf.errors import ConfigurationError
from conf.settings import Horizon
from serving.api.app import Limits, make_app
from serving.api.keys import Gate, keys_of
from serving.tables import Tables

OPEN = "100000/second"
SEED = {
    "customer_id": "C9",
    "recency_days": 12,
    "orders": 7,
    "monetary": 412.5,
    "tenure_days": 380,
    "avg_discount": 0.05,
    "return_rate": 0.1,
    "category_diversity": 3,
}


@contextmanager
def _served(folder, gate=None, limits=None, horizon=None):
    app = make_app(Tables(str(folder)), gate or Gate([], OPEN), limits, 0.1, horizon)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(undisturbed: Path):
    with _served(undisturbed) as served:
        yield served


def _with(rows: pa.Table, **values: object) -> pa.Table:
    """The rows, with other values in these columns."""
    for name, value in values.items():
        place = rows.schema.get_field_index(name)
        column = pa.array([value] * len(rows), rows.schema.field(name).type)
        rows = rows.set_column(place, rows.schema.field(name), column)
    return rows


def _problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return told


def test_it_is_up_and_ready(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.head("/health").status_code == client.head("/ready").status_code == 200


def test_one_customers_score(client, undisturbed):
    stored = DeltaTable(f"{undisturbed}/current_scores").to_pandas().set_index("customer_id")
    who = stored.index[0]
    told = client.get(f"/scores/{who}").json()
    assert told["probability"] == stored["probability"][who]
    assert [one["sentence"] for one in told["reasons"]] == [
        one["sentence"] for one in stored["reasons"][who]
    ]
    assert told["as_of"] == str(stored["as_of"][who])[:10]
    _problem(client.get("/scores/nobody"), 404)
    _problem(client.get(f"/scores/{who}", params={"as_of": "1999-01-01"}), 404)
    for trick in ("..%2F..%2Fetc%2Fpasswd", "%00", "a%27%20OR%201=1--", "%F0%9F%8C%B5"):
        assert client.get(f"/scores/{trick}").status_code in (404, 422), trick


def test_pages_of_scores(client, undisturbed):
    stored = DeltaTable(f"{undisturbed}/current_scores").to_pandas()
    seen, offset = [], 0
    while offset is not None:
        page = client.get("/scores", params={"limit": 150, "offset": offset}).json()
        assert page["total"] == len(stored)
        seen += page["scores"]
        offset = page["next_offset"]
    assert {one["customer_id"] for one in seen} == set(stored["customer_id"])
    assert len(seen) == len(stored)
    chances = [one["probability"] for one in seen]
    assert chances == sorted(chances, reverse=True)
    for name, value in (("band", "high"), ("decile", 3)):
        found = client.get("/scores", params={name: value, "limit": 1000}).json()
        assert found["total"] == (stored[name] == value).sum() > 0
        assert {one[name] for one in found["scores"]} == {value}
    assert client.get("/scores", params={"offset": 10**6}).json()["scores"] == []


def test_every_customer_is_in_one_segment(client):
    names = [s["segment"] for s in client.get("/scores", params={"limit": 1000}).json()["scores"]]
    assert None not in names
    assert len(set(names)) > 3
    for name in set(names):
        found = client.get("/scores", params={"segment": name, "limit": 1000}).json()
        assert found["total"] == names.count(name)


def test_a_stored_segment_is_the_predicted_one(client, undisturbed):
    features = DeltaTable(f"{undisturbed}/features").to_pandas()
    latest = features[features["as_of"] == features["as_of"].max()].head(100)
    rows = latest[["customer_id", "recency_days", "orders_lifetime", "revenue_lifetime"]]
    sent = {"customers": rows.to_dict("records")}
    said = client.post("/predict/batch", json=sent).json()["predictions"]
    stored = client.get("/scores", params={"limit": 1000}).json()["scores"]
    known = {one["customer_id"]: one["segment"] for one in stored}
    assert [one["segment"] for one in said] == [known[one["customer_id"]] for one in said]


def test_a_customer_of_another_system_is_scored(client):
    told = client.post("/predict", json=SEED).json()
    assert told["customer_id"] == "C9"
    assert 0 < told["probability"] < 1
    assert told["features_given"] == 7
    assert len(told["reasons"]) == 3
    assert told["decile"] in range(1, 11)
    assert told["band"] in ("high", "medium", "low")
    assert told["model_version"]
    assert client.post("/predict?reasons=false", json=SEED).json()["reasons"] == []
    card = {one["name"]: one["read"] for one in client.get("/model").json()["features"]}
    assert told["features_unused"] == []
    unread = next(name for name, read in card.items() if not read and name.startswith("horizon"))
    assert client.post("/predict", json={unread: 3}).json()["features_unused"] == [unread]


@pytest.mark.parametrize("name", ["customers", "users"])
def test_a_batch_under_either_name(client, name):
    told = client.post(
        "/predict/batch", json={name: [SEED, {"user_id": 7}, {"recency_days": None}]}
    ).json()
    assert [one["customer_id"] for one in told["predictions"]] == ["C9", 7, None]
    alone = client.post("/predict", json=SEED).json()["probability"]
    assert told["predictions"][0]["probability"] == pytest.approx(alone, abs=1e-12)
    assert client.post("/predict/batch", json={name: []}).json()["predictions"] == []


def test_orders_are_scored_alone_and_in_a_batch(client):
    orders = [
        {"customer_id": "a", "ordered_at": "2023-12-01T10:00:00", "amount": 20},
        {"customer_id": "b", "ordered_at": "2023-11-01", "amount": "12.50", "kind": "purchase"},
    ]
    alone = client.post("/predict", json={"orders": orders[:1]}).json()
    assert alone["customer_id"] == "a"
    unnamed = {"orders": [{k: v for k, v in orders[0].items() if k != "customer_id"}]}
    assert client.post("/predict", json={"customer_id": "a", **unnamed}).json() == alone
    both = client.post("/predict/batch", json={"orders": orders, "as_of": "2024-01-15"}).json()
    assert [one["customer_id"] for one in both["predictions"]] == ["a", "b"]
    _problem(client.post("/predict", json={"orders": orders}), 422)
    _problem(client.post("/predict", json={"orders": orders, "as_of": "soon"}), 422)
    told = _problem(client.post("/predict/batch", json={"orders": [{"customer_id": "a"}]}), 422)
    assert {one["field"] for one in told["errors"]} == {"ordered_at", "amount"}


def test_of_orders_it_is_told_from_when_and_what_is_lacking(client):
    past = {"customer_id": 7, "ordered_at": "2023-12-01", "amount": 20}
    later = {"customer_id": "b", "ordered_at": "2999-01-01", "amount": 10}
    alone = client.post("/predict", json={"orders": [past]}).json()
    assert alone["customer_id"] == 7
    assert alone["as_of"] == client.get("/scores").json()["as_of"]
    assert alone["features_missing"] == []
    many = client.post(
        "/predict/batch", json={"orders": [past, {**later, "ordered_at": "2199-01-01"}]}
    )
    assert [one["customer_id"] for one in many.json()["predictions"]] == [7]
    assert many.json()["customers_without_orders"] == ["b"]
    told = _problem(
        client.post("/predict", json={"orders": [past, past | {"customer_id": 8}]}), 422
    )
    assert "of 2 customers" in told["detail"]
    told = _problem(client.post("/predict", json={"orders": [past], "recency_days": 3}), 422)
    assert told["errors"][0]["field"] == "recency_days"
    told = client.post(
        "/predict/batch", json={"orders": [past], "customers": [{"customer_id": "b"}]}
    )
    assert "there is no order of 'b'" in _problem(told, 422)["detail"]
    of_a_day = {"recency_days": 3, "as_of": "1999-01-01", "Customer_ID": "x"}
    said = client.post("/predict", json=of_a_day).json()
    assert (said["customer_id"], said["features_unused"]) == ("x", ["as_of"])


def test_a_failure_is_found_in_the_log_by_its_id(undisturbed, tmp_path, capsys):
    shutil.copytree(undisturbed, tmp_path / "lake")
    with _served(tmp_path / "lake") as served:
        for file in (tmp_path / "lake" / "scores").rglob("*.parquet"):
            file.write_bytes(b"broken")
        told = _problem(served.get("/scores/secret-customer"), 500)
    logged = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert len(logged) == 1
    assert told["request_id"] in logged[0]
    assert "secret-customer" not in logged[0]


def test_without_keys_no_other_name_than_this_machines_is_served(undisturbed):
    with _served(undisturbed, Gate([], OPEN, own_machine=True)) as served:
        for name, status in (("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200)):
            assert served.get("/scores", headers={"Host": name}).status_code == status
        _problem(served.get("/scores", headers={"Host": "evil.example"}), 403)


def test_who_hangs_up_is_no_failure(undisturbed):
    app = make_app(Tables(str(undisturbed)), Gate([], OPEN))
    parts = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def ask() -> None:
        async def receive():
            return parts.pop(0)

        async def send(message):
            sent.append(message)

        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1"},
            **{"method": "POST", "path": "/predict", "raw_path": b"/predict", "root_path": ""},
            **{"scheme": "http", "query_string": b"", "headers": [], "server": ("test", 80)},
            "client": ("test", 1),
        }
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    asyncio.run(ask())
    assert sent == []
    with TestClient(app) as served:
        assert 'route="/predict",status="499"} 1.0' in served.get("/metrics").text


def test_the_documentation_sends_a_key_where_one_is_asked_for(client, undisturbed):
    keys = keys_of("shop:reader-key-0123456789:read")
    with _served(undisturbed, Gate(keys, OPEN)) as served:
        paths = served.get("/openapi.json").json()["paths"]
    asks = {
        path for path, methods in paths.items() for one in methods.values() if "security" in one
    }
    assert asks == set(paths) - {"/health", "/ready"}
    assert "security" not in str(client.get("/openapi.json").json()["paths"])


def test_the_segment_of_another_system(client):
    sent = {"Recency": 3, "Frequency": 30, "Monetary": 9000, "Unique_Products": 12}
    told = client.post("/segment", json=sent).json()
    assert told["segment"] == "champions"
    assert told["plan"]
    _problem(client.post("/segment", json={"Recency": 3}), 422)


def test_the_card_of_the_model(client):
    card = client.get("/model").json()
    assert 0.5 < card["metrics"]["roc_auc"] < 1
    features = {one["name"]: one for one in card["features"]}
    assert "recency" in features["recency_days"]["synonyms"]
    assert any(one["read"] for one in features.values())
    assert all(one["description"] for one in features.values())
    assert client.get("/model/onnx").content[:2] == b"\x08\x0a"  # the version of ONNX's format


BAD_BODIES = {
    "no JSON": (b"{", 400),
    "nothing": (b"", 400),
    "NaN": (b'{"recency_days": NaN}', 400),
    "infinity": (b'{"recency_days": Infinity}', 400),
    "beyond a double": (b'{"recency_days": 1e999}', 400),
    "deep": (b"[" * 100_000, 400),
    "deep and closed": (b'{"a":' * 2000 + b"1" + b"}" * 2000, 400),
    "a list": (b"[]", 422),
    "a text": (b'"a"', 422),
    "not UTF-8": (b'{"recency_days": "\xff"}', 400),
    "lone surrogate": (b'{"\\ud800": 1}', 400),
    "huge number": (b'{"recency_days": ' + b"9" * 400 + b"}", 400),
    "unknown": (b'{"foo": 1}', 422),
    "wrong type": (b'{"recency_days": [1]}', 422),
    "a day that no log reaches": (
        b'{"customer_id": "a", "as_of": "9999-12-31", '
        b'"orders": [{"ordered_at": "2023-12-01", "amount": 1}]}',
        422,
    ),
    "customer of a wrong type": (b'{"customer_id": {"a": 1}}', 422),
    "nul": (b'{"favourite_category": "\\u0000", "foo\\u0000": 1}', 422),
}


@pytest.mark.parametrize("body", BAD_BODIES)
def test_bad_bodies_get_a_problem(client, body):
    content, status = BAD_BODIES[body]
    for path in ("/predict", "/predict/batch", "/segment"):
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (status, 400, 422), answer.text
        _problem(answer, answer.status_code)


def test_what_is_too_much_is_refused(undisturbed):
    with _served(undisturbed, limits=Limits(body=2000, batch=5, page=10)) as served:
        rows = [{"recency_days": 1}] * 6
        _problem(served.post("/predict/batch", json={"customers": rows}), 413)
        _problem(served.post("/predict", content=b" " * 3000), 413)
        _problem(served.get("/scores", params={"limit": 11}), 422)
        assert served.post("/predict/batch", json={"customers": rows[:5]}).status_code == 200


def test_other_methods_and_paths_get_a_problem(client):
    assert "POST" in client.put("/predict").headers["allow"]
    _problem(client.delete("/scores"), 405)
    _problem(client.get("/nothing"), 404)
    _problem(client.get("/scores", params={"band": "huge"}), 422)
    _problem(client.get("/scores", params={"segment": "rich"}), 422)
    _problem(client.get("/scores", params={"as_of": "0000"}), 422)
    assert "no such filter" in _problem(client.get("/scores?min_probability=1"), 422)["detail"]


def test_keys_open_what_their_scopes_name(undisturbed):
    keys = keys_of("shop:reader-key-0123456789:read,crm:other-key-01234567890:predict+metrics")
    with _served(undisturbed, Gate(keys, OPEN)) as served:
        read, predict = ({"X-API-Key": key.secret} for key in keys)
        assert served.get("/health").status_code == 200
        _problem(served.get("/scores"), 401)
        _problem(served.get("/scores", headers={"X-API-Key": "wrong"}), 401)
        _problem(served.get("/scores", headers={"X-API-Key": ("é" * 20).encode()}), 401)
        assert served.get("/scores", headers=read).status_code == 200
        _problem(served.get("/scores", headers=predict), 403)
        bearer = {"Authorization": f"Bearer {keys[1].secret}"}
        assert served.post("/predict", json=SEED, headers=bearer).status_code == 200
        _problem(served.post("/predict", json=SEED, headers=read), 403)
        assert served.get("/metrics", headers=predict).status_code == 200


@pytest.mark.parametrize(
    "text",
    ["a", "a:short:read", "a:long-enough-0123456:own", "a:b:c:d", ":long-enough-0123456:read"],
)
def test_keys_that_are_wrong_are_named_by_their_place_alone(text):
    with pytest.raises(ConfigurationError, match="entry 1") as told:
        keys_of(text)
    assert "long-enough" not in str(told.value)


def test_too_many_requests_wait(undisturbed):
    with _served(undisturbed, Gate([], "3/minute")) as served:
        answers = [served.get("/scores", params={"limit": 1}) for _ in range(4)]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        _problem(answers[3], 429)
        assert int(answers[3].headers["retry-after"]) > 0
    with pytest.raises(ConfigurationError, match="--rate"):
        Gate([], "often")
    with pytest.raises(ConfigurationError, match="--rate"):
        Gate([], "0/second")


def test_requests_have_ids_and_are_counted(client):
    given = client.get("/health", headers={"X-Request-ID": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    odd = client.get("/health", headers={"X-Request-ID": "x" * 100})
    assert odd.headers["x-request-id"] != "x" * 100
    client.post("/predict", json=SEED)
    told = client.get("/metrics").text
    assert 'repurchase_requests_total{route="/predict",status="200"}' in told
    assert "repurchase_request_seconds_bucket" in told
    assert "repurchase_probability_bucket" in told
    assert 'repurchase_model{name="logistic_regression"' in told


def test_a_new_champion_is_picked_up_and_a_bad_one_is_not(undisturbed, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(undisturbed, folder)
    models = DeltaTable(f"{folder}/models")
    row = models.to_pyarrow_table()
    with _served(folder) as served:
        before = served.post("/predict", json=SEED).json()
        later = _with(row, model_version="later")
        write_deltalake(models, _with(row, model_version="broken", open_form="{"), mode="overwrite")
        time.sleep(1)
        assert served.post("/predict", json=SEED).json() == before
        write_deltalake(models, later, mode="overwrite")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            told = served.post("/predict", json=SEED).json()
            if told["model_version"] == "later":
                break
            time.sleep(0.1)
        assert told["model_version"] == "later"
        assert told["probability"] == before["probability"]


def test_tables_made_anew_in_their_place_are_picked_up(undisturbed, tmp_path):
    """With as many commits as before."""
    folder = tmp_path / "lake"
    shutil.copytree(undisturbed, folder)
    models = DeltaTable(f"{folder}/models")
    row, versions = models.to_pyarrow_table(), models.version()
    with _served(folder) as served:
        assert served.get("/model").json()["model_version"] != "anew"
        shutil.rmtree(folder / "models")
        for _ in range(versions + 1):
            write_deltalake(f"{folder}/models", _with(row, model_version="anew"), mode="overwrite")
        assert DeltaTable(f"{folder}/models").version() == versions
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            told = served.get("/model").json()["model_version"]
            if told == "anew":
                break
            time.sleep(0.1)
        assert told == "anew"


def test_horizons_are_kept_apart(undisturbed, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(undisturbed, folder)
    for name in ("scores", "current_scores", "models"):
        rows = DeltaTable(f"{folder}/{name}").to_pyarrow_table()
        other = {"probability": 1.0, "decile": 1, "band": "high"}
        changed = {"model_version": "daily"} if name == "models" else other
        write_deltalake(f"{folder}/{name}", _with(rows, horizon_days=1, **changed), mode="append")
    with _served(folder, horizon=Horizon(30)) as served:
        month, day = (
            served.get("/scores", params=wanted).json() for wanted in ({}, {"horizon_days": 1})
        )
        assert month["total"] == day["total"]
        assert {one["horizon_days"] for one in month["scores"]} == {30}
        assert {one["probability"] for one in day["scores"]} == {1.0}
        who = month["scores"][-1]["customer_id"]
        assert served.get(f"/scores/{who}").json()["horizon_days"] == 30
        assert served.get(f"/scores/{who}", params={"horizon_days": 1}).json()["probability"] == 1.0
        assert served.get("/scores", params={"horizon_hours": 6}).json()["total"] == 0
        assert served.get("/model").json()["horizon_days"] == 30
        # The deciles are of the customers scored for the same horizon.
        assert served.post("/predict", json=SEED).json()["decile"] is not None
    with _served(folder, horizon=Horizon(1)) as served:
        assert served.get("/model").json()["model_version"] == "daily"
    with _served(folder, horizon=Horizon(7)) as served:
        assert "published for 7 days" in _problem(served.get("/ready"), 503)["detail"]


def test_nobody_scored_is_no_fault_of_the_caller(undisturbed, tmp_path):
    folder = tmp_path / "lake"
    shutil.copytree(undisturbed, folder)
    scores = DeltaTable(f"{folder}/scores")
    write_deltalake(scores, scores.to_pyarrow_table().slice(0, 0), mode="overwrite")
    with _served(folder) as served:
        assert served.get("/scores").json()["scores"] == []
        assert "for 30 days" in _problem(served.get("/scores/C1"), 404)["detail"]
        both = {"horizon_days": 30, "horizon_hours": 6}
        _problem(served.get("/scores", params=both), 422)
        shutil.rmtree(folder / "scores")
        for path in ("/scores", "/scores/C1"):
            assert str(folder) not in _problem(served.get(path), 503)["detail"]


def test_who_sends_very_much_that_is_wrong_is_told_of_some(client):
    told = _problem(client.post("/predict", json={f"k{n}": 1 for n in range(50_000)}), 422)
    assert len(told["errors"]) == 100


def test_without_a_champion_it_says_that_it_is_not_ready(undisturbed, tmp_path):
    models = DeltaTable(f"{undisturbed}/models").to_pyarrow_table()
    write_deltalake(str(tmp_path / "models"), _with(models, published=False))
    with _served(tmp_path) as served:
        assert served.get("/health").status_code == 200
        assert "is published" in _problem(served.get("/ready"), 503)["detail"]
        _problem(served.post("/predict", json=SEED), 503)


def test_the_examples_of_the_documentation_work(client):
    document = client.get("/openapi.json").json()
    tried = 0
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            answer = client.post(path, content=orjson.dumps(example["value"]))
            assert answer.status_code == 200, (path, answer.text)
            tried += 1
    assert tried >= 5
    page = client.get("/docs").text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any("swagger" in file for file in files)
    # Complete without a network.
    assert [client.get(file).status_code for file in files] == [200] * len(files)


def test_many_at_a_time_get_their_own_answers(undisturbed):
    app = make_app(Tables(str(undisturbed)), Gate([], OPEN))

    async def ask() -> list[int]:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
                sent = [SEED | {"customer_id": number} for number in range(200)]
                answers = await asyncio.gather(*[asking.post("/predict", json=one) for one in sent])
                return [answer.json()["customer_id"] for answer in answers]

    assert asyncio.run(ask()) == list(range(200))
