"""Forests of binary trees as arrays: what they say of a row, and how much each input moved it.

An input's Shapley value for the leaf of value v, whose path asks d inputs, is exactly

    v * integral from 0 to 1 of (o_i - r_i) * product over j != i of (t o_j + (1 - t) r_j) dt

where o_j is 1 if the row meets all that the path asks of input j, and r_j the share of the training
rows that met it where they were asked: the multilinear extension (Owen 1972) of what Lundberg and
others (2018), Consistent individualized feature attribution for tree ensembles, call path-dependent
TreeSHAP. The integrand is a polynomial in t of degree d - 1, for which Gauss and Legendre's rule
with d / 2 nodes is exact.

Spark sends this module to the workers as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LEAF = -1
# Rows at a time: with fewer, numpy's calls take longer than their work; more take more memory.
BLOCK = 16384
# Up to so many rows it is quicker to go row by row, through all trees at once.
FEW = 16
# What depends on no more yes-or-no answers than this is looked up in a table of all cases.
MAX_ANSWERS = 9
# A share that no training row had, where a path asks for it all the same.
LEAST_SHARE = 1e-12
# Of the arrays of a tree.
_KINDS = ("int64", "float64", "int64", "int64", "float64", "float64")


@dataclass(frozen=True)
class Tree:
    """A tree, one entry per node, of which the first is the root.

    A row goes `left` where its `input` is at most `threshold`, else `right`; a leaf has LEAF there
    and says `value`. `cover` is the weight of the training rows that came to the node, as the
    package that grew the tree weighs them: XGBoost by p (1 - p).
    """

    input: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    cover: Floats

    def values(self, rows: Floats) -> Floats:
        """What the tree says of rows, given as one array per input."""
        node = np.zeros(rows.shape[1], np.int64)
        each = np.arange(rows.shape[1])
        while (inner := self.left[node] != LEAF).any():
            goes_left = rows[self.input[node], each] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return self.value[node]

    def mean(self) -> float:
        """What it says on average, by the cover of its leaves."""
        shares = {0: 1.0}
        total = 0.0
        for node in range(len(self.left)):
            # A parent comes before its children.
            share = shares.pop(node)
            if self.left[node] == LEAF:
                total += share * float(self.value[node])
            else:
                for child in (int(self.left[node]), int(self.right[node])):
                    shares[child] = share * float(self.cover[child] / self.cover[node])
        return total


@dataclass(frozen=True)
class Forest:
    """Trees whose values are added to `bias`; `trees` have their weight in their values."""

    trees: tuple[Tree, ...]
    bias: float = 0.0
    # Made once, when first asked for.
    _parts: list["_Part"] = field(default_factory=list, init=False, compare=False, repr=False)
    _side_by_side: list["_SideBySide"] = field(
        default_factory=list, init=False, compare=False, repr=False
    )

    def said(self, rows: Floats) -> Floats:
        """The sum for rows, given as one array per input."""
        return self.bias + sum((tree.values(rows) for tree in self.trees), np.zeros(rows.shape[1]))

    def mean(self) -> float:
        """The sum of what the trees say on average."""
        return self.bias + sum(tree.mean() for tree in self.trees)

    def contributions(self, rows: Floats) -> Floats:
        """Each input's Shapley value for each of the rows, both given as one array per input.

        For every row they add up to what is said of it, less the mean.
        """
        if not self._parts:
            self._parts.extend(map(_part, self.trees))
        if 0 < rows.shape[1] <= FEW:
            return self._contributions_of_few(rows)
        out = np.zeros_like(rows)
        for start in range(0, rows.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            some, moved = np.ascontiguousarray(rows[:, block]), np.zeros_like(rows[:, block])
            for tree, part in zip(self.trees, self._parts, strict=True):
                answers = np.empty((len(part.nodes), some.shape[1]), np.bool_)
                for node, answer in zip(part.nodes, answers, strict=True):
                    np.less_equal(some[tree.input[node]], tree.threshold[node], out=answer)
                for lookup in part.lookups:
                    lookup.add(answers, moved)
            out[:, block] = moved
        return out

    def _contributions_of_few(self, rows: Floats) -> Floats:
        if not self._side_by_side:
            self._side_by_side.append(_side_by_side(self.trees, self._parts))
        every = self._side_by_side[0]
        return np.column_stack([every.contributions(row) for row in rows.T])


@dataclass(frozen=True)
class Node:
    """A node of a tree as packages tell it: what a leaf there says, the weight of its training
    rows, and where it is none, its input, its threshold, and what lies below and above that.
    """

    value: float
    cover: float
    input: int = 0
    threshold: float = 0.0
    below: "Node | None" = None
    above: "Node | None" = None


def tree_of(root: Node) -> Tree:
    """The nodes as arrays, parents before their children."""
    rows: list[list[float]] = []

    def add(node: Node) -> int:
        place = len(rows)
        rows.append([node.input, node.threshold, LEAF, LEAF, node.value, node.cover])
        if node.below is not None and node.above is not None:
            rows[place][2:4] = add(node.below), add(node.above)
        return place

    add(root)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Tree(*[column.astype(t) for column, t in zip(columns, _KINDS, strict=True)])


def by_input(rows: Any, inputs: int) -> Floats:
    """An Arrow array of lists, a row each, as one array per input."""
    numbers = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), inputs)
    return np.ascontiguousarray(numbers.T)


def forest_as_dict(known: Forest) -> dict[str, Any]:
    """For JSON; `forest` reads it."""
    names = list(Tree.__dataclass_fields__)
    trees = [{name: getattr(tree, name).tolist() for name in names} for tree in known.trees]
    return {"bias": known.bias, "trees": trees}


def forest(saved: dict[str, Any]) -> Forest:
    """The forest that `forest_as_dict` has written."""
    trees = [Tree(**{k: np.array(v) for k, v in tree.items()}) for tree in saved["trees"]]
    return Forest(tuple(trees), saved["bias"])


@dataclass(frozen=True)
class _Asked:
    """What a path asks of one input: answers, by their place, as they must be; and the share of
    the training rows that met it.
    """

    input: int
    answers: tuple[tuple[int, bool], ...]
    share: float

    def met(self, answers: Bools) -> Bools:
        """Whether rows meet it."""
        found = [answers[place] if wanted else ~answers[place] for place, wanted in self.answers]
        return np.asarray(np.logical_and.reduce(found)) if len(found) > 1 else found[0]


@dataclass(frozen=True)
class _Lookup:
    """Contributions that depend on a few yes-or-no facts of a row: `table` has a row per input
    and a column per case, which the facts number in binary.
    """

    facts: Sequence[_Asked]
    inputs: Sequence[int]
    table: Floats

    def add(self, answers: Bools, moved: Floats) -> None:
        """Add them to those of the rows with these answers."""
        case = np.zeros(answers.shape[1], np.uint16)
        for fact in reversed(self.facts):
            case = (case + case) | fact.met(answers)
        places = case.astype(np.intp)
        for number, contribution in zip(self.inputs, self.table, strict=True):
            moved[number] += contribution.take(places)


@dataclass(frozen=True)
class _Leaf:
    """A leaf, and what the way to it asks of each input."""

    facts: Sequence[_Asked]
    value: float

    def contributions(self, answers: Bools) -> Floats:
        """Those of rows with these answers, one array per fact."""
        met = np.array([fact.met(answers) for fact in self.facts])
        return self.value * _shapley(met, np.array([fact.share for fact in self.facts]))

    def add(self, answers: Bools, moved: Floats) -> None:
        """Add them to those of the rows with these answers."""
        for fact, contribution in zip(self.facts, self.contributions(answers), strict=True):
            moved[fact.input] += contribution


@dataclass(frozen=True)
class _Part:
    """A tree made ready: a node for each of its questions, and what is to be added up."""

    nodes: Ints
    lookups: Sequence[_Lookup | _Leaf]


@dataclass(frozen=True)
class _SideBySide:
    """The lookups of all trees, one step for all of them: what takes few rows no longer than one
    tree does.

    Facts are of answers from `fact_starts` on, lookups of facts from `lookup_starts` on. Each
    entry is an input that a lookup moves: where that of its first case is in `table`, from which
    `bits` tell how far its case lies.
    """

    input: Ints
    threshold: Floats
    answers: Ints
    wanted: Bools
    fact_starts: Ints
    bits: Ints
    lookup_starts: Ints
    table: Floats
    entry_starts: Ints
    entry_lookup: Ints
    entry_input: Ints
    long: tuple[tuple[int, int, _Leaf], ...]

    def contributions(self, row: Floats) -> Floats:
        """Each input's Shapley value for a row."""
        said = row[self.input] <= self.threshold
        found = np.zeros(len(row))
        if len(self.fact_starts):
            met = np.logical_and.reduceat(said[self.answers] == self.wanted, self.fact_starts)
            case = np.add.reduceat(met * self.bits, self.lookup_starts)
            moved = self.table[self.entry_starts + case[self.entry_lookup]]
            found += np.bincount(self.entry_input, moved, len(row))
        for begin, end, path in self.long:
            path.add(said[begin:end, None], found[:, None])
        return found


def _side_by_side(trees: Sequence[Tree], parts: Sequence[_Part]) -> _SideBySide:
    ends = np.cumsum([len(part.nodes) for part in parts])
    begins = ends - [len(part.nodes) for part in parts]
    lookups = [
        (int(begin), lookup)
        for begin, part in zip(begins, parts, strict=True)
        for lookup in part.lookups
        if isinstance(lookup, _Lookup) and lookup.facts
    ]
    facts = [(begin, fact) for begin, lookup in lookups for fact in lookup.facts]
    answers = [(begin + place, wanted) for begin, fact in facts for place, wanted in fact.answers]
    entries = [
        (number, row, input_)
        for number, (_, lookup) in enumerate(lookups)
        for row, input_ in enumerate(lookup.inputs)
    ]
    starts = _starts([lookup.table.size for _, lookup in lookups])
    # What a case moves lies side by side, so that it comes from memory at once.
    tables = [lookup.table.T.ravel() for _, lookup in lookups]
    bits = [len(one.inputs) << k for _, one in lookups for k in range(len(one.facts))]
    return _SideBySide(
        np.concatenate([t.input[p.nodes] for t, p in zip(trees, parts, strict=True)]),
        np.concatenate([t.threshold[p.nodes] for t, p in zip(trees, parts, strict=True)]),
        np.array([place for place, _ in answers], np.int64),
        np.array([wanted for _, wanted in answers], np.bool_),
        _starts([len(fact.answers) for _, fact in facts]),
        np.array(bits, np.int64),
        _starts([len(lookup.facts) for _, lookup in lookups]),
        np.concatenate(tables) if tables else np.zeros(0),
        np.array([starts[number] + row for number, row, _ in entries], np.int64),
        np.array([number for number, *_ in entries], np.int64),
        np.array([input_ for *_, input_ in entries], np.int64),
        tuple(
            (int(begin), int(end), lookup)
            for begin, end, part in zip(begins, ends, parts, strict=True)
            for lookup in part.lookups
            if isinstance(lookup, _Leaf)
        ),
    )


def _starts(lengths: Sequence[int]) -> Ints:
    """Where each of the parts of these lengths begins, side by side."""
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64) if lengths else np.zeros(0, np.int64)


class _Asking:
    """What a tree asks: its questions, each once however many nodes ask it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        inner = np.flatnonzero(tree.left != LEAF)
        questions = list(
            zip(tree.input[inner].tolist(), tree.threshold[inner].tolist(), strict=True)
        )
        first = dict(zip(questions[::-1], inner[::-1], strict=True))
        numbers = {asked: number for number, asked in enumerate(first)}
        # The first node of each question, and of each node its question.
        self.nodes = np.array(list(first.values()), np.int64)
        self._question = {
            int(node): numbers[asked] for node, asked in zip(inner, questions, strict=True)
        }
        # The questions of each node and of those below it, which come after it.
        self._below: list[frozenset[int]] = [frozenset()] * len(tree.left)
        for node, question in reversed(self._question.items()):
            below = self._below[tree.left[node]] | self._below[tree.right[node]]
            self._below[node] = below | {question}

    def lookups(self, node: int, asked: Mapping[int, _Asked]) -> Iterator[_Lookup | _Leaf]:
        """What is to be added up for the leaves below a node to which the way has `asked`, by
        input: one lookup if that and all that is asked below it number few enough cases.
        """
        if not asked and not self._below[node]:
            return
        if len(asked) + len(self._below[node]) <= MAX_ANSWERS:
            yield self._lookup(node, asked)
        elif self._tree.left[node] == LEAF:
            # More inputs than a table has room for.
            yield _Leaf(list(asked.values()), float(self._tree.value[node]))
        else:
            for child, further in self._ways(node, asked, self._question[node]):
                yield from self.lookups(child, further)

    def _lookup(self, start: int, asked: Mapping[int, _Asked]) -> _Lookup:
        """Its facts are what the way has asked of each input, and the answers below."""
        below = sorted(self._below[start])
        inputs = self._tree.input[self.nodes[below]].tolist()
        # An answer is read as it stands, and not turned round for every row.
        turned = [[w for _, w in asks.answers] == [False] for asks in asked.values()]
        straight = [
            replace(asks, answers=((asks.answers[0][0], True),)) if turn else asks
            for asks, turn in zip(asked.values(), turned, strict=True)
        ]
        facts = [
            *straight,
            *(_Asked(i, ((q, True),), 1.0) for i, q in zip(inputs, below, strict=True)),
        ]
        places = {question: len(asked) + number for number, question in enumerate(below)}
        # What the way to each leaf asks, in facts of the lookup.
        before = [
            replace(asks, answers=((k, not turned[k]),)) for k, asks in enumerate(asked.values())
        ]
        waiting = [(start, dict(zip(asked, before, strict=True)))]
        moves = dict.fromkeys([fact.input for fact in facts])
        cases, rows = _cases(len(facts)), {number: row for row, number in enumerate(moves)}
        table = np.zeros((len(rows), cases.shape[1]))
        while waiting:
            node, known = waiting.pop()
            if self._tree.left[node] == LEAF:
                leaf = _Leaf(list(known.values()), float(self._tree.value[node]))
                found = leaf.contributions(cases)
                for fact, moved in zip(leaf.facts, found, strict=True):
                    table[rows[fact.input]] += moved
            else:
                waiting += self._ways(node, known, places[self._question[node]])
        return _Lookup(facts, list(rows), table)

    def _ways(
        self, node: int, asked: Mapping[int, _Asked], answer: int
    ) -> list[tuple[int, dict[int, _Asked]]]:
        """The nodes right below, and what the ways to them have asked."""
        number, cover = int(self._tree.input[node]), self._tree.cover
        before = asked.get(number, _Asked(number, (), 1.0))
        ways = []
        for child, goes_left in ((self._tree.left[node], True), (self._tree.right[node], False)):
            share = before.share * max(float(cover[child] / cover[node]), LEAST_SHARE)
            now = _Asked(number, (*before.answers, (answer, goes_left)), share)
            ways.append((int(child), {**asked, number: now}))
        return ways


def _part(tree: Tree) -> _Part:
    asking = _Asking(tree)
    return _Part(asking.nodes, list(asking.lookups(0, {})))


def _cases(facts: int) -> Bools:
    """Every case of so many facts, one row per fact."""
    return np.asarray(np.arange(2**facts) >> np.arange(facts)[:, None] & 1, bool)


def _shapley(met: Bools, shares: Floats) -> Floats:
    """The Shapley values of the inputs of a path of value 1; one row per input, as `met`."""
    points, weights = np.polynomial.legendre.leggauss((len(shares) + 1) // 2)
    share, found = shares[:, None], np.zeros(met.shape)
    for t, weight in zip((points + 1) / 2, weights / 2, strict=True):
        terms = np.where(met, t + (1 - t) * share, (1 - t) * share)
        found += weight * terms.prod(axis=0) / terms
    return np.asarray(np.where(met, 1 - share, -share) * found)
