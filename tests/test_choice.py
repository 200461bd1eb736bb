"""How an algorithm is chosen: by estimate, by the weight's values, by name."""

import numpy as np
import pytest
from passes import arrays_like

import numconv as nc
from numconv.algorithm import Algorithm, candidates, select


class OnlyOnes(Algorithm):
    """Cheaper than all others, for weights of ones."""

    name = "ones"
    reads_weight = True
    asked = 0

    def __init__(self, cost=1e-12):
        self._cost = cost

    def cost(self, problem):
        return self._cost

    def rejects_weight(self, problem, weight):
        self.asked += 1
        return None if (weight == 1).all() else "takes weights of ones only"


@pytest.fixture
def asked():
    """(problem, x, weight) of a small convolution."""
    x, weight = arrays_like((1, 5, 9, 11), (6, 5, 3, 3), "float32")
    return nc.ConvProblem.make("conv2d", x.shape, weight.shape, x.dtype), x, weight


def test_values_of_the_weight_count_where_there_is_one(registry, asked):
    problem, _, weight = asked
    without = select(problem).name
    nc.register("conv2d", OnlyOnes(), default=True)
    assert select(problem).name == "ones"
    assert select(problem, weight=np.ones_like(weight)).name == "ones"
    assert select(problem, weight=weight).name == without
    assert {a.name: reason for a, _, reason in candidates(problem, weight=weight)}["ones"].startswith("takes")
    assert {a.name: reason for a, _, reason in candidates(problem)}["ones"] is None


def test_a_forced_algorithm_raises_its_sentence_on_the_weight(registry, asked):
    problem, _, weight = asked
    nc.register("conv2d", OnlyOnes())
    assert select(problem, "ones", weight=np.ones_like(weight)).name == "ones"
    with pytest.raises(ValueError, match="rejects this problem: takes weights of ones only"):
        select(problem, "ones", weight=weight)
    with nc.using("ones"), pytest.raises(ValueError, match="ones only"):
        select(problem, weight=weight)


def test_values_are_read_only_where_they_can_decide(registry, asked):
    problem, _, weight = asked
    nc.register("conv2d", expensive := OnlyOnes(cost=1e9), default=True)
    assert select(problem, weight=weight).name != "ones" and expensive.asked == 0
    expensive.reads_weight = False
    assert select(problem, "ones", weight=weight) is expensive and expensive.asked == 0
