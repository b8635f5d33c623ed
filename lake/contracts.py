"""One contract per table: its columns, what each means, and its key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# Delta keeps which rows a commit changed.
CHANGE_FEED = ("delta.enableChangeDataFeed", "true")
# Nobody looks for files by the smallest and the largest value of a feature.
KEYS_INDEXED = ("delta.dataSkippingNumIndexedCols", "2")


@dataclass(frozen=True)
class Column:
    """A column, its Spark SQL type and the description that becomes its comment."""

    name: str
    type: str
    description: str

    def cast(self) -> SparkColumn:
        """The column of that name, of that type, with its description as comment."""
        return (
            F.col(self.name)
            .cast(self.type)
            .alias(self.name, metadata={"comment": self.description})
        )


@dataclass(frozen=True)
class Table:
    """A Delta table: what a row is, its columns, and what it is partitioned by. One that is written
    `in_pieces` has its small files merged when there are many. In a folder, the rows of a file
    are `in_order_of` columns, so that workers can read ranges of the first (`lake.key_ranges`).
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitioned_by: tuple[str, ...] = ()
    # Delta's table properties.
    properties: tuple[tuple[str, str], ...] = ()
    in_pieces: bool = False
    in_order_of: tuple[str, ...] = ()

    @property
    def schema(self) -> str:
        """The columns and their types, as Spark SQL writes a schema."""
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)

    def select(self, frame: DataFrame) -> DataFrame:
        """Exactly the contract's columns, in its order, types and comments."""
        return frame.select([column.cast() for column in self.columns])

    def with_columns(self, columns: Sequence[Column]) -> "Table":
        """The same table with further columns at its end."""
        return replace(self, columns=(*self.columns, *columns))


CUSTOMER = Column("customer_id", "string", "The customer, as the source writes it")
AS_OF = Column("as_of", "date", "The business day at whose start the customer is looked at")
HORIZON = Column("horizon_days", "int", "Days of the label window [as_of, as_of + horizon_days)")
HORIZON_HOURS = Column(
    "horizon_hours",
    "int",
    "Hours of the label window from the start of as_of, where horizon_days is 0; else null",
)

TRANSACTIONS = Table(
    "transactions",
    "One row per line of the log that fulfils the contract",
    (
        CUSTOMER,
        Column("order_id", "string", "The order; the customer's day where the log has no order id"),
        Column("ordered_at", "timestamp", "When the line was booked"),
        Column("ordered_on", "date", "The day of ordered_at in the business time zone"),
        Column("kind", "string", "purchase, return or cancelled"),
        Column(
            "amount",
            "decimal(18,2)",
            "The line's money net of discount; returns and cancellations are negative",
        ),
        Column("quantity", "decimal(18,3)", "Units; returns and cancellations are negative"),
        Column("discount", "decimal(18,2)", "Money taken off the line, not negative"),
        Column("product_id", "string", "The product"),
        Column("category", "string", "The product's category"),
        Column("payment_method", "string", "How the order was paid"),
        Column("channel", "string", "Where the order was placed"),
        Column("file", "string", "The file that the line came from; null for tables"),
    ),
    properties=(CHANGE_FEED,),
    in_pieces=True,
)

EVENTS = Table(
    "events",
    "One row per event that fulfils the contract: what a customer did beside ordering",
    (
        CUSTOMER,
        Column("happened_at", "timestamp", "When it happened"),
        Column("happened_on", "date", "The day of happened_at in the business time zone"),
        Column("kind", "string", "What happened, in lower case: view, cart, purchase_intent, ..."),
        Column("session_id", "string", "The visit that it was part of"),
        Column("traffic_source", "string", "Where the visit came from, in lower case"),
        Column("product_id", "string", "The product"),
        Column("file", "string", "The file that the event came from; null for tables"),
    ),
    properties=(CHANGE_FEED,),
    in_pieces=True,
)

CUSTOMERS = Table(
    "customers",
    "One row per customer and time [valid_from, valid_until) with these attributes; of several "
    "that hold, the one with the latest valid_from counts",
    (
        CUSTOMER,
        Column("valid_from", "timestamp", "Since when this is known of the customer"),
        Column("valid_from_day", "date", "The day of valid_from in the business time zone"),
        Column("valid_until", "timestamp", "Until when it held; null if it still does"),
        Column("valid_until_day", "date", "The day of valid_until in the business time zone"),
        Column("birth_year", "int", "The year of birth"),
        Column("gender", "string", "The gender, as the source writes it"),
        Column("location", "string", "Where the customer lives, as the source writes it"),
        Column("signed_up_on", "date", "The business day of the sign-up"),
        Column("file", "string", "The file that the row came from; null for tables"),
    ),
    properties=(CHANGE_FEED,),
    in_pieces=True,
    in_order_of=("customer_id", "valid_from"),
)

# The tables that a source fills.
INGESTED = (TRANSACTIONS, EVENTS, CUSTOMERS)
MEANT_FOR = Column("table_name", "string", "The table that it is for: transactions, events, ...")

QUARANTINE = Table(
    "quarantine",
    "One row per row that was refused",
    (
        Column("source", "string", "The name of the source"),
        MEANT_FOR,
        Column("file", "string", "The file that the row came from; null for tables"),
        Column("source_row", "string", "The row as it came: JSON of its columns, or the raw line"),
        Column("reasons", "array<string>", "Every reason why it was refused"),
        Column("due_on", "date", "The day of a row that is dated after the last day allowed"),
    ),
    in_pieces=True,
)

INGESTED_FILES = Table(
    "ingested_files",
    "One row per file whose rows are in their table or in quarantine",
    (
        MEANT_FOR,
        Column("file", "string", "The file, as in that table and in quarantine"),
        Column("bytes", "bigint", "Its size when it was read"),
        Column("modified_at", "timestamp", "When it had been written"),
        Column("mapping", "string", "A hash of the source file and the limits it was read with"),
    ),
)

FEATURE_DATES = Table(
    "feature_dates",
    "One row per as_of whose features are complete and up to date",
    (
        AS_OF,
        Column("made_with", "string", "The settings that the features were made with"),
    ),
)

FEATURES = Table(
    "features",
    "One row per snapshot (customer, as_of); every feature looks only at days before as_of",
    (CUSTOMER, AS_OF),
    partitioned_by=("as_of",),
    properties=(KEYS_INDEXED,),
)

LABELS = Table(
    "labels",
    "One row per snapshot whose label window lies wholly inside the log",
    (
        CUSTOMER,
        AS_OF,
        HORIZON,
        Column("repurchased", "boolean", "Whether the customer orders in the label window"),
        Column("matured_on", "date", "The first day after the label window"),
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

SCORES = Table(
    "scores",
    "One row per customer and as_of: the probability of an order in the label window",
    (
        CUSTOMER,
        AS_OF,
        HORIZON,
        Column("probability", "double", "Calibrated probability of at least one order, 0 to 1"),
        Column("decile", "int", "1 for the tenth of customers with the highest probability, to 10"),
        Column("band", "string", "high, medium or low, by decile"),
        Column(
            "reasons",
            "array<struct<feature:string,value:double,contribution:double,sentence:string>>",
            "The three features that moved the probability most from that of an average customer, "
            "by how much (contribution, signed), and in words; value is null for texts",
        ),
        Column("model_name", "string", "The champion that scored"),
        Column("model_version", "string", "Its version, see the table models"),
        Column("scored_at", "timestamp", "When the score was written"),
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
    properties=(CHANGE_FEED,),
)

CURRENT_SCORES = Table(
    "current_scores",
    "The rows of scores with the latest as_of",
    SCORES.columns,
    properties=(CHANGE_FEED,),
)

LIFETIME_VALUE = Table(
    "lifetime_value",
    "One row per customer and as_of: what buy-till-you-die models expect of the customer",
    (
        CUSTOMER,
        AS_OF,
        HORIZON,
        Column("alive_probability", "double", "That the customer has not dropped out (MBG/NBD)"),
        Column("order_probability", "double", "Of at least one order in the horizon (MBG/NBD)"),
        Column("expected_orders", "double", "Days with an order expected in the horizon (MBG/NBD)"),
        Column(
            "expected_order_value",
            "double",
            "Money expected to be spent on such a day (Gamma-Gamma); null if nothing was spent",
        ),
        Column("expected_value", "double", "Money expected to be spent in the horizon"),
        Column(
            "expected_value_12m",
            "double",
            "Money expected to be spent in 12 months, discounted by 1% a month",
        ),
        Column("currency", "string", "Of the money"),
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

# The model_version of figures of which no model came.
BACKTEST = "backtest"
MODEL = Column("model", "string", "The model or baseline")
OF_RUN = Column("model_version", "string", "The version trained in this run, or backtest")

EVALUATIONS = Table(
    "evaluations",
    "One row per model or baseline, as_of and metric, of each training or backtest that judged it",
    (
        MODEL,
        AS_OF,
        HORIZON,
        Column(
            "metric",
            "string",
            "The metric, held out; cv_: cross-validated; _low, _high: 95 % interval",
        ),
        Column("value", "double", "Its value"),
        OF_RUN,
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

COMPARISONS = Table(
    "comparisons",
    "One row per two models or baselines, as_of and metric, of each training or backtest: which is "
    "better on the same customers",
    (
        Column("model", "string", "A model or baseline"),
        Column("other", "string", "What it is compared with"),
        AS_OF,
        HORIZON,
        Column("metric", "string", "The metric, held out"),
        Column("difference", "double", "That of model less that of other"),
        Column("low", "double", "Where the 95 % interval of the difference begins"),
        Column("high", "double", "Where it ends"),
        Column("verdict", "string", "better, worse, or tie where the interval contains 0"),
        OF_RUN,
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

CURVES = Table(
    "curves",
    "One row per model or baseline, as_of and hundredth of the customers, the likeliest first: "
    "what contacting so many would have found. For ROC take false_positive_rate and recall, for "
    "precision and recall these, for gain contacted and recall, for profit orders and customers",
    (
        MODEL,
        AS_OF,
        HORIZON,
        Column("contacted", "double", "The share of the customers up to here"),
        Column("customers", "double", "Their number"),
        Column("orders", "double", "How many of them ordered in the label window"),
        Column("probability", "double", "The lowest probability among them"),
        Column("recall", "double", "Of all who ordered, the share that is among them"),
        Column("precision", "double", "The share of them that ordered"),
        Column("false_positive_rate", "double", "Of all who did not order, the share among them"),
        Column("lift", "double", "The precision over that of all customers"),
        OF_RUN,
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

RELIABILITY = Table(
    "reliability",
    "One row per model or baseline, as_of and bin of as many customers, the likeliest first",
    (
        MODEL,
        AS_OF,
        HORIZON,
        Column("bins", "int", "Among how many bins: 10 deciles, or the 15 of the ECE"),
        Column("bin", "int", "1 for the likeliest customers"),
        Column("customers", "double", "The customers in it"),
        Column("predicted", "double", "Their mean probability"),
        Column("observed", "double", "The share of them that ordered in the label window"),
        Column("lift", "double", "That over the share of all customers"),
        Column("brier", "double", "The mean squared difference of probability and outcome"),
        OF_RUN,
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

SEGMENT_RELIABILITY = Table(
    "segment_reliability",
    "One row per model or baseline, as_of and segment: whether its probabilities hold for such "
    "customers",
    (
        MODEL,
        AS_OF,
        HORIZON,
        Column("segment", "string", "champions, loyal, promising, need attention, at risk, ..."),
        Column("customers", "bigint", "The customers in it, of a sample of at most 50,000"),
        Column("predicted", "double", "Their mean probability"),
        Column("observed", "double", "The share of them that ordered in the label window"),
        Column("ece", "double", "The calibration error among them, in 15 bins of as many"),
        Column("brier", "double", "The mean squared difference of probability and outcome"),
        Column("ece_by_chance", "double", "What ece would be if every probability were true"),
        OF_RUN,
        HORIZON_HOURS,
    ),
    partitioned_by=("as_of",),
)

IMPORTANCES = Table(
    "importances",
    "One row per trained model and feature that it could read",
    (
        Column("model_version", "string", "The model, see the table models"),
        Column("feature", "string", "The feature, see the columns of the table features"),
        Column("gain", "double", "Its share of the gain of trees and of the weights of a line"),
        Column(
            "permutation",
            "double",
            "ROC-AUC lost on the held-out date when its values change places; null: not tried",
        ),
        Column("permutation_low", "double", "Where the 95 % interval of that begins"),
        Column("permutation_high", "double", "Where it ends"),
    ),
)

MODELS = Table(
    "models",
    "One row per trained model; the champion is the last by trained_for that is published, and of "
    "one day the last trained",
    (
        Column("model_version", "string", "The date it was trained for and a hash of what it is"),
        Column("model_name", "string", "A model of training.models, or blend (see parameters)"),
        Column("trained_for", "date", "as_of of the training: nothing from that day on was used"),
        HORIZON,
        Column("path", "string", "The folder where a Spark ML pipeline was saved for each member"),
        Column("threshold", "double", "The probability from which on a repurchase is predicted"),
        Column("parameters", "string", "JSON: the grid point of each member"),
        Column("open_form", "string", "JSON: the whole model in numbers, see models/open_form.py"),
        Column("features", "array<string>", "The feature columns that it reads"),
        Column("tuned_on", "array<date>", "The dates that it was tuned on"),
        Column("held_out", "date", "The date that judged it, which tuning had not seen"),
        Column("settings", "string", "JSON: every setting of the run"),
        Column(
            "data_versions",
            "map<string,bigint>",
            "The Delta version of every table read; that of models orders the trainings of a day",
        ),
        Column(
            "code_version",
            "string",
            "The release of this project that trained it, and a digest of its code",
        ),
        Column(
            "published",
            "boolean",
            "Whether it may score; false: it was not published, or was rolled back",
        ),
        Column("decision", "string", "Why it is published or not"),
        HORIZON_HOURS,
    ),
    partitioned_by=(),
)
