"""The API, asked how it is and how fast it answers."""

import json
import os
import re
import time
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd

# Where the API asks for a key: one with the scope `metrics`.
KEY = "REPURCHASE_API_KEY"
TRIES = 20
_SECONDS = 3
# The value of a label may have a brace: /scores/{customer_id}.
_LABELS = r"\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\}"
_SUM = re.compile(rf"^(\w+_seconds)_(sum|count)({_LABELS})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Response:
    """Key figures, and times by path where the API counts them, or why they are not told."""

    cells: dict[str, str]
    table: pd.DataFrame | None
    why_not: str = ""


def ask(address: str) -> Response | str:
    """How fast `/health` answers, and what `/metrics` says; or why not."""
    base = address.rstrip("/")
    try:
        body = _get(f"{base}/health")
        times = [_timed(f"{base}/health") for _ in range(TRIES)]
    except (URLError, OSError, ValueError) as problem:
        return f"{base}/health does not answer: {problem}. Is `repurchase serve` running?"
    found = 1000 * np.quantile(times, [0.5, 0.95])
    cells = {
        "Median, /health": f"{found[0]:.1f} ms",
        "95th percentile, /health": f"{found[1]:.1f} ms",
    }
    return _by_path(base, cells | _told(body))


def _get(url: str) -> str:
    key = os.environ.get(KEY)
    asked = Request(url, headers={"X-API-Key": key} if key else {})
    with urlopen(asked, timeout=_SECONDS) as answer:
        return str(answer.read().decode())


def _timed(url: str) -> float:
    started = time.perf_counter()
    _get(url)
    return time.perf_counter() - started


def _told(body: str) -> dict[str, str]:
    try:
        known = json.loads(body)
    except ValueError:
        return {}
    plain = {k: v for k, v in known.items() if isinstance(v, str | int | float)}
    return {name.replace("_", " ").capitalize(): str(value) for name, value in plain.items()}


def _by_path(base: str, cells: dict[str, str]) -> Response:
    try:
        return Response(cells, times_by_path(_get(f"{base}/metrics")))
    except HTTPError as refused:
        why = f"Times by path: {base}/metrics answers {refused.code}; set {KEY} to a key with the "
        return Response(cells, None, f"{why}scope metrics, and start the dashboard again.")
    except (URLError, OSError) as problem:
        return Response(cells, None, f"{base}/metrics does not answer: {problem}.")


def times_by_path(text: str) -> pd.DataFrame | None:
    """Requests and their mean time by labels, of Prometheus's text of a histogram or summary."""
    rows = [(m[1], m[3] or "", m[2], float(m[4])) for m in _SUM.finditer(text)]
    if not rows:
        return None
    wide = pd.DataFrame(rows, columns=["name", "labels", "kind", "value"]).pivot_table(
        index=["name", "labels"], columns="kind", values="value"
    )
    kept = wide[wide["count"] > 0].reset_index()
    labels = kept["labels"].str.findall(r'"([^"]*)"').str.join(" ")
    return pd.DataFrame(
        {
            "answers": labels.where(labels != "", kept["name"]),
            "requests": kept["count"].astype(int),
            "mean, ms": (1000 * kept["sum"] / kept["count"]).round(1),
        }
    )
