"""Who joins a batch first, and how many: rules of the scheduler, looked at without its thread."""

import time

import pytest

from workers.language import scheduler as scheduling
from workers.language.decode import Event, Request
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.scheduler import ROWS, ROWS_FOR_STREAMS, Job, Scheduler

PROMPT = [1, 40, 41, 3]


def job(rows: int, stream: bool = False, max_tokens: int = 8, adapter: str | None = None) -> Job:
    settings = Settings(max_tokens=max_tokens)
    return Job([Request(PROMPT, settings, seed) for seed in range(rows)], adapter, stream, lambda _: None)


def admitted(lm: LanguageModel, jobs: list[Job]) -> list[int]:
    """How many rows of each job join at once."""
    scheduler = Scheduler(lm)
    for one in jobs:
        scheduler.submit(one)
    scheduler._forget([])
    return [len(one.keys) for one in jobs]


def test_small_requests_come_before_large_ones_and_streams_before_all(tiny: LanguageModel) -> None:
    assert admitted(tiny, [job(40), job(2), job(1)]) == [ROWS - 3, 2, 1]
    assert admitted(tiny, [job(31), job(30), job(10, stream=True)]) == [0, ROWS - 10, 10]


def test_equal_requests_come_in_their_order(tiny: LanguageModel) -> None:
    assert admitted(tiny, [job(20), job(20)]) == [20, ROWS - 20]


def test_streams_have_rows_of_their_own(tiny: LanguageModel) -> None:
    scheduler = Scheduler(tiny)
    crowd, late = job(ROWS), job(ROWS, stream=True)
    scheduler.submit(crowd)
    scheduler._forget([])
    scheduler.submit(late)
    scheduler._forget([])
    assert (len(crowd.keys), len(late.keys)) == (ROWS, ROWS_FOR_STREAMS)


def test_the_cache_has_a_limit_but_one_row_always_fits(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # A token of tiny takes 2 (keys, values) x 2 layers x 2 heads x 16 x 4 bytes = 512 bytes; a row has 4 + 6 of them.
    monkeypatch.setattr(scheduling, "CACHE_BYTES", 3 * 10 * 512)
    assert admitted(tiny, [job(10, max_tokens=6)]) == [3]
    assert admitted(tiny, [job(10, max_tokens=400)]) == [1]


def test_a_dropped_row_makes_room(tiny: LanguageModel) -> None:
    scheduler = Scheduler(tiny)
    crowd, next_one = job(ROWS), job(ROWS)
    scheduler.submit(crowd)
    scheduler.submit(next_one)
    scheduler._forget([(crowd, 3), (crowd, 5), (next_one, 0)])
    assert len(crowd.unfinished) == ROWS - 2
    assert sorted(crowd.keys.values()) == [place for place in range(ROWS) if place not in (3, 5)]
    assert sorted(next_one.keys.values()) == [1, 2]


def test_events_reach_the_job_they_belong_to(tiny: LanguageModel) -> None:
    heard: dict[str, list[Event]] = {"first": [], "second": []}
    scheduler = Scheduler(tiny)
    for name, rows in (("first", 2), ("second", 3)):

        def sink(news: list[Event] | Exception, name: str = name) -> None:
            assert isinstance(news, list)
            heard[name] += news

        scheduler.submit(Job([Request(PROMPT, Settings(max_tokens=4), 7)] * rows, None, False, sink))
    scheduler.start()
    while scheduler.active_rows:
        time.sleep(0.01)
    scheduler.close()
    scheduler.join()
    for name, rows in (("first", 2), ("second", 3)):
        per_row = [[event.token for event in heard[name] if event.key == place] for place in range(rows)]
        assert all(tokens == per_row[0] and tokens for tokens in per_row)
    assert not scheduler._batches


def test_one_errand_is_run_between_two_steps(tiny: LanguageModel) -> None:
    """Somebody who watches an answer appear gets a token after each of the portions that others have read."""
    order: list[str] = []
    scheduler = Scheduler(tiny)
    scheduler.submit(
        Job([Request(PROMPT, Settings(0.0, max_tokens=9), 1)], None, True, lambda _: order.append("token"))
    )
    futures = [scheduler.between_steps(lambda n=n: order.append(f"errand {n}")) for n in range(4)]  # type: ignore[misc]
    scheduler.start()
    for future in futures:
        future.result(timeout=10)
    scheduler.close()
    scheduler.join()
    assert order[:7] == ["errand 0", "token", "errand 1", "token", "errand 2", "token", "errand 3"]
