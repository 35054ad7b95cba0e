import math

import numpy as np
import pytest
from scipy import stats

from segmed.evaluation.statistics import (
    bootstrap_ci,
    bootstrap_weights,
    flips_for,
    holm,
    interval,
    kendall_tau,
    least_p,
    mean_of,
    median_of,
    metric_agreement,
    paired_sign_flip,
    paired_wilcoxon,
    rank_stability,
    ratio_of,
)

NAN = math.nan


def test_each_resample_draws_as_many_patients_as_there_are():
    weights = bootstrap_weights(7, resamples=50, seed=1)
    assert weights.shape == (50, 7)
    np.testing.assert_array_equal(weights.sum(axis=1), 7)


def test_the_interval_of_a_mean_has_the_width_that_theory_gives():
    values = np.random.default_rng(0).normal(0.8, 0.1, size=200)
    found = bootstrap_ci(values)
    half_width = 1.96 * values.std() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.05)


def test_equal_values_have_an_interval_of_no_width():
    found = bootstrap_ci(np.full(5, 0.7))
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7, 0.7))


def test_undefined_patients_are_left_out_of_the_mean():
    assert bootstrap_ci(np.array([0.2, NAN, 0.4])).value == pytest.approx(0.3)


def test_nothing_defined_gives_nothing():
    found = bootstrap_ci(np.array([NAN, NAN]))
    assert math.isnan(found.value)
    assert math.isnan(found.low)


def test_one_patient_gives_a_value_without_an_interval():
    found = bootstrap_ci(np.array([0.5]))
    assert found.value == 0.5
    assert math.isnan(found.high)


def test_a_value_that_one_patient_of_many_has_gives_no_interval():
    found = bootstrap_ci(np.array([0.5, math.nan, math.nan]))
    assert found.value == 0.5
    assert math.isnan(found.low)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(20)
    assert bootstrap_ci(values, seed=4) == bootstrap_ci(values, seed=4)
    assert bootstrap_ci(values, seed=4) != bootstrap_ci(values, seed=5)


@pytest.mark.parametrize("number", [1, 4, 7])
def test_the_weighted_median_and_mean_are_those_of_the_drawn_values(number):
    values = np.append(np.random.default_rng(2).random(number), NAN)
    weights = bootstrap_weights(number + 1, resamples=40, seed=3)
    for weight, median, mean in zip(weights, median_of(values)(weights), mean_of(values)(weights), strict=True):
        drawn = np.repeat(values, weight.astype(int))
        drawn = drawn[~np.isnan(drawn)]
        assert median == pytest.approx(np.median(drawn) if drawn.size else NAN, nan_ok=True)
        assert mean == pytest.approx(drawn.mean() if drawn.size else NAN, nan_ok=True)


def test_a_pooled_ratio_is_of_sums_and_then_the_mean_over_labels():
    statistic = ratio_of(np.array([[1.0, 3.0], [0.0, 1.0]]), np.array([[2.0, 6.0], [0.0, 1.0]]))
    np.testing.assert_allclose(statistic(np.array([[1.0, 1.0], [2.0, 0.0]])), [0.75, 0.5])


def test_an_interval_leaves_out_resamples_without_a_value():
    only_first = ratio_of(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))
    found = interval(only_first, bootstrap_weights(2, resamples=100))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_exact_sign_flip_test_counts_all_flips():
    found = paired_sign_flip(np.array([0.3, 0.2, 0.4]), np.array([0.1, 0.1, 0.1]))
    assert found.p_value == 2 / 8  # only all plus and all minus are as extreme
    assert found.difference == pytest.approx(0.2)
    assert found.n == 3


def test_the_random_sign_flip_test_agrees_with_the_t_test():
    generator = np.random.default_rng(5)
    differences = generator.normal(0.02, 0.05, size=60)
    found = paired_sign_flip(differences, np.zeros(60), resamples=20_000)
    assert found.p_value == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, abs=0.01)


@pytest.mark.parametrize("number", [5, 11])
def test_the_exact_sign_flip_test_is_scipys_permutation_test(number):
    rng = np.random.default_rng(number)
    ours, theirs = rng.uniform(size=number), rng.uniform(size=number)
    scipys = stats.permutation_test(
        (ours, theirs), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    found = paired_sign_flip(ours, theirs)
    assert found.p_value == pytest.approx(scipys.pvalue, rel=1e-12)


def test_the_random_sign_flip_test_is_near_scipys_permutation_test():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0.15, 1, size=23), rng.normal(size=23)
    scipys = stats.permutation_test(
        (ours, theirs), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=20_000, rng=np.random.default_rng(5),
    )  # fmt: skip
    found = paired_sign_flip(ours, theirs, resamples=20_000)
    assert found.p_value == pytest.approx(scipys.pvalue, abs=0.012)  # three standard errors of both draws


def test_random_signs_are_those_of_their_seed_and_number_whatever_was_tested_between():
    generator = np.random.default_rng(1)
    ours, theirs = generator.normal(0.2, 1, 20), generator.normal(0, 1, 20)
    first = paired_sign_flip(ours, theirs, flips=1000).p_value
    for seed, number in ((1, 20), (0, 15), (0, 18)):
        paired_sign_flip(ours[:number], theirs[:number], flips=1000, seed=seed)
    assert paired_sign_flip(ours, theirs, flips=1000).p_value == first


def test_a_random_test_never_reports_a_p_value_of_zero():
    assert paired_sign_flip(np.ones(30), np.zeros(30), resamples=999).p_value == 1 / 1000


@pytest.mark.parametrize("tests", [1, 45, 496])
def test_a_clear_difference_stays_separable_however_many_tests_are_corrected(tests):
    flips = flips_for(tests)
    clear = paired_sign_flip(np.ones(20), np.zeros(20), resamples=10, flips=flips).p_value
    assert clear == pytest.approx(least_p(20, flips), rel=1)
    assert holm([clear] * tests)[0] < 0.05


def test_equal_models_do_not_differ():
    same = np.linspace(0.1, 0.9, 20)
    assert paired_sign_flip(same, same).p_value == 1.0
    assert paired_wilcoxon(same, same).p_value == 1.0


def test_the_wilcoxon_test_of_five_gains_is_one_sixteenth():
    ours = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert paired_wilcoxon(ours, np.zeros(5)).p_value == pytest.approx(2 / 32)


def test_the_wilcoxon_test_of_five_equal_gains_is_one_sixteenth_too():
    assert paired_wilcoxon(np.full(5, 0.1), np.zeros(5)).p_value == 1 / 16


def test_the_wilcoxon_test_ranks_zeros_and_then_drops_them():
    ours = np.array([0.0, 0.0, 0.1, 0.2, 0.3, -0.4])
    # flips of 3 4 5 -6 reach the sum of 6 in 10 of 16 cases; those of 1 2 3 -4, without the zeros, reach 2 in 14
    assert paired_wilcoxon(ours, np.zeros(6)).p_value == 10 / 16


@pytest.mark.parametrize("number", [9, 14, 40])
def test_the_wilcoxon_test_agrees_with_scipys_exact_one_where_ranks_differ(number):
    differences = np.random.default_rng(number).normal(0.03, 0.06, size=number)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    found = paired_wilcoxon(differences, np.zeros(number)).p_value
    assert found == pytest.approx(expected, abs=1e-12 if number <= 14 else 0.015)


@pytest.mark.parametrize("test", [paired_sign_flip, paired_wilcoxon])
def test_patients_undefined_in_one_model_are_left_out_of_the_pairs(test):
    found = test(np.array([0.5, NAN, 0.7]), np.array([0.4, 0.1, NAN]))
    assert found.n == 1
    assert found.difference == pytest.approx(0.1)


@pytest.mark.parametrize("test", [paired_sign_flip, paired_wilcoxon])
def test_without_a_common_patient_there_is_no_test(test):
    found = test(np.array([NAN]), np.array([0.4]))
    assert found.n == 0
    assert math.isnan(found.p_value)


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_holm_never_exceeds_one_and_leaves_missing_tests_out():
    assert holm([0.9, NAN, 0.6]) == pytest.approx((1.0, NAN, 1.0), nan_ok=True)


def test_a_model_better_on_every_patient_is_always_first():
    scores = np.array([[0.5, 0.6, 0.7], [0.6, 0.7, 0.8]])
    np.testing.assert_allclose(rank_stability(scores, resamples=200), [[0, 1], [1, 0]])
    np.testing.assert_allclose(rank_stability(scores, higher_is_better=False, resamples=200), [[1, 0], [0, 1]])


def test_equal_models_share_the_first_place():
    found = rank_stability(np.tile(np.linspace(0, 1, 9), (2, 1)), resamples=200)
    np.testing.assert_allclose(found, [[1, 0], [1, 0]])


def test_a_better_mean_with_much_noise_is_best_only_mostly():
    scores = np.random.default_rng(1).normal([[0.70], [0.72]], 0.1, size=(2, 25))
    scores[1] += 0.02 + scores[0].mean() - scores[1].mean()
    assert 0.55 < rank_stability(scores, resamples=2000)[1, 0] < 0.99


def test_the_rows_of_a_rank_distribution_sum_to_one():
    found = rank_stability(np.random.default_rng(0).random((4, 11)), resamples=500)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_kendall_tau_of_one_swap_among_three():
    assert kendall_tau([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == pytest.approx(1 / 3)
    assert math.isnan(kendall_tau([1.0, 1.0], [1.0, 2.0]))


def test_metrics_agree_when_one_falls_as_the_other_rises_the_better_way():
    agreement = metric_agreement({"dice": [0.7, 0.8, 0.9], "hd95": [9.0, 5.0, 2.0]}, {"dice": True, "hd95": False})
    assert agreement == {("dice", "hd95"): pytest.approx(1.0)}
