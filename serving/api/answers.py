"""What the API answers, as its documentation describes it."""

from datetime import date, datetime

from pydantic import BaseModel, Field

MISSING = (
    "Of those that the champion reads: what orders do not tell and was not sent beside them. It is "
    "taken from customers alike"
)


class Reason(BaseModel):
    """A feature that moved the probability."""

    feature: str
    value: float | None = Field(description="Null for texts and where it is missing")
    contribution: float = Field(description="By how much it moved the probability, signed")
    sentence: str


class Prediction(BaseModel):
    """What the champion says of a customer."""

    customer_id: str | int | None = Field(None, description="As it was sent")
    probability: float = Field(ge=0, le=1, description="Of at least one order in the horizon")
    prediction: bool = Field(description="Whether the probability is at least the threshold")
    decile: int | None = Field(description="Among the customers scored last; 1 is the highest")
    band: str | None
    segment: str | None = Field(description="Null where recency, orders or revenue is missing")
    reasons: list[Reason]
    features_given: int


class OnePrediction(Prediction):
    """The same, and which model says it."""

    model_name: str
    model_version: str
    horizon_days: int
    horizon_hours: int | None
    as_of: date | None = Field(description="From which day orders were looked at; null without")
    features_unused: list[str] = Field(
        description="Of those that were sent: what has no influence on this champion"
    )
    features_missing: list[str] = Field(description=MISSING)


class Predictions(BaseModel):
    """One prediction per row, in their order; of orders one per customer."""

    model_name: str
    model_version: str
    horizon_days: int
    horizon_hours: int | None
    as_of: date | None = Field(description="From which day orders were looked at; null without")
    customers_without_orders: list[str | int] = Field(
        description="Of those whose orders were sent: who has none before as_of, and no prediction"
    )
    features_missing: list[str] = Field(description=MISSING)
    predictions: list[Prediction]


class Score(BaseModel):
    """A customer's row of the table `scores`."""

    customer_id: str
    as_of: date
    horizon_days: int
    horizon_hours: int | None
    probability: float
    decile: int
    band: str
    segment: str | None
    reasons: list[Reason]
    model_name: str
    model_version: str
    scored_at: datetime


class Scores(BaseModel):
    """A page of scores, the highest probability first."""

    as_of: date | None
    total: int
    scores: list[Score]
    next_offset: int | None = Field(description="The offset of the next page; null at the end")


class Segmented(BaseModel):
    """A segment, what its customers have in common, and what to do about them."""

    segment: str | None
    means: str | None
    plan: str | None


class Feature(BaseModel):
    """A feature that `/predict` takes."""

    name: str
    type: str
    description: str
    read: bool = Field(description="Whether the champion reads it")
    synonyms: list[str]


class Model(BaseModel):
    """The champion's card."""

    model_name: str
    model_version: str
    trained_for: date
    held_out: date
    horizon_days: int = Field(description="Of the label window; 0 where it is in hours")
    horizon_hours: int | None
    threshold: float
    decision: str
    metrics: dict[str, float] = Field(
        description="On the held-out date, before the model learned from that date too: precision, "
        "recall and the like are at the threshold of then"
    )
    features: list[Feature]


class Status(BaseModel):
    """How the server is."""

    status: str


class FieldProblem(BaseModel):
    """A field that is wrong: its row, counted from 0, its name, and why."""

    row: int | None = None
    field: str
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] = []
