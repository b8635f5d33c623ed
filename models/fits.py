"""The fits of one candidate's cross-validation: told of, kept where they took long, and none begun
when the time is over.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pyspark.ml import Estimator, Model, PipelineModel
from pyspark.ml.param import Param
from pyspark.sql import DataFrame

Report = Callable[[str], None]
Point = dict[Param[Any], Any]
# A line of progress at most so often, in seconds.
SILENCE = 15.0
DONE = "done"


class OutOfTimeError(Exception):
    """The time for tuning is over before all fits have begun."""


@dataclass(frozen=True)
class Shelf:
    """Fitted models in a folder that belongs to one candidate: the same data, settings and grid.

    What was fitted in fewer than `worth` seconds is quicker fitted again than kept.
    """

    folder: Path
    worth: float

    def load(self, name: str) -> Model | None:
        """The fitted model, if it was kept."""
        place = self.folder / name
        if not (place / DONE).exists():
            return None
        return cast(Model, PipelineModel.load(str(place)).stages[0])

    def save(self, name: str, fitted: Model, seconds: float) -> None:
        """Keep the fitted model; that it is whole is said last, so that half of one is none."""
        if seconds < self.worth:
            return
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        PipelineModel([fitted]).save(str(place))
        (place / DONE).touch()


@dataclass(frozen=True)
class Terms:
    """On which a candidate is fitted: who is told of it, where fits are kept, and until when one
    may begin, as `time.monotonic` counts.
    """

    report: Report
    shelf: Shelf | None = None
    until: float | None = None

    def check_time(self, fits: str) -> None:
        """Raises OutOfTimeError where the time is over, saying how many fits were done."""
        if self.until is not None and time.monotonic() > self.until:
            raise OutOfTimeError(fits)


class Watched(Estimator[Any]):
    """What CrossValidator fits in the place of the estimator: fold after fold, with every point of
    the grid, and once more with the best, for which there is always time.
    """

    def __init__(
        self, estimator: Estimator[Any], name: str, points: int, folds: int, terms: Terms
    ) -> None:
        super().__init__()
        self.estimator, self.name, self.terms = estimator, name, terms
        self._points, self._folds = points, folds
        self._fold = self._done = self._kept = self._running = 0
        self._started = self._said = time.monotonic()
        self._idle = threading.Condition()
        self._failed = False

    def fit(self, dataset: DataFrame, params: Any = None) -> Any:
        """The model of all folds."""
        point = params or {}
        name = "-".join(["whole", *_shown(point)]).replace(" ", "_")
        return self._fitted(dataset, point, name, "all folds", always=True)

    def fitMultiple(  # noqa: N802 - Spark's name
        self,
        dataset: DataFrame,
        paramMaps: Sequence[Point],  # noqa: N803
    ) -> Iterator[tuple[int, Model]]:
        """The models of the next fold, which several threads may ask for."""
        fold = self._fold
        self._fold += 1
        return _Each(
            len(paramMaps),
            lambda index: self._fitted(
                dataset,
                paramMaps[index],
                f"{fold}-{index}",
                ", ".join([f"fold {fold + 1} of {self._folds}", *_shown(paramMaps[index])]),
            ),
        )

    def _fit(self, dataset: DataFrame) -> Any:
        raise NotImplementedError  # fit does not ask for it

    def _fitted(
        self, dataset: DataFrame, point: Point, name: str, what: str, *, always: bool = False
    ) -> Model:
        shelf = self.terms.shelf
        if shelf and (kept := shelf.load(name)):
            with self._idle:
                self._done, self._kept = self._done + 1, self._kept + 1
                is_first = self._kept == 1
            if is_first:
                self.terms.report(f"{self.name}: goes on after an interruption")
            return kept
        with self._one(always):
            started = time.monotonic()
            fitted: Model = self.estimator.fit(dataset, point)
            if shelf:
                shelf.save(name, fitted, time.monotonic() - started)
            self._tell(what)
        return fitted

    @contextmanager
    def _one(self, always: bool) -> Iterator[None]:
        """While a fit runs. Once one has failed, or its report has been interrupted, none begins:
        CrossValidator's threads would go on with the next ones.
        """
        self._begin(always)
        try:
            yield
        except BaseException:
            self._failed = True
            raise
        finally:
            self._end()

    def _begin(self, always: bool) -> None:
        """Raises OutOfTimeError, but not before the fits that have begun are done."""
        with self._idle:
            if self._failed:
                raise CancelledError("another fit has failed")
            try:
                if not always:
                    self.terms.check_time(f"after {self._done} of {self._fits} fits")
            except OutOfTimeError:
                self._idle.wait_for(lambda: not self._running)
                raise
            self._running += 1

    def _end(self) -> None:
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    @property
    def _fits(self) -> int:
        return self._points * self._folds + 1

    def _tell(self, what: str) -> None:
        with self._idle:
            self._done += 1
            done, now = self._done, time.monotonic()
            if now - self._said <= SILENCE or done == self._fits:
                return
            self._said = now
        left = (now - self._started) / (done - self._kept) * (self._fits - done)
        self.terms.report(
            f"{self.name}: {done} of {self._fits} fits ({what}), about {left:.0f} s left"
        )


class _Each(Iterator[tuple[int, Model]]):
    """The models by index; each is made by the thread that asks for it."""

    def __init__(self, count: int, make: Callable[[int], Model]) -> None:
        self._indices, self._lock, self._make = iter(range(count)), threading.Lock(), make

    def __next__(self) -> tuple[int, Model]:
        with self._lock:
            index = next(self._indices)
        return index, self._make(index)


def _shown(point: Point) -> list[str]:
    return [f"{param.name} {value:g}" for param, value in point.items()]
