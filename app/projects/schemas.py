"""What programs send and get for a project."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.models import GuidelineVersion, Project
from app.models.policies import Gates, Keeping, Labeling, Retraining, Sampling, Serving
from app.settings import settings


class NewProject(BaseModel):
    """Everything but the name has a default; without `retraining` nothing trains by itself.

    `like`: the slug of a project whose settings and guidelines hold instead of the defaults.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    guidelines: str = ""
    base_model: str = Field(default_factory=lambda: settings.base_model)
    labels_per_comparison: int = 1
    sampling: dict[str, Any] | None = None
    labeling: dict[str, Any] | None = None
    retraining: dict[str, Any] | None = None
    gates: dict[str, Any] | None = None
    serving: dict[str, Any] | None = None
    keeping: dict[str, Any] | None = None
    restricted: bool = False
    like: str | None = None


class ProjectChanges(BaseModel):
    """Only what is sent changes. Inside a policy, such as `sampling` or `gates`, null means the default."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    guidelines: str | None = None
    base_model: str | None = None
    labels_per_comparison: int | None = None
    sampling: dict[str, Any] | None = None
    labeling: dict[str, Any] | None = None
    retraining: dict[str, Any] | None = None
    gates: dict[str, Any] | None = None
    serving: dict[str, Any] | None = None
    keeping: dict[str, Any] | None = None
    restricted: bool | None = None
    archived: bool | None = None


class ShownProject(BaseModel):
    """A project with every setting filled in, whether it was chosen or is the default."""

    id: str
    slug: str
    name: str
    base_model: str
    guidelines: str
    guideline_version: int | None
    labels_per_comparison: int
    sampling: dict[str, Any]
    labeling: dict[str, Any]
    retraining: dict[str, Any]
    gates: dict[str, Any]
    serving: dict[str, Any]
    keeping: dict[str, Any]
    restricted: bool
    archived: bool
    created: datetime

    @classmethod
    def of(cls, project: Project, guidelines: GuidelineVersion | None) -> "ShownProject":
        """Show a project with the guidelines in force."""
        return cls(
            id=str(project.id),
            slug=project.slug,
            name=project.name,
            base_model=project.base_model,
            guidelines=guidelines.text if guidelines else "",
            guideline_version=guidelines.version if guidelines else None,
            labels_per_comparison=project.labels_per_comparison,
            sampling=Sampling.from_json(project.sampling).to_json(),
            labeling=Labeling.from_json(project.labeling).to_json(),
            retraining=Retraining.from_json(project.retraining).to_json(),
            gates=Gates.from_json(project.gates).to_json(),
            serving=Serving.from_json(project.serving).to_json(),
            keeping=Keeping.from_json(project.keeping).to_json(),
            restricted=project.restricted,
            archived=project.archived_at is not None,
            created=project.created_at,
        )


class MemberRoles(BaseModel):
    """Somebody who has an account here, and the roles that they are to hold in the project."""

    model_config = ConfigDict(extra="forbid")

    email: str
    roles: list[str]


class ShownMember(BaseModel):
    """A member; `roles` are those in this project."""

    person: str
    email: str | None
    name: str
    roles: list[str]
    deactivated: bool


class MemberList(BaseModel):
    """By name; `next` is the cursor of the next page."""

    items: list[ShownMember]
    next: str | None


class ProjectList(BaseModel):
    """Newest first; `next` is the cursor of the next page."""

    items: list[ShownProject]
    next: str | None
