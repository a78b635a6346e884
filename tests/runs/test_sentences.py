"""What a run says it is doing."""

from app.runs.sentences import now_doing


def test_it_says_where_it_is_with_the_figures_that_matter() -> None:
    told = now_doing("ppo", 12, 16, {"reward": 0.412, "kl": 3.06, "entropy": 2.0})
    assert told == "Update 12 of 16. Reward +0.41, KL 3.1 nats."
    assert now_doing("adapters", 3, 40, {"loss": 0.6931}) == "Trains adapters: step 3 of 40. Loss 0.693."
    assert now_doing("dpo", 3, 40, {"loss": 0.6931, "margin": 0.1}) == "Step 3 of 40. Loss 0.693."
    assert now_doing("read", 96, 120, {}) == "Reads the answers: 96 of 120 responses."


def test_what_is_missing_or_unknown_is_no_trouble() -> None:
    assert now_doing("ppo", 1, 2, {"reward": None}) == "Update 1 of 2."
    assert now_doing("warming", 1, 2, {"reward": 1.0}) == "warming: 1 of 2."
