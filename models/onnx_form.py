"""A champion as an ONNX graph: features in, probabilities out, in any language that runs ONNX.

All is in double precision, as Spark's is, so that no row takes another branch of a tree.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.calibration import HIGHEST, LOWEST, NEAREST, Beta, Calibration, Isotonic, Platt
from models.open_form import OTHER, Input, Line, OpenMember, OpenModel
from models.trees import LEAF, Forest

NUMBERS, TEXTS = "numbers", "texts"
PROBABILITY, READ, SAID = "probability", "read_", "said_"
# Trees in double precision, and texts that are compared, are as old as this.
OPSET, ML_OPSET, IR = 21, 5, 10
LESS_OR_EQUAL, SUM = 0, 1


def onnx_model(model: OpenModel) -> bytes:
    """The graph, serialised.

    It takes `numbers`, double, and where the model reads texts `texts`, string: a row per customer
    and a column per feature, in the order of `columns`. A missing number is NaN, a missing text "".
    It gives `probability`, double, one per row; and for explanations what members read, in the
    outputs named by `reads`, and `said_0` and so on, the sum that each member makes of that. The
    names of the columns are its metadata.
    """
    numbers, texts = columns(model)
    graph = _Graph()
    outputs = [helper.make_tensor_value_info(PROBABILITY, TensorProto.DOUBLE, ["rows"])]
    logits, known = [], reads(model)
    for place, (member, read) in enumerate(zip(model.members, known, strict=True)):
        if read not in known[:place]:
            _read(graph, member, numbers, texts, read)
            shape: list[str | int | None] = ["rows", len(member.inputs)]
            outputs.append(helper.make_tensor_value_info(read, TensorProto.DOUBLE, shape))
        said = _sum(graph, member.sum, read, f"{SAID}{place}")
        outputs.append(helper.make_tensor_value_info(said, TensorProto.DOUBLE, ["rows"]))
        logits.append(_logit(graph, member, said))
    mean = logits[0]
    if len(logits) > 1:
        mean = graph.add("Div", graph.add("Sum", *logits), graph.number(float(len(logits))))
    logit = _calibrated(graph, mean, model.calibration)
    graph.add("Sigmoid", logit, output=PROBABILITY)
    inputs = [helper.make_tensor_value_info(NUMBERS, TensorProto.DOUBLE, ["rows", len(numbers)])]
    if texts:
        inputs.append(
            helper.make_tensor_value_info(TEXTS, TensorProto.STRING, ["rows", len(texts)])
        )
    made = helper.make_model(
        helper.make_graph(graph.nodes, "repurchase", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(made, {NUMBERS: ",".join(numbers), TEXTS: ",".join(texts)})
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def reads(model: OpenModel) -> list[str]:
    """The output with what each member reads: those that read the same share one."""
    first: dict[tuple[Input, ...], str] = {}
    for place, member in enumerate(model.members):
        first.setdefault(member.inputs, f"{READ}{place}")
    return [first[member.inputs] for member in model.members]


def columns(model: OpenModel) -> tuple[list[str], list[str]]:
    """The features that are the columns of `numbers`, and those of `texts`."""
    texts = model.texts
    return (
        [name for name in model.features if name not in texts],
        [name for name in model.features if name in texts],
    )


class _Graph:
    """Nodes and constants, each with a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names = (f"value_{number}" for number in count())

    def add(
        self,
        kind: str,
        *inputs: str,
        output: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        **more: int,
    ) -> str:
        """A node with one output, which is named."""
        made = output or next(self._names)
        domain = "ai.onnx.ml" if kind == "TreeEnsemble" else ""
        known: dict[str, Any] = {"domain": domain, **(attributes or {}), **more}
        self.nodes.append(helper.make_node(kind, inputs, [made], **known))
        return made

    def constant(self, value: npt.NDArray[Any]) -> str:
        """A tensor."""
        name = next(self._names)
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        """A double."""
        return self.constant(np.array(value, np.float64))

    def line(self, x: str, slope: float, intercept: float) -> str:
        """The line of that slope and intercept over x."""
        return self.add("Add", self.add("Mul", x, self.number(slope)), self.number(intercept))

    def between(self, x: str, low: float, high: float) -> str:
        """The nearest number to x of those from `low` to `high`."""
        return self.add("Max", self.add("Min", x, self.number(high)), self.number(low))


def _logit(graph: _Graph, member: OpenMember, said: str) -> str:
    if member.of_probability:
        p = graph.between(said, NEAREST, 1 - NEAREST)
        raw = graph.add("Log", graph.add("Div", p, graph.add("Sub", graph.number(1.0), p)))
    else:
        raw = graph.between(said, LOWEST, HIGHEST)
    return graph.between(_calibrated(graph, raw, member.calibration), LOWEST, HIGHEST)


def _read(
    graph: _Graph,
    member: OpenMember,
    numbers: Sequence[str],
    texts: Sequence[str],
    output: str,
) -> None:
    """What the member reads: a row per customer, a column per input."""
    of_numbers = [one for one in member.inputs if one.text is None]
    of_texts = [one for one in member.inputs if one.text is not None]
    parts = []
    if of_numbers:
        parts.append(_of_numbers(graph, of_numbers, numbers))
    parts += [_of_text(graph, one, of_texts, texts.index(one.feature)) for one in of_texts]
    joined = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    order = [[*of_numbers, *of_texts].index(one) for one in member.inputs]
    if order == sorted(order):
        graph.add("Identity", joined, output=output)
    else:
        graph.add("Gather", joined, graph.constant(np.array(order)), output=output, axis=1)


def _of_numbers(graph: _Graph, inputs: Sequence[Input], numbers: Sequence[str]) -> str:
    places = [numbers.index(one.feature) for one in inputs]
    raw = NUMBERS
    if places != list(range(len(numbers))):
        raw = graph.add("Gather", NUMBERS, graph.constant(np.array(places)), axis=1)
    known = raw
    if any(one.low is not None for one in inputs):
        low = [-np.inf if one.low is None else one.low for one in inputs]
        high = [np.inf if one.high is None else one.high for one in inputs]
        at_least = graph.add("Max", raw, graph.constant(np.array(low)))
        known = graph.add("Min", at_least, graph.constant(np.array(high)))
    if any(one.log for one in inputs):
        grown = graph.add("Add", graph.add("Abs", known), graph.number(1.0))
        logged = graph.add("Mul", graph.add("Sign", known), graph.add("Log", grown))
        wanted = graph.constant(np.array([one.log for one in inputs]))
        known = graph.add("Where", wanted, logged, known)
    missing = graph.constant(np.array([one.missing for one in inputs]))
    value = graph.add("Where", graph.add("IsNaN", raw), missing, known)
    return _scaled(graph, value, inputs)


def _of_text(graph: _Graph, one: Input, of_texts: Sequence[Input], place: int) -> str:
    column = graph.add("Gather", TEXTS, graph.constant(np.array([place])), axis=1)

    def equals(text: str | None) -> str:
        found = graph.add("Equal", column, graph.constant(np.array([text or ""], dtype=object)))
        return graph.add("Cast", found, to=TensorProto.DOUBLE)

    value = equals(one.text)
    if one.text == OTHER:
        others = [o.text for o in of_texts if o.feature == one.feature and o.text != OTHER]
        if others:
            named = graph.add("Sum", *[equals(text) for text in others])
            value = graph.add("Sub", graph.number(1.0), named)
    return _scaled(graph, value, [one])


def _scaled(graph: _Graph, value: str, inputs: Sequence[Input]) -> str:
    centre, scale = ([getattr(one, name) for one in inputs] for name in ("centre", "scale"))
    if any(centre):
        value = graph.add("Sub", value, graph.constant(np.array(centre)))
    if any(size != 1 for size in scale):
        value = graph.add("Mul", value, graph.constant(np.array(scale)))
    return value


def _sum(graph: _Graph, known: Line | Forest, rows: str, output: str) -> str:
    if isinstance(known, Line):
        # Times a matrix of one column: ten times as fast as times a vector.
        said = graph.add("MatMul", rows, graph.constant(known.coefficients[:, None]))
        rest = known.intercept
    else:
        said, rest = graph.add("TreeEnsemble", rows, attributes=_trees(known)), known.bias
    flat = graph.add("Squeeze", said, graph.constant(np.array([1])))
    return graph.add("Add", flat, graph.number(rest), output=output)


def _trees(known: Forest) -> dict[str, Any]:
    """The attributes of a TreeEnsemble, which numbers inner nodes and leaves apart."""
    roots: list[int] = []
    asked: list[int] = []
    split: list[float] = []
    weights: list[float] = []
    ways: dict[str, list[int]] = {side: [] for side in ("true", "false")}
    to_leaf: dict[str, list[int]] = {side: [] for side in ("true", "false")}
    for tree in known.trees:
        inner = np.flatnonzero(tree.left != LEAF)
        leaves = np.flatnonzero(tree.left == LEAF)
        first, first_leaf = len(asked), len(weights)
        weights += tree.value[leaves].tolist()
        roots.append(first)
        if not len(inner):  # a tree without a question asks one whose answers are the same
            asked.append(0)
            split.append(0.0)
            for side in ("true", "false"):
                ways[side].append(first_leaf)
                to_leaf[side].append(1)
            continue
        asked += tree.input[inner].tolist()
        split += tree.threshold[inner].tolist()
        for side, children in (("true", tree.left[inner]), ("false", tree.right[inner])):
            is_leaf = tree.left[children] == LEAF
            of_leaf = first_leaf + np.searchsorted(leaves, children)
            of_inner = first + np.searchsorted(inner, children)
            ways[side] += np.where(is_leaf, of_leaf, of_inner).tolist()
            to_leaf[side] += is_leaf.astype(int).tolist()
    return {
        "tree_roots": roots,
        "nodes_modes": numpy_helper.from_array(np.full(len(asked), LESS_OR_EQUAL, np.uint8)),
        "nodes_featureids": asked,
        "nodes_splits": numpy_helper.from_array(np.array(split)),
        "nodes_truenodeids": ways["true"],
        "nodes_trueleafs": to_leaf["true"],
        "nodes_falsenodeids": ways["false"],
        "nodes_falseleafs": to_leaf["false"],
        "leaf_targetids": [0] * len(weights),
        "leaf_weights": numpy_helper.from_array(np.array(weights)),
        "n_targets": 1,
        "aggregate_function": SUM,
    }


def _calibrated(graph: _Graph, logit: str, known: Calibration) -> str:
    logit = graph.line(logit, 1.0, -math.log(known.weight_ratio))
    if isinstance(known, Platt):
        return graph.line(logit, known.slope, known.intercept)
    if isinstance(known, Beta):
        odds = graph.add("Exp", logit)
        rest = graph.add("Neg", graph.add("Log", graph.line(odds, 1.0, 1.0)))
        rising = graph.line(graph.add("Add", logit, rest), known.rise, known.intercept)
        return graph.add("Sub", rising, graph.add("Mul", rest, graph.number(known.fall)))
    if isinstance(known, Isotonic):
        bends = [
            graph.line(graph.add("Abs", graph.line(logit, 1.0, -knot)), weight, 0.0)
            for knot, weight in zip(known.knots, known.weights, strict=True)
        ]
        return graph.line(graph.add("Sum", *bends), 1.0, known.constant)
    raise TypeError(f"no ONNX form of {known}")
