"""The settings of every step: `base.yml`, then `ENV.yml`, then `--set section.key=value`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from conf.loading import OptionValue, Strict, find, validated
from conf.source import Country

Share = Annotated[float, Field(ge=0, le=1)]

# Names of Spark's options whose values are for Spark alone.
_SECRET = re.compile(
    r"secret|password|passphrase|pwd|token|credential|"
    r"(access|account|api|private|encryption)[._-]?key",
    re.I,
)
# What addresses tell of who asks: `user:password@`, and the token of Spark Connect's.
_USER = re.compile(r"(?<=//)[^/@]*@|;token=[^;]*")
# In days; the calendar begins more than so many before any log.
LONGEST_WINDOW = 99_999


def _ascending(days: tuple[int, ...]) -> tuple[int, ...]:
    if not days or list(days) != sorted(set(days)) or days[0] < 1 or days[-1] > LONGEST_WINDOW:
        raise ValueError(
            f"give different whole days from 1 to {LONGEST_WINDOW}, in ascending order"
        )
    return days


def _in_days(window: object) -> object:
    return f"{window}d" if isinstance(window, int) and not isinstance(window, bool) else window


def _windows(windows: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [window for window in windows if not re.fullmatch("[1-9][0-9]{0,4}d|lifetime", window)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no window: give days, such as 30d, or lifetime")
    return _different(windows)


def _different(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(words)) < len(words):
        raise ValueError("give each word once")
    return words


Words = Annotated[
    tuple[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], ...], AfterValidator(_different)
]


def _flattened(nested: dict[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


class SparkSettings(Strict):
    """The session that a command makes when none runs yet."""

    master: str | None = None
    remote: str | None = None
    config: dict[str, OptionValue] = Field(default_factory=dict)

    @field_validator("config", mode="before")
    @classmethod
    def _flat(cls, config: object) -> object:
        # `--set spark.config.spark.sql.shuffle.partitions=8` nests what is one name.
        return dict(_flattened(config)) if isinstance(config, dict) else config


class LakeSettings(Strict):
    """Where the tables are: a folder, or `catalog.schema` (which then wins)."""

    path: str = "lakehouse"
    catalog_schema: str | None = None
    models_path: str | None = None


class IngestSettings(Strict):
    """What a row must fulfil, how many may fail, and what becomes of files no longer there."""

    # More, squared and summed, is beyond 64 bits.
    max_amount: float = Field(gt=0, le=1e11)
    max_quantity: float = Field(gt=0, le=1e11)
    first_day: date
    last_day: date | None = None
    max_refused_share: Share
    gone_files: Literal["remove", "keep"] = "remove"


class CustomFeature(Strict):
    """A feature of the user's: a Spark SQL aggregate over the lines of each window, which is 30d
    or 30 (days) or lifetime.
    """

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1)
    sql: str = Field(min_length=1)
    windows: Annotated[
        tuple[Annotated[str, BeforeValidator(_in_days)], ...],
        Field(min_length=1),
        AfterValidator(_windows),
    ]


class FeatureSettings(Strict):
    """Windows in days before `as_of`; the calendar; how many dates a pass makes; the share
    of the customers to whom models are fitted; which events and traffic sources are counted by
    their names.
    """

    windows: Annotated[tuple[int, ...], AfterValidator(_ascending)]
    country: Country = None
    dates_per_chunk: PositiveInt
    fitted_share: Annotated[float, Field(gt=0, le=1)]
    event_kinds: Words
    traffic_sources: Words
    custom: tuple[CustomFeature, ...] = ()


@dataclass(frozen=True)
class Horizon:
    """What labels, models and scores are keyed by: the days of the label window; or 0, and its
    hours.
    """

    days: int
    hours: int | None = None

    @property
    def where(self) -> str:
        """The predicate of the rows with this key."""
        hours = "" if self.hours is None else f" AND horizon_hours = {self.hours}"
        return f"horizon_days = {self.days}{hours}"

    @classmethod
    def asked(cls, days: int | None, hours: int | None) -> "Horizon | None":
        """The one that a caller names by days or by hours; None where neither is given."""
        return None if days is None and hours is None else cls(days or 0, hours)

    @property
    def in_days(self) -> int:
        """The days that it reaches into at most: a day on which the clocks change has an hour more
        or less than others.
        """
        return self.days if self.hours is None else self.hours // 24 + 1

    def __str__(self) -> str:
        """In words."""
        return f"{self.days} days" if self.hours is None else f"{self.hours} hours"


class SnapshotSettings(Strict):
    """The as-of dates that train, and whom they look at.

    Where the horizon is given in hours, `horizon_days` is the days that it reaches into at most.
    """

    horizon_days: int = Field(ge=1, le=365)
    horizon_hours: Annotated[int, Field(ge=1, le=364 * 24)] | None = None
    step_days: PositiveInt
    count: PositiveInt
    min_history_days: int = Field(ge=0)
    active_within_days: PositiveInt | None = None

    @property
    def horizon(self) -> Horizon:
        """The key of the label window."""
        hours = self.horizon_hours
        return Horizon(self.horizon_days) if hours is None else Horizon(0, hours)

    @model_validator(mode="before")
    @classmethod
    def _days_of_hours(cls, values: object) -> object:
        hours = values.get("horizon_hours") if isinstance(values, dict) else None
        if not isinstance(values, dict) or hours is None:
            return values
        text = str(hours).removesuffix(".0")
        days = {"horizon_days": Horizon(0, int(text)).in_days} if text.isdecimal() else {}
        return {**values, "horizon_hours": text, **days}


class Profit(Strict):
    """What an order brings and what a contact costs, in the log's currency."""

    margin: Annotated[float, Field(gt=0)]
    contact_cost: Annotated[float, Field(ge=0)]


class ThresholdPolicy(Strict):
    """From which probability on a repurchase is predicted: one of these."""

    # The best F-beta; 1 weighs precision and recall alike, 2 recall more.
    f_beta: Annotated[float, Field(gt=0)] | None = None
    # The highest threshold that finds this share of those who order.
    recall: Annotated[float, Field(gt=0, le=1)] | None = None
    # The lowest threshold at which this share of those predicted order.
    precision: Annotated[float, Field(gt=0, le=1)] | None = None
    top_share: Annotated[float, Field(gt=0, le=1)] | None = None
    top: PositiveInt | None = None
    profit: Profit | None = None
    probability: Share | None = None

    @model_validator(mode="after")
    def _one(self) -> "ThresholdPolicy":
        named = [name for name, value in self if value is not None]
        if not named:
            raise ValueError(f"give one of {', '.join(type(self).model_fields)}")
        if len(named) > 1:
            raise ValueError(
                f"{' and '.join(named)} are given: give one of them; what another file gives is "
                f"taken out by null, as in {named[0]}: null"
            )
        return self


class TrainingSettings(Strict):
    """Candidates, tuning and the choice of the champion."""

    models: dict[str, dict[str, tuple[float, ...]]]
    blend: bool
    folds: int = Field(ge=2, le=20)
    folds_by: Literal["customers", "time"]
    parallelism: PositiveInt
    partitions: PositiveInt
    max_snapshots: PositiveInt | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    early_stopping: PositiveInt | None = None
    weight_positives: Literal["balanced", "none"]
    metric: Literal["roc_auc", "pr_auc", "log_loss", "brier"]
    threshold: ThresholdPolicy | None = None
    calibrations: Annotated[
        tuple[Literal["platt", "beta", "isotonic"], ...],
        Field(min_length=1),
        AfterValidator(_different),
    ]
    publish: Literal["if_not_worse", "always"]
    max_ece: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: NonNegativeInt

    @field_validator("models", mode="before")
    @classmethod
    def _without_dropped(cls, models: object) -> object:
        # Layers are merged, so that a later one can drop a model only by saying null.
        if not isinstance(models, dict):
            return models
        return {name: grid for name, grid in models.items() if grid is not None}

    @model_validator(mode="after")
    def _some_model(self) -> "TrainingSettings":
        if not self.models:
            raise ValueError("name at least one model")
        return self


class ScoringSettings(Strict):
    """Whom to score, and how deciles become bands."""

    active_within_days: PositiveInt | None = None
    high_deciles: int = Field(ge=1, le=9)
    medium_deciles: int = Field(ge=2, le=10)

    @model_validator(mode="after")
    def _bands_in_order(self) -> "ScoringSettings":
        if self.medium_deciles <= self.high_deciles:
            raise ValueError("medium_deciles must be above high_deciles")
        return self


class TrackingSettings(Strict):
    """Whether and where MLflow keeps trainings; without a URI, in the lake's folder."""

    enabled: bool
    uri: str | None = None
    name: Annotated[str, Field(min_length=1)]


class Settings(Strict):
    """Everything that a step can be told; functions receive the values, never the whole."""

    spark: SparkSettings
    lake: LakeSettings
    ingest: IngestSettings
    features: FeatureSettings
    snapshots: SnapshotSettings
    training: TrainingSettings
    scoring: ScoringSettings
    tracking: TrackingSettings

    def without_secrets(self) -> "Settings":
        """The same, to be kept and shown: without the options of Spark that are named as secrets
        are, such as `spark.hadoop.fs.s3a.secret.key`, and without the user and the token in the
        addresses of Spark Connect and of MLflow.
        """
        config = self.spark.config.items()
        spark = {
            "config": {name: value for name, value in config if not _SECRET.search(name)},
            "remote": self.spark.remote and without_user(self.spark.remote),
        }
        tracking = {"uri": self.tracking.uri and without_user(self.tracking.uri)}
        return self.model_copy(
            update={
                "spark": self.spark.model_copy(update=spark),
                "tracking": self.tracking.model_copy(update=tracking),
            }
        )


def without_user(address: str) -> str:
    """The address without the user, the password and the token in it."""
    return _USER.sub("", address)


def without_secret(override: str) -> str:
    """`key=value`, to be shown: without the value where the key is named as a secret is, and
    without what an address in it tells of who asks.
    """
    key, equals, value = override.partition("=")
    if _SECRET.search(key):
        return f"{key}{equals}..."
    return key + equals + without_user(value)


def load_settings(env: str = "local", overrides: Sequence[str] = ()) -> Settings:
    """The settings of an environment: a shipped name such as `local`, a path to a YAML file, or
    several with commas between them, of which later ones win.

    Raises ConfigurationError naming what is wrong.
    """
    named = [name.strip() for name in env.split(",")]
    layers = [find("base"), *[find(name) for name in named if name != "base"]]
    return validated(Settings, layers, overrides)


def as_environment(kept: str) -> str:
    """The settings of a run, kept as JSON, as an environment file that gives the same again: a
    model that the run left out is left out.

    Raises ConfigurationError where this release does not know them.
    """
    told = validated(Settings, [("the settings of that run", kept)]).model_dump(mode="json")
    known = load_settings("local").training.models
    told["training"]["models"] = {**dict.fromkeys(known), **told["training"]["models"]}
    return json.dumps(told, indent=2)
