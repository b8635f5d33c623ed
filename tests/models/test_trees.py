"""What trees say and why, beside scikit-learn's trees and the package shap."""

from itertools import permutations

import numpy as np
import pytest
import shap
from sklearn.ensemble import RandomForestRegressor

from models.trees import BLOCK, LEAF, MAX_ANSWERS, Forest, Tree

ROWS, INPUTS = 3000, 12


@pytest.fixture(scope="module")
def rows():
    # Whole numbers repeat, and lie on thresholds' sides like counts do.
    return np.random.default_rng(1).integers(0, 9, (ROWS, INPUTS)).astype(float)


def _fitted(rows, depth, trees=5):
    rng = np.random.default_rng(2)
    target = rows[:, 0] * (rows[:, 1] > 4) + np.sin(rows[:, 2]) + rows[:, 3] + rng.normal(size=ROWS)
    forest = RandomForestRegressor(trees, max_depth=depth, max_features=0.5, random_state=3)
    return forest.fit(rows, target)


def _ours(forest) -> Forest:
    return Forest(
        tuple(
            Tree(
                np.maximum(one.tree_.feature, 0).astype(np.int64),
                one.tree_.threshold,
                one.tree_.children_left.astype(np.int64),
                one.tree_.children_right.astype(np.int64),
                one.tree_.value[:, 0, 0] / len(forest.estimators_),
                one.tree_.weighted_n_node_samples,
            )
            for one in forest.estimators_
        )
    )


# Stumps; trees whose answers all fit a table; paths of inputs that do; paths that are too long.
@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3, 6, MAX_ANSWERS + 4])
def test_contributions_are_those_of_shap(rows, depth):
    forest = _fitted(rows, depth)
    ours = _ours(forest)
    found = ours.contributions(rows.T)
    assert ours.said(rows.T) == pytest.approx(forest.predict(rows), abs=1e-9)
    assert found.sum(axis=0) + ours.mean() == pytest.approx(ours.said(rows.T), abs=1e-9)
    explainer = shap.TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    expected = explainer.shap_values(rows[:300])
    assert np.abs(found[:, :300].T - expected).max() < 1e-9
    assert ours.mean() == pytest.approx(float(np.ravel(explainer.expected_value)[0]))


def test_long_paths_are_there_to_be_tried(rows):
    ours = _ours(_fitted(rows, MAX_ANSWERS + 4))
    assert max(map(len, _inputs_asked(ours.trees[0], 0, frozenset()))) > MAX_ANSWERS


def _inputs_asked(tree, node, so_far):
    if tree.left[node] == LEAF:
        return [so_far]
    further = so_far | {int(tree.input[node])}
    children = tree.left[node], tree.right[node]
    return [asked for child in children for asked in _inputs_asked(tree, child, further)]


# Of few levels all cases fit one table; of many each way down has its own.
@pytest.mark.parametrize("levels", [4, MAX_ANSWERS + 2])
def test_questions_that_many_nodes_ask_are_told_from_each_other(levels):
    tree = _one_question_a_level(levels)
    rows = np.random.default_rng(6).uniform(size=(4, 6))
    found = Forest((tree,)).contributions(rows)
    expected = [_shapley(tree, row) for row in rows.T]
    assert pytest.approx(np.array(expected), abs=1e-12) == found.T


def _one_question_a_level(levels) -> Tree:
    """A tree as CatBoost grows it, whose levels ask four inputs in turn, and one question twice."""
    rng = np.random.default_rng(7)
    asked = rng.uniform(size=levels)
    asked[-1] = asked[-5] if levels > 4 else asked[-1]
    inner, nodes = 2**levels - 1, 2 ** (levels + 1) - 1
    level = np.log2(np.arange(1, nodes + 1)).astype(int).clip(max=levels - 1)
    left = np.where(np.arange(nodes) < inner, 2 * np.arange(nodes) + 1, LEAF)
    right = np.where(left == LEAF, LEAF, left + 1)
    cover = np.ones(nodes)
    cover[inner:] = rng.integers(1, 50, nodes - inner)
    for node in reversed(range(inner)):
        cover[node] = cover[left[node]] + cover[right[node]]
    return Tree(level % 4, asked[level], left, right, rng.normal(size=nodes), cover)


def _shapley(tree, row) -> list[float]:
    """By its definition: what an input adds, over all orders in which inputs become known."""

    def expected(known, node=0):
        if tree.left[node] == LEAF:
            return tree.value[node]
        children = tree.left[node], tree.right[node]
        if tree.input[node] in known:
            below = row[tree.input[node]] <= tree.threshold[node]
            return expected(known, children[0] if below else children[1])
        return sum(tree.cover[c] * expected(known, c) for c in children) / tree.cover[node]

    added = np.zeros(len(row))
    orders = list(permutations(range(len(row))))
    for order in orders:
        for place, one in enumerate(order):
            added[one] += expected(order[: place + 1]) - expected(order[:place])
    return list(added / len(orders))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 4, MAX_ANSWERS + 4])
def test_rows_are_explained_alike_in_any_number(rows, depth):
    ours = _ours(_fitted(rows, depth))
    many = np.tile(rows.T, (1, 2 * BLOCK // ROWS + 1))
    found = ours.contributions(many)
    assert found.shape == many.shape
    assert found[:, :ROWS] == pytest.approx(ours.contributions(rows.T))
    assert found[:, -1] == pytest.approx(ours.contributions(many[:, -1:])[:, 0])
    assert ours.contributions(many[:, :0]).shape == (INPUTS, 0)


def test_a_tree_that_asks_nothing_moves_nothing():
    leaf = [np.array([LEAF])] * 2
    tree = Tree(np.array([0]), np.zeros(1), *leaf, np.array([0.3]), np.array([10.0]))
    forest = Forest((tree,), bias=0.2)
    assert forest.said(np.zeros((2, 3))).tolist() == [0.5] * 3
    assert forest.mean() == 0.5
    assert (forest.contributions(np.zeros((2, 3))) == 0).all()
