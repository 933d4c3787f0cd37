"""The share of a run's work that is done, and the time left, against runs whose end is known."""

import pytest

from snakemake_logger_plugin_isthmus.run import TRUST, Job, Run


def lanes(seconds: list[float], at_once: int, run: Run) -> list[tuple[float, float, float | None]]:
    """Run jobs of these lengths one after another, several at once; after each: time, share and time left."""
    free, states = [0.0] * at_once, []
    ends: list[tuple[float, int]] = []
    for number, length in enumerate(seconds):
        free.sort()
        while ends and min(ends)[0] <= free[0]:
            moment, done = min(ends)
            ends.remove((moment, done))
            run.finish(done, moment)
            states.append((moment, run.share(moment), run.left(moment)))
        run.start(number, Job("", "train", free[0]))
        free[0] += length
        ends.append((free[0], number))
    for moment, done in sorted(ends):
        run.finish(done, moment)
        states.append((moment, run.share(moment), run.left(moment)))
    return states


@pytest.mark.parametrize("slower", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_jobs_that_all_take_so_many_times_as_long_end_when_it_says(slower: float, at_once: int) -> None:
    expected = [10.0] * 40
    run = Run(0.0, len(expected))
    run.announce({number: ("train", seconds) for number, seconds in enumerate(expected)})
    states = lanes([slower * seconds for seconds in expected], at_once, run)
    end = states[-1][0]
    for moment, share, left in states[at_once:]:
        assert left is not None
        assert moment + left == pytest.approx(end, abs=slower * 10.0)
        assert share == pytest.approx(moment / end, abs=1 / 20)
    assert states[-1][1:] == (1.0, 0.0)


def test_the_share_counts_work_and_never_falls() -> None:
    run = Run(0.0, 3)
    run.announce({0: ("prepare_data", 10.0), 1: ("train", 90.0), 2: ("train", 100.0)})
    run.start(0, Job("", "prepare_data", 0.0))
    run.finish(0, 5.0)
    assert run.share(5.0) == pytest.approx(10 / 200)
    run.start(1, Job("", "train", 5.0))
    likely = 90 * (5 + TRUST) / (10 + TRUST)  # the machine may be twice as fast as expected
    assert run.share(5.0 + likely / 2) == pytest.approx((10 + 45) / 200)
    before = run.share(500.0)
    assert before == pytest.approx((10 + 0.95 * 90) / 200)
    run.fail(1)
    assert run.share(500.0) == before
    assert run.left(500.0) > 0


def test_a_short_job_that_takes_long_says_little_about_the_others() -> None:
    run = Run(0.0, 3)
    run.announce({0: ("prepare_data", 1.0), 1: ("train", 1000.0), 2: ("train", 1000.0)})
    run.start(0, Job("", "prepare_data", 0.0))
    run.finish(0, 60.0)
    assert 2000 < run.left(60.0) < 4 * 2000
    run.start(1, Job("", "train", 60.0))
    run.finish(1, 1060.0)
    assert run.left(1060.0) == pytest.approx(1000.0)


def test_jobs_count_alike_without_an_announcement() -> None:
    run = Run(0.0, 4)
    assert (run.share(0.0), run.left(0.0)) == (0.0, None)
    run.finish(0, 10.0)
    assert (run.share(10.0), run.left(10.0)) == (0.25, 30.0)


def test_a_rule_that_turns_out_slow_is_expected_to_stay_so() -> None:
    run = Run(0.0, 4)
    run.announce({0: ("train", 1.0), 1: ("connect", 1.0), 2: ("train", 1.0), 3: ("connect", 1.0)})
    for number, rule, start, end in ((0, "train", 0.0, 1.0), (1, "connect", 1.0, 11.0)):
        run.start(number, Job("", rule, start))
        run.finish(number, end)
    assert run.left(11.0) == pytest.approx(1.0 + 10.0)
