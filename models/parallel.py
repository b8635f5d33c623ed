"""What Spark does for a training at the same time."""

from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TypeVar

from pyspark import inheritable_thread_target
from pyspark.sql import SparkSession

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(
    spark: SparkSession, most: int, work: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """The work's result of each item, in their order; at most so many at the same time.

    A pass over snapshots of one partition leaves all cores but one to another. The threads are as
    CrossValidator's: they inherit what this one has set for Spark, and Ctrl-C waits for none.
    """
    asked = [inheritable_thread_target(spark)(partial(work, item)) for item in items]
    with ThreadPool(most) as pool:
        return pool.map(lambda one: one(), asked, chunksize=1)
