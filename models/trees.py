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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LEAF = -1
# Rows at a time, so that what is worked on stays in the processor's cache.
BLOCK = 4096
# Up to so many rows it is quicker to go row by row, through all trees at once.
FEW = 16
# What depends on no more yes-or-no answers than this is looked up in a table of all cases.
MAX_ANSWERS = 8
# A share that no training row had, where a path asks for it all the same.
LEAST_SHARE = 1e-12
# Of the arrays of a tree.
_KINDS = ("int64", "float64", "int64", "int64", "float64", "float64")


@dataclass(frozen=True)
class Tree:
    """A tree, one entry per node, of which the first is the root.

    A row goes `left` where its `input` is at most `threshold`, else `right`; a leaf has LEAF there
    and says `value`. `cover` is the weight of the training rows that came to the node.
    """

    input: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    cover: Floats

    def paths(self) -> Iterator[tuple[int, list[tuple[int, bool]]]]:
        """Each leaf, and the nodes on the way to it, with whether the way goes left there."""
        waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
        while waiting:
            node, path = waiting.pop()
            if self.left[node] == LEAF:
                yield node, path
            else:
                waiting.append((int(self.right[node]), [*path, (node, False)]))
                waiting.append((int(self.left[node]), [*path, (node, True)]))

    def values(self, rows: Floats) -> Floats:
        """What the tree says of rows, given as one array per input."""
        node = np.zeros(rows.shape[1], np.int64)
        each = np.arange(rows.shape[1])
        while (inner := self.left[node] != LEAF).any():
            goes_left = rows[self.input[node], each] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return self.value[node]

    def mean(self) -> float:
        """What it says of the training rows on average."""
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
        """The sum for the training rows, on average."""
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
                answers = some[tree.input[part.nodes]] <= tree.threshold[part.nodes, None]
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
        case = np.zeros(answers.shape[1], np.intp)
        for place, fact in enumerate(self.facts):
            case += fact.met(answers).astype(np.intp) << place
        for number, contribution in zip(self.inputs, self.table, strict=True):
            moved[number] += contribution[case]


@dataclass(frozen=True)
class _LongPath:
    """The contributions of a leaf whose path asks more inputs than a table has room for."""

    facts: Sequence[_Asked]
    value: float

    def add(self, answers: Bools, moved: Floats) -> None:
        """Add them to those of the rows with these answers."""
        met = np.array([fact.met(answers) for fact in self.facts])
        found = self.value * _shapley(met, np.array([fact.share for fact in self.facts]))
        for fact, contribution in zip(self.facts, found, strict=True):
            moved[fact.input] += contribution


@dataclass(frozen=True)
class _Part:
    """A tree made ready: its inner nodes, and what is to be added up."""

    nodes: Ints
    lookups: Sequence[_Lookup | _LongPath]


@dataclass(frozen=True)
class _SideBySide:
    """The lookups of all trees, one step for all of them: what takes few rows no longer than one
    tree does.

    Facts are of answers from `fact_starts` on, lookups of facts from `lookup_starts` on. Each
    entry is a row of a lookup's table: where that begins in `table`, and the input that it moves.
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
    long: tuple[tuple[int, int, _LongPath], ...]

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
        (number, row, 2 ** len(lookup.facts), input_)
        for number, (_, lookup) in enumerate(lookups)
        for row, input_ in enumerate(lookup.inputs)
    ]
    starts = _starts([lookup.table.size for _, lookup in lookups])
    tables = [lookup.table.ravel() for _, lookup in lookups]
    return _SideBySide(
        np.concatenate([t.input[p.nodes] for t, p in zip(trees, parts, strict=True)]),
        np.concatenate([t.threshold[p.nodes] for t, p in zip(trees, parts, strict=True)]),
        np.array([place for place, _ in answers], np.int64),
        np.array([wanted for _, wanted in answers], np.bool_),
        _starts([len(fact.answers) for _, fact in facts]),
        np.array([1 << k for _, lookup in lookups for k in range(len(lookup.facts))], np.int64),
        _starts([len(lookup.facts) for _, lookup in lookups]),
        np.concatenate(tables) if tables else np.zeros(0),
        np.array([starts[number] + row * cases for number, row, cases, _ in entries], np.int64),
        np.array([number for number, *_ in entries], np.int64),
        np.array([input_ for *_, input_ in entries], np.int64),
        tuple(
            (int(begin), int(end), lookup)
            for begin, end, part in zip(begins, ends, parts, strict=True)
            for lookup in part.lookups
            if isinstance(lookup, _LongPath)
        ),
    )


def _starts(lengths: Sequence[int]) -> Ints:
    """Where each of the parts of these lengths begins, side by side."""
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64) if lengths else np.zeros(0, np.int64)


def _part(tree: Tree) -> _Part:
    nodes = np.flatnonzero(tree.left != LEAF)
    leaves = [_leaf(tree, leaf, path, nodes) for leaf, path in tree.paths() if path]
    if len(nodes) > MAX_ANSWERS:
        return _Part(nodes, leaves)
    # All the answers of a small tree number its cases, one lookup for all its leaves.
    inputs = sorted(set(tree.input[nodes].tolist()))
    moved = np.zeros((max(inputs, default=0) + 1, 2 ** len(nodes)))
    for leaf in leaves:
        leaf.add(_cases(len(nodes)), moved)
    facts = [_Asked(int(tree.input[n]), ((place, True),), 1.0) for place, n in enumerate(nodes)]
    return _Part(nodes, [_Lookup(facts, inputs, moved[inputs])])


def _leaf(
    tree: Tree, leaf: int, path: Sequence[tuple[int, bool]], nodes: Ints
) -> _Lookup | _LongPath:
    asked: dict[int, _Asked] = {}
    for (node, goes_left), (below, _) in zip(path, [*path[1:], (leaf, True)], strict=True):
        number = int(tree.input[node])
        before = asked.get(number, _Asked(number, (), 1.0))
        answer = (int(np.searchsorted(nodes, node)), goes_left)
        share = before.share * max(float(tree.cover[below] / tree.cover[node]), LEAST_SHARE)
        asked[number] = _Asked(number, (*before.answers, answer), share)
    facts, value = list(asked.values()), float(tree.value[leaf])
    if len(facts) > MAX_ANSWERS:
        return _LongPath(facts, value)
    shares = np.array([fact.share for fact in facts])
    table = value * _shapley(_cases(len(facts)), shares)
    return _Lookup(facts, [fact.input for fact in facts], table)


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
