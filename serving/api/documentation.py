"""What callers send, as the OpenAPI document describes it: it depends on the champion."""

from datetime import date, timedelta
from typing import Any

from lake.rules import KINDS
from serving.predictor import Predictor
from serving.requests import IDS, MAX_TEXT, MOST, NOT_NEGATIVE, SYNONYMS, UNUSED
from serving.spot import MOST as MOST_OF_LINE

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
ID: Schema = {"anyOf": [{**TEXT, "minLength": 1}, {"type": "integer"}]}
NUMBER: Schema = {"type": ["number", "null"], "minimum": -MOST, "maximum": MOST}
DAY: Schema = {"type": "string", "format": "date"}
AN_AMOUNT = 19.90
REFERENCE = "#/components/schemas/"
CUSTOMER = {
    "customer_id": "C1",
    "recency_days": 12,
    "orders": 7,
    "monetary": 412.5,
    "tenure_days": 380,
    "avg_discount": 0.05,
    "return_rate": 0.1,
    "category_diversity": 3,
}


def orders(predictor: Predictor) -> list[dict[str, Any]]:
    """Orders that a customer may have made, for an example."""
    today = predictor.spot.as_of if predictor.spot else date.today()
    return [
        {
            "customer_id": "C1",
            "ordered_at": f"{today - timedelta(50)}T17:20:00",
            "amount": AN_AMOUNT,
            "quantity": 2,
        },
        {
            "customer_id": "C1",
            "ordered_at": str(today - timedelta(9)),
            "amount": 45,
            "quantity": 1,
            "category": "tea",
        },
    ]


def components(predictor: Predictor, most: int) -> Schema:
    """What bodies are made of: a row of features, a row of orders, and bodies of these."""
    return {
        "FeatureRow": _row(predictor),
        "OrderRow": _order(),
        "Orders": {
            "type": "object",
            "description": "Beside orders of one customer, also features that these do not tell",
            "required": ["orders"],
            "properties": {
                "orders": {
                    "type": "array",
                    "items": {"$ref": REFERENCE + "OrderRow"},
                    "minItems": 1,
                    "maxItems": most,
                },
                "as_of": {
                    **DAY,
                    "description": "Orders before it count; else the latest day with features",
                },
                "customer_id": {**ID, "description": "Of orders that do not name it"},
                "customers": {
                    "type": "array",
                    "description": "Of many, the features that orders do not tell",
                    "items": {"$ref": REFERENCE + "FeatureRow"},
                    "maxItems": most,
                },
            },
        },
    }


def one_schema() -> Schema:
    """The body of `/predict`."""
    return {"anyOf": [{"$ref": REFERENCE + name} for name in ("FeatureRow", "Orders")]}


def many_schema(most: int) -> Schema:
    """The body of `/predict/batch`."""
    rows: Schema = {
        "type": "array",
        "items": {"$ref": REFERENCE + "FeatureRow"},
        "maxItems": most,
    }

    def named(name: str) -> Schema:
        return {
            "type": "object",
            "required": [name],
            "properties": {name: rows},
            "additionalProperties": False,
        }

    return {"anyOf": [named("customers"), named("users"), {"$ref": REFERENCE + "Orders"}]}


def segment_schema() -> Schema:
    """The body of `/segment`."""
    number: Schema = {"type": "number", "minimum": -MOST, "maximum": MOST}
    count: Schema = {**number, "minimum": 0}
    return {
        "type": "object",
        "required": ["Recency", "Frequency", "Monetary"],
        "additionalProperties": False,
        "properties": {
            "customer_id": ID,
            "Recency": {**count, "description": "Days since the last order"},
            "Frequency": {**count, "description": "Orders"},
            "Monetary": {**number, "description": "Money spent"},
            "Unique_Products": {**number, "description": "Taken, and not used by the segments"},
        },
    }


def body(schema: Schema, examples: dict[str, Any]) -> Schema:
    """A request body of JSON."""
    told = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": told}}}


def _row(predictor: Predictor) -> Schema:
    features: Schema = {
        name: {
            **({**TEXT, "type": ["string", "null"]} if kind == "string" else _number(name)),
            "description": predictor.descriptions.get(name, ""),
        }
        for name, kind in predictor.types.items()
    }
    also = {
        synonym: {**_number(feature), "description": f"The same as {feature}"}
        for synonym, feature in SYNONYMS.items()
        if feature in features and synonym not in features
    }
    return {
        "type": "object",
        "description": "Features, each of which may be missing or null, and be named once",
        "properties": {
            **dict.fromkeys(IDS, ID),
            "as_of": {"description": "Not used: features are of the day that they are of"},
            **{name: {"description": "Not used"} for name in UNUSED},
            **features,
            **also,
        },
        "additionalProperties": False,
    }


def _number(feature: str) -> Schema:
    return {**NUMBER, "minimum": 0} if feature in NOT_NEGATIVE else NUMBER


def _order() -> Schema:
    most = float(MOST_OF_LINE)
    money: Schema = {"type": "number", "minimum": -most, "maximum": most}
    optional: Schema = {"type": ["string", "null"], "maxLength": MAX_TEXT}
    return {
        "type": "object",
        "required": ["ordered_at", "amount"],
        "additionalProperties": False,
        "properties": {
            "customer_id": ID,
            "ordered_at": {"anyOf": [DAY, {"type": "string", "format": "date-time"}]},
            "amount": money,
            "order_id": optional,
            "kind": {"enum": list(KINDS)},
            "quantity": money,
            "discount": money,
            **dict.fromkeys(("product_id", "category", "payment_method", "channel"), optional),
        },
    }
