"""A migration that will not come to an end is told from one that only takes its time."""

from __future__ import annotations

from orrery.drill.convergence import judge
from orrery.drill.states import Sample

MB = 1_000_000


def samples(
    remaining_mb: list[int],
    *,
    dirty_mb: float,
    link_mb: float = 50,
    downtime_ms: int = 900,
    throttle: int = 0,
    first_round: int = 3,
) -> list[Sample]:
    """A sample and a round each second."""
    return [
        Sample(
            at_s=float(n),
            transferred=n * 50 * MB,
            remaining=left * MB,
            total=512 * MB,
            rounds=first_round + n,
            dirty_bps=dirty_mb * MB,
            sent_bps=link_mb * MB,
            expected_downtime_ms=downtime_ms,
            throttle_percent=throttle,
        )
        for n, left in enumerate(remaining_mb)
    ]


def test_a_guest_that_dirties_faster_than_the_link_is_told_with_both_figures() -> None:
    text = judge(100, helped=False)(samples([90, 95, 92, 94], dirty_mb=100))
    assert text == (
        "the guest dirties 100 MB/s and the link carries 50 MB/s: after 6 rounds 94 MB are left, "
        "and a switch-over would take 900 ms where 100 ms are allowed"
    )


def test_it_is_told_within_ten_seconds_of_rounds_that_show_it() -> None:
    found = samples([90, 95, 92, 94, 93, 91, 90], dirty_mb=100)
    told = next(n for n in range(1, 8) if judge(100, helped=False)(found[:n]))
    assert found[told - 1].at_s < 10


def test_the_first_rounds_say_nothing_yet() -> None:
    assert not judge(100, helped=False)(samples([500, 200, 95], dirty_mb=100, first_round=0))
    assert not judge(100, helped=False)(samples([90, 95], dirty_mb=100))


def test_a_guest_that_dirties_less_than_the_link_carries_may_go_on() -> None:
    assert not judge(100, helped=False)(samples([90, 60, 40, 27], dirty_mb=30))


def test_a_switch_over_that_is_allowed_to_take_so_long_comes() -> None:
    assert not judge(1000, helped=False)(samples([90, 95, 92, 94], dirty_mb=100))


def test_a_guest_that_is_held_back_more_and_more_may_go_on_until_nothing_is_left_of_it() -> None:
    assert not judge(100, helped=True)(samples([90, 95, 92, 94], dirty_mb=100, throttle=60))
    assert judge(100, helped=True)(samples([90, 95, 92, 94], dirty_mb=100, throttle=99))


def test_a_round_that_is_not_over_is_no_trend() -> None:
    found = samples([90, 90, 90, 90], dirty_mb=100)
    still = [Sample(**{**vars(one), "rounds": 3}) for one in found]
    assert not judge(100, helped=False)(still)


def test_a_rate_at_which_little_is_left_to_send_is_not_that_of_the_link() -> None:
    bulk = samples([400], dirty_mb=0, link_mb=60, first_round=1)
    rest = samples([2, 1, 1, 1], dirty_mb=9, link_mb=6, downtime_ms=99)
    assert not judge(10, helped=False)([*bulk, *rest])
