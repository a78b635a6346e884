"""Every table: the contract between the web, the workers and the command line."""

from app.models.base import Base, now
from app.models.chat import Chat, ChatConsent
from app.models.labels import (
    DECISIVE,
    FLAGS,
    PURPOSES,
    VERDICTS,
    Answer,
    Assignment,
    Comparison,
    Prompt,
    Response,
)
from app.models.live_heads import LiveHead
from app.models.people import ROLES, ApiToken, Invitation, LoginSession, Membership, RateLimit, Standing, User
from app.models.projects import GuidelineVersion, Project
from app.models.training import (
    FINISHED,
    RUN_KINDS,
    TRAINING_KINDS,
    Checkpoint,
    Export,
    Promotion,
    Run,
    RunMetric,
    Snapshot,
    SnapshotAnswer,
)

__all__ = [
    "DECISIVE",
    "FINISHED",
    "FLAGS",
    "PURPOSES",
    "ROLES",
    "RUN_KINDS",
    "TRAINING_KINDS",
    "VERDICTS",
    "Answer",
    "ApiToken",
    "Assignment",
    "Base",
    "Chat",
    "ChatConsent",
    "Checkpoint",
    "Comparison",
    "Export",
    "GuidelineVersion",
    "Invitation",
    "LiveHead",
    "LoginSession",
    "Membership",
    "Project",
    "Promotion",
    "Prompt",
    "RateLimit",
    "Response",
    "Run",
    "RunMetric",
    "Snapshot",
    "SnapshotAnswer",
    "Standing",
    "User",
    "now",
]
