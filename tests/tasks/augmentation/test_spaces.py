"""The published spaces: their sizes, what a candidate means, what is equal, and how evolution changes it."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from automl_ext.tasks.augmentation.encoding import usage
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS
from automl_ext.tasks.augmentation.policy import Step
from automl_ext.tasks.augmentation.reference import published_cifar, without
from automl_ext.tasks.augmentation.schedules import COUNTS, _walked
from automl_ext.tasks.augmentation.space import encode
from automl_ext.tasks.augmentation.strengths import FOURTEEN, randaugment, trivialaugment

from automl_ext.evolution.variation import GenericVariation

COLOUR, GREY = (3, 32, 32), (1, 28, 28)
NAMES = ("autoaugment", "fast", "randaugment", "trivialaugment", "schedule", "selective")


def space(name, shape=COLOUR, operations=None, segments=3, epochs=12):
    return encode(name, operations, None, shape, segments, epochs)[0]


def test_autoaugment_has_thirty_decisions_and_as_many_policies_as_published():
    encoding = space("autoaugment")
    sizes = [slot.decisions[0].count for slot in encoding.space.slots]
    assert sizes == [16, 11, 10] * 10
    assert math.log10(math.prod(sizes)) == pytest.approx(math.log10(2.9e32), abs=0.02)


@pytest.mark.parametrize(
    ("name", "slots"), [("fast", 30), ("randaugment", 2), ("trivialaugment", 1), ("schedule", 180), ("selective", 14)]
)
def test_the_other_spaces_have_their_decisions(name, slots):
    assert len(space(name).space.slots) == slots


@pytest.mark.parametrize(
    ("name", "count"), [("fast", 15), ("randaugment", 14), ("trivialaugment", 14), ("schedule", 15)]
)
def test_they_have_as_many_operations_as_published(name, count):
    encoding = space(name)
    assert len(encoding.operations) == count and "SamplePairing" not in encoding.operations


def test_what_does_nothing_to_grey_images_is_left_out_with_the_reason():
    encoding, left = encode("autoaugment", None, None, GREY, 1, 1)
    assert len(encoding.operations) == 15 and "Color" not in encoding.operations
    assert left == {"Color": "changes colours only, and these images are grey"}
    _, left = encode("fast", None, None, (1, 4, 4), 1, 1)
    assert "shorter than a pixel on images of 4 pixels" in left["Cutout"]
    assert encode("autoaugment", ["Rotate", "Color"], None, GREY, 1, 1)[0].operations == ("Rotate",)


@pytest.mark.parametrize(
    ("operations", "said"),
    [(["Rotat"], "not 'Rotat'"), (["Color"], "nothing is left of Color"), ([], "operations: name some of ShearX, ")],
)
def test_operations_that_cannot_be_searched_are_refused(operations, said):
    with pytest.raises(ValueError, match=said):
        encode("autoaugment", operations, None, GREY, 1, 1)


def test_a_candidate_is_read_as_the_paper_writes_it():
    encoding = space("autoaugment")
    genes = dict.fromkeys((slot.path for slot in encoding.space.slots), 0)
    genes |= {path: "Invert" for path in genes if path.endswith("operation")}
    genes |= {"2.1.operation": "Rotate", "2.1.probability": 7, "2.1.magnitude": 9}
    genes |= {"2.2.operation": "Posterize", "2.2.probability": 10, "2.2.magnitude": 4}
    (policy,) = encoding.schedule(encoding.space.from_genes(genes))
    assert policy.subpolicies[1] == (Step("Rotate", 0.7, 30.0), Step("Posterize", 1.0, 6.0))
    assert all(step.idle for step in policy.subpolicies[0])


def test_equal_policies_are_one_candidate():
    encoding, rng = space("autoaugment"), np.random.default_rng(0)
    candidate = encoding.space.sample(rng)
    key = encoding.space.key(candidate)
    order = [3, 1, 5, 2, 4]
    shuffled = {path: candidate[f"{order[int(path[0]) - 1]}{path[1:]}"] for path in candidate}
    assert shuffled != candidate and encoding.space.key(shuffled) == key
    never = {**candidate, "1.1.probability": 0}
    assert encoding.space.key({**never, "1.1.magnitude": 3}) == encoding.space.key({**never, "1.1.operation": "Cutout"})
    plain = {**candidate, "1.1.operation": "Invert", "1.1.probability": 5}
    assert encoding.space.key({**plain, "1.1.magnitude": 1}) == encoding.space.key({**plain, "1.1.magnitude": 8})
    first = {"1.1.operation": "Invert", "1.1.probability": 5, "1.2.operation": "Solarize", "1.2.probability": 5}
    there = {**candidate, **first, "1.2.magnitude": 5, "1.1.magnitude": 5}
    back = {**there, "1.1.operation": "Solarize", "1.2.operation": "Invert"}
    assert encoding.space.key(there) != encoding.space.key(back)  # the order within a sub-policy counts


@pytest.mark.parametrize("name", ["autoaugment", "fast"])
def test_the_best_five_together_have_25_sub_policies(name):
    encoding, rng = space(name), np.random.default_rng(1)
    best = [encoding.space.sample(rng) for _ in range(5)]
    combined = encoding.combined(best)
    (policy,) = encoding.schedule(combined)
    assert len(policy.subpolicies) == 25
    assert policy.subpolicies == tuple(c for one in best for c in encoding.schedule(one)[0].subpolicies)
    assert encoding.combined([best[0], best[0]]) == best[0]


def test_a_mutation_changes_one_decision_and_crossover_takes_whole_sub_policies():
    encoding, rng = space("autoaugment"), np.random.default_rng(2)
    variation = encoding.variation
    near = 0
    for _ in range(300):
        genes = variation.sample(rng)
        changed = variation.mutate(genes, rng)
        (path,) = [path for path in genes if genes[path] != changed[path]]
        assert encoding.space.from_genes(changed) == changed
        if not path.endswith("operation"):
            near += abs(genes[path] - changed[path]) == 1
        child = variation.crossover(genes, variation.sample(rng), rng)
        whole = [all(child[p] == genes[p] for p in genes if p[0] == sub) for sub in "12345"]
        assert {whole.count(True)} <= {0, 1, 2, 3, 4, 5}
    assert near > 90  # a third of the mutations at least go to the next value


def test_randaugment_of_nothing_is_identity_and_trivialaugment_one_operation_at_any_strength():
    assert randaugment(0, 10, FOURTEEN).stages == ()
    two = randaugment(2, 15, FOURTEEN)
    assert len(two.stages) == 2 and all(len(stage.choices) == 14 for stage in two.stages)
    assert (Step("Rotate", 1.0, 15.0),) in two.stages[0].choices
    (stage,) = trivialaugment(FOURTEEN).stages
    assert len(stage.choices) == 14 * 31 and all(len(choice) == 1 for choice in stage.choices)
    assert len({step.value for (step,) in stage.choices if step.operation == "ShearX"}) == 31


def test_selective_has_trivialaugment_in_it_and_nothing_at_all():
    encoding = space("selective")
    every = {slot.path: slot.decisions[0].options[-1] for slot in encoding.space.slots if slot.path != "n"}
    (found,) = encoding.schedule({"n": 1, **every})
    (known,) = space("trivialaugment").schedule({"ranges": "standard"})
    assert np.allclose(usage(found, "standard"), usage(known, "standard"))
    nothing = [{"n": n, **dict.fromkeys(every, 0)} for n in (1, 3)]
    assert encoding.schedule(nothing[0])[0].operations == ()
    assert encoding.space.key(nothing[0]) == encoding.space.key(nothing[1])


def test_selective_draws_what_is_allowed_alike_and_no_stronger_than_allowed():
    encoding = space("selective")
    limits = {"Rotate": 2, "AutoContrast": 1, "Contrast": 4}
    candidate = {slot.path: limits.get(slot.path, 0) for slot in encoding.space.slots} | {"n": 2}
    (policy,) = encoding.schedule(candidate)
    assert len(policy.stages) == 2 and policy.stages[0] == policy.stages[1]
    shares = Counter()
    for choice, weight in zip(policy.stages[0].choices, policy.stages[0].weights, strict=True):
        shares[choice[0].operation if choice else IDENTITY] += weight
        if choice and choice[0].operation == "Rotate":
            assert abs(choice[0].value) <= 15
    assert shares == pytest.approx(dict.fromkeys(("Rotate", "AutoContrast", "Contrast", IDENTITY), 0.25))


def test_a_walk_through_a_shuffled_list_has_the_chances_that_are_computed():
    """PBA's rule, drawn 40,000 times."""
    chances = np.array([0.3, 1.0, 0.5, 0.0, 0.9])
    steps = [Step("Rotate", 1.0, float(index + 1)) for index in range(5)]
    found = dict(zip(*_walked(steps, chances), strict=True))
    assert sum(found.values()) == pytest.approx(1)
    rng, seen, draws = np.random.default_rng(0), Counter(), 40_000
    for count, order, fire in zip(
        rng.choice(3, size=draws, p=COUNTS), rng.permuted(np.tile(np.arange(5), (draws, 1)), axis=1),
        rng.random((draws, 5)), strict=True,
    ):  # fmt: skip
        happened = [steps[index] for index in order if fire[index] < chances[index]]
        seen[tuple(happened[:count])] += 1
    assert set(seen) <= set(found)
    for choice, chance in found.items():
        assert seen[choice] / draws == pytest.approx(chance, abs=5 * math.sqrt(chance / draws) + 1e-4)


def test_a_schedule_stays_what_it_was_where_the_training_has_been():
    encoding, rng = space("schedule", segments=4, epochs=20), np.random.default_rng(3)
    variation = encoding.variation
    genes = variation.sample(rng)
    assert len(set(encoding.schedule(encoding.space.from_genes(genes)))) == 1
    for done in (16, 19, 20, 40):
        assert variation.explore(genes, done, rng) == genes
    for done, first in ((0, 1), (5, 2), (9, 3), (15, 4)):
        changed = variation.explore(genes, done, rng)
        past = [path for path in genes if int(path.partition(".")[0]) < first]
        assert all(changed[path] == genes[path] for path in past)
        schedule = encoding.schedule(encoding.space.from_genes(changed))
        assert schedule[0] == encoding.schedule(encoding.space.from_genes(genes))[0] or first == 1
        assert len(set(schedule[first - 1 :])) == 1 and changed != genes
        assert encoding.space.from_genes(changed) == changed


def test_exploring_draws_anew_or_moves_by_up_to_three():
    encoding, rng = space("schedule", segments=1), np.random.default_rng(4)
    genes = dict.fromkeys(encoding.variation.sample(rng), 5)
    moves = Counter(abs(value - 5) for _ in range(200) for value in encoding.variation.explore(genes, 0, rng).values())
    total = sum(moves.values())
    far = sum(count for distance, count in moves.items() if distance > 3)
    assert 0 < far / total < 0.2
    assert moves[0] / total == pytest.approx(0.8 / 4 + 0.2 / 10.5, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_features_say_how_much_of_each_operation_there_is(name):
    encoding = space(name)
    candidate = encoding.space.sample(np.random.default_rng(5))
    found = encoding.features(candidate)
    assert found.shape == (2 * len(OPERATIONS),) and (found >= 0).all() and (found <= 1).all()
    used = {op for policy in encoding.schedule(candidate) for op in policy.operations} - {IDENTITY}
    assert {name for name, often in zip(OPERATIONS, found[:16], strict=True) if often > 0} >= used


def test_usage_of_the_published_policy():
    policy = published_cifar()
    assert len(policy.subpolicies) == 25
    often = dict(zip(OPERATIONS, usage(policy, "standard")[0], strict=True))
    assert often["Invert"] == pytest.approx((0.1 + 0.0 + 0.1) / 25) and often["ShearX"] == 0
    assert without(policy, {"Color": "grey"}).operations == tuple(o for o in policy.operations if o != "Color")


@pytest.mark.parametrize("name", NAMES)
def test_any_variation_expresses_candidates(name):
    encoding, rng = space(name, GREY), np.random.default_rng(6)
    variation = encoding.variation or GenericVariation(encoding.space)
    genes = variation.sample(rng)
    for _ in range(20):
        assert encoding.space.from_genes(genes) in encoding.space
        genes = variation.crossover(variation.mutate(genes, rng), variation.sample(rng), rng)
