"""What people judge and what they said: prompts, responses, comparisons, assignments, answers."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import Text

from app.models.base import Base, Created, Id

VERDICTS = ("preferred", "tie", "both_bad", "skipped", "cannot_judge")
DECISIVE = ("preferred", "tie", "both_bad")
"""Verdicts that count towards a comparison's overlap and towards retraining."""
PURPOSES = ("train", "holdout", "gold", "evaluation", "repeat")
FLAGS = ("harmful", "wrong_language", "broken", "personal_data")
SOURCES = ("sample", "import", "chat", "feedback", "evaluation")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Prompt(Base):
    """A conversation that ends with a user turn. `holdout` is fixed by the hash, so no run ever trains on it."""

    __tablename__ = "prompts"
    __table_args__ = (
        UniqueConstraint("project_id", "hash"),
        # The sampler's question: which prompt was used least, among those that may be sampled?
        Index(
            "ix_prompts_to_sample",
            "project_id",
            text("times_sampled"),
            text("priority DESC"),
            "id",
            postgresql_where=text("sampled AND withdrawn_at IS NULL"),
        ),
        # The list's orders, and what it counts and filters by; few prompts are in the last four.
        Index("ix_prompts_newest", "project_id", "id"),
        Index("ix_prompts_by_priority", "project_id", "priority", "id"),
        Index("ix_prompts_by_use", "project_id", "times_sampled", "id"),
        Index("ix_prompts_withdrawn", "project_id", "id", postgresql_where=text("withdrawn_at IS NOT NULL")),
        Index("ix_prompts_holdout", "project_id", "id", postgresql_where=text("holdout AND withdrawn_at IS NULL")),
        Index("ix_prompts_inside", "project_id", "id", postgresql_where=text("NOT sampled AND withdrawn_at IS NULL")),
        Index("ix_prompts_tags", "tags", postgresql_using="gin"),
        Index("ix_prompts_words", text("prompt_words(messages)"), postgresql_using="gin"),
        Index("ix_prompts_of_import", "run_id", postgresql_where=text("run_id IS NOT NULL")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    messages: Mapped[list[dict[str, Any]]]
    hash: Mapped[str]
    holdout: Mapped[bool]
    sampled: Mapped[bool] = mapped_column(default=True, server_default="true")
    """False for prompts that came inside comparisons: those are never sampled by themselves."""
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    source: Mapped[str] = mapped_column(default="", server_default="")
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    needs: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    """Languages and skills without which nobody can judge answers to it, such as `ko` or `medicine`."""
    times_sampled: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    """The import that brought it, where one did."""
    created_at: Mapped[Created]
    withdrawn_at: Mapped[datetime | None]


class Response(Base):
    """One answer to a prompt, by a checkpoint or the base model (no checkpoint), or imported text (no token ids)."""

    __tablename__ = "responses"
    __table_args__ = (
        CheckConstraint(_one_of("source", SOURCES), name="known_source"),
        CheckConstraint("(features IS NULL) = (features_from IS NULL)", name="features_have_a_name"),
    )

    id: Mapped[Id]
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id", ondelete="CASCADE"), index=True)
    text: Mapped[str]
    source: Mapped[str]
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    base_model: Mapped[str | None]
    sampling: Mapped[dict[str, Any] | None]
    """temperature, top_p, max_tokens and seed it was drawn with."""
    prompt_token_ids: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    token_ids: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    finish_reason: Mapped[str | None]
    features: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """float16 numbers, little-endian: what the live head reads; empty where the base model cannot read the prompt."""
    features_from: Mapped[str | None]
    """Which base model, layer and pooling made them; only features of one name can be compared."""
    created_at: Mapped[Created]
    prompt: Mapped[Prompt] = relationship()


class Comparison(Base):
    """A prompt and two different responses, waiting for answers."""

    __tablename__ = "comparisons"
    __table_args__ = (
        CheckConstraint("response_a_id <> response_b_id", name="two_responses"),
        CheckConstraint(_one_of("purpose", PURPOSES), name="known_purpose"),
        CheckConstraint(_one_of("source", SOURCES), name="known_source"),
        CheckConstraint(_one_of("status", ("waiting", "complete", "withdrawn")), name="known_status"),
        CheckConstraint("counted >= 0", name="counted_not_negative"),
        CheckConstraint("(purpose = 'gold') = (expected_verdict IS NOT NULL)", name="gold_has_an_answer"),
        CheckConstraint(_one_of("expected_verdict", DECISIVE), name="known_expected_verdict"),
        CheckConstraint("expected_preferred IN ('a', 'b')", name="known_expected_preferred"),
        CheckConstraint(
            "(expected_verdict IS NOT DISTINCT FROM 'preferred') = (expected_preferred IS NOT NULL)",
            name="expected_says_which",
        ),
        CheckConstraint("asks_id IS NULL OR purpose = 'repeat'", name="only_repeats_ask_one_person"),
        # The claim's question: what waits in this project, most urgent first, then half-done, uncertain, oldest ones?
        Index(
            "ix_comparisons_waiting",
            "project_id",
            text("priority DESC"),
            text("counted DESC"),
            text("uncertainty DESC NULLS LAST"),
            "id",
            postgresql_where=text("status = 'waiting' AND purpose <> 'gold' AND asks_id IS NULL"),
        ),
        # Two responses that surprised the reward model are asked about again once, whichever way round they stand.
        Index(
            "uq_comparisons_one_repeat",
            text("least(response_a_id, response_b_id)"),
            text("greatest(response_a_id, response_b_id)"),
            unique=True,
            postgresql_where=text("purpose = 'repeat' AND status <> 'withdrawn' AND asks_id IS NULL"),
        ),
        # One's own earlier pair comes once more, and never again after that.
        Index(
            "uq_comparisons_one_own_repeat",
            "asks_id",
            text("least(response_a_id, response_b_id)"),
            text("greatest(response_a_id, response_b_id)"),
            unique=True,
            postgresql_where=text("asks_id IS NOT NULL"),
        ),
        # Two responses have one known answer; also finds a project's gold comparisons.
        Index(
            "uq_comparisons_one_gold",
            "project_id",
            text("least(response_a_id, response_b_id)"),
            text("greatest(response_a_id, response_b_id)"),
            unique=True,
            postgresql_where=text("purpose = 'gold' AND status <> 'withdrawn'"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), index=True)
    response_a_id: Mapped[int] = mapped_column(ForeignKey("responses.id"), index=True)
    response_b_id: Mapped[int] = mapped_column(ForeignKey("responses.id"), index=True)
    purpose: Mapped[str] = mapped_column(default="train", server_default="train")
    source: Mapped[str]
    status: Mapped[str] = mapped_column(default="waiting", server_default="waiting")
    """`complete` once labels_per_comparison counting answers exist; changed in the answer's own transaction.

    A gold comparison waits for ever, because any number of people may answer it, until it is withdrawn.
    """
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    needs: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    """Its prompt's when it was made, and what it was brought with."""
    counted: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """How many counting answers it has; changed in the answer's own transaction."""
    uncertainty: Mapped[float | None] = mapped_column(Float)
    """How much the live head's ensemble disagrees about it; None where there is no head."""
    expected_verdict: Mapped[str | None]
    """What is right about a gold comparison, as in an answer; never changed after it was made."""
    expected_preferred: Mapped[str | None]
    asks_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Whom alone a repeat asks: it is an earlier pair of their own; None: anybody."""
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    created_at: Mapped[Created]
    prompt: Mapped[Prompt] = relationship()
    response_a: Mapped[Response] = relationship(foreign_keys=[response_a_id])
    response_b: Mapped[Response] = relationship(foreign_keys=[response_b_id])

    @property
    def measures(self) -> bool:
        """Whether it only slips in between others, to measure people: gold, or somebody's own earlier pair."""
        return self.purpose == "gold" or self.asks_id is not None


# Written out, the purpose lets Postgres use the partial index in a plan that it keeps for all parameters.
ORDINARY = and_(Comparison.purpose != literal_column("'gold'"), Comparison.asks_id.is_(None))
"""Comparisons that are handed out for their own sake and whose answers teach; the others measure people."""


class Assignment(Base):
    """One comparison leased to one annotator until a moment in time, with the side each response was shown on."""

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("comparison_id", "user_id"),
        CheckConstraint(_one_of("status", ("leased", "answered", "released", "expired")), name="known_status"),
        # Who holds a lease gets the same assignment again: at most one live lease per person and project.
        Index(
            "uq_assignments_one_lease",
            "project_id",
            "user_id",
            unique=True,
            postgresql_where=text("status = 'leased'"),
        ),
        Index("ix_assignments_leases", "comparison_id", "status"),
        # What did this person look at last?
        Index("ix_assignments_latest", "project_id", "user_id", text("claimed_at DESC")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    shown_left: Mapped[str] = mapped_column(comment="'a' or 'b': which response stood on the left")
    status: Mapped[str] = mapped_column(default="leased", server_default="leased")
    leased_until: Mapped[datetime]
    claimed_at: Mapped[datetime]
    undone: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    """How often an answer to it was taken back; the answer itself leaves no trace."""
    created_at: Mapped[Created]
    comparison: Mapped[Comparison] = relationship()


class Answer(Base):
    """What the annotator meant. Undone by deletion while no snapshot holds it; corrected with a new revision."""

    __tablename__ = "answers"
    __table_args__ = (
        UniqueConstraint("comparison_id", "user_id"),
        CheckConstraint(_one_of("verdict", VERDICTS), name="known_verdict"),
        CheckConstraint(
            "(verdict = 'preferred') = (preferred IS NOT NULL) AND (verdict = 'preferred') = (strength IS NOT NULL)",
            name="preferred_says_which_and_how_much",
        ),
        CheckConstraint("preferred IN ('a', 'b')", name="known_preferred"),
        CheckConstraint("strength BETWEEN 1 AND 3", name="strength_in_range"),
        CheckConstraint(
            "flags <@ ARRAY['harmful','wrong_language','broken','personal_data']::text[]", name="known_flags"
        ),
        CheckConstraint("source IN ('page', 'api', 'chat', 'import', 'feedback')", name="known_source"),
        CheckConstraint("user_id IS NOT NULL OR source IN ('import', 'feedback')", name="has_an_author"),
        Index("ix_answers_of_project", "project_id", "id"),
        Index("ix_answers_of_user", "user_id", text("created_at DESC")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"))
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignments.id"), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[str]
    preferred: Mapped[str | None] = mapped_column(comment="'a' or 'b', the comparison's own names, not the side shown")
    strength: Mapped[int | None] = mapped_column(SmallInteger)
    skip_reason: Mapped[str | None]
    flags: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")
    criteria: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    rationale: Mapped[str] = mapped_column(default="", server_default="")
    seconds_client: Mapped[float | None] = mapped_column(Float)
    seconds_server: Mapped[float | None] = mapped_column(Float)
    guideline_version: Mapped[int | None] = mapped_column(Integer)
    source: Mapped[str]
    simulated: Mapped[bool] = mapped_column(default=False, server_default="false")
    adjudicates: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Given by somebody who saw that others had disagreed; it decides the consensus and overwrites nothing."""
    measures: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Its comparison measures people: the answer counts as theirs, teaches nothing and makes no training due."""
    revision: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    created_at: Mapped[Created]
    updated_at: Mapped[Created]
    comparison: Mapped[Comparison] = relationship()
    assignment: Mapped[Assignment | None] = relationship()
