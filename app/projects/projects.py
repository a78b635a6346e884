"""Projects: made with an address of their own, changed with their policies checked, archived and brought back."""

import re
import unicodedata
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import engine
from app.accounts import audit
from app.accounts.access import find_project, is_visible_to, roles_in
from app.errors import BadInput, Conflict
from app.languages import N_, _
from app.models import ORDINARY, Comparison, Project, User, now
from app.models.policies import Gates, Keeping, Labeling, Policy, PolicyError, Retraining, Sampling, Serving
from app.projects import guidelines, members
from app.projects.schemas import NewProject, ProjectChanges

POLICIES: dict[str, type[Policy]] = {
    "sampling": Sampling,
    "labeling": Labeling,
    "retraining": Retraining,
    "gates": Gates,
    "serving": Serving,
    "keeping": Keeping,
}
TAKEN_BY_PAGES = ("new",)
FIXED_BASE = N_(
    "The base model of a project cannot be changed, because its answers and checkpoints belong to it. "
    "Make a new project for another base model."
)


def create(session: Session, person: User | None, new: NewProject) -> Project:
    """Make a project; BadInput where a setting cannot be used or no engine serves the base model.

    What is not given comes from the project that it is to be `like`, of which the person must be an admin; its data
    and its members stay there.
    """
    if new.like is not None and person is not None:
        new = _like(session, find_project(session, person, new.like, "admin").project, new)
    engine.url_for(new.base_model)
    project = Project(
        name=_checked_name(new.name),
        base_model=new.base_model,
        labels_per_comparison=_checked_labels(new.labels_per_comparison),
        restricted=new.restricted,
        **{name: _merged({}, getattr(new, name), name) for name in POLICIES},
    )
    _add_with_slug(session, project)
    audit.record(session, "project_made", project=project, slug=project.slug, like=new.like)
    guidelines.write(session, project, new.guidelines, person)
    if new.restricted and person is not None:
        members.let_in(session, project, person, {"admin", *person.roles})
    return project


def change(session: Session, person: User, project: Project, changes: ProjectChanges) -> Project:
    """Change what was sent and nothing else; BadInput where a setting cannot be used."""
    session.refresh(project, with_for_update=True)
    sent = changes.model_dump(exclude_unset=True)
    if sent.get("base_model") not in (None, project.base_model):
        raise BadInput(_(FIXED_BASE))
    # Everything is checked before anything changes: a page that shows a mistake answers with the old project.
    name = project.name if changes.name is None else _checked_name(changes.name)
    labels = project.labels_per_comparison
    if changes.labels_per_comparison is not None:
        labels = _checked_labels(changes.labels_per_comparison)
    policies = {name: _merged(getattr(project, name), sent[name], name) for name in POLICIES if name in sent}
    if changes.guidelines is not None:
        guidelines.write(session, project, changes.guidelines, person)
    before = _settings_of(project)
    chosen_before = Labeling.from_json(project.labeling).order == "uncertain"
    project.name = name
    for policy, chosen in policies.items():
        setattr(project, policy, chosen)
    if chosen_before and Labeling.from_json(project.labeling).order == "oldest":
        _forget_uncertainty(session, project)
    if labels != project.labels_per_comparison:
        project.labels_per_comparison = labels
        _complete_what_is_enough(session, project)
    if changes.restricted is not None:
        _restrict(session, person, project, changes.restricted)
    if changes.archived is not None and changes.archived != (project.archived_at is not None):
        project.archived_at = now() if changes.archived else None
        audit.record(session, "project_archived" if changes.archived else "project_restored", project=project)
    after = _settings_of(project)
    if changed := {name: [before[name], after[name]] for name in after if before[name] != after[name]}:
        audit.record(session, "project_changed", project=project, changes=changed)
    session.flush()
    return project


def _settings_of(project: Project) -> dict[str, Any]:
    """Every setting in force by its name, such as `sampling.top_p`: what the audit log compares."""
    shown = {name: getattr(project, name) for name in ("name", "labels_per_comparison", "restricted")}
    for name, policy in POLICIES.items():
        settings = policy.from_json(getattr(project, name)).to_json()
        shown |= {f"{name}.{setting}": value for setting, value in settings.items()}
    return shown


def _like(session: Session, model: Project, new: NewProject) -> NewProject:
    text = guidelines.current(session, model)
    settings = {
        "base_model": model.base_model,
        "guidelines": text.text if text else "",
        "labels_per_comparison": model.labels_per_comparison,
        "restricted": model.restricted,
        **{name: getattr(model, name) for name in POLICIES},
    }
    return new.model_copy(update={name: value for name, value in settings.items() if name not in new.model_fields_set})


def listed(session: Session, person: User, before: int | None, limit: int) -> list[Project]:
    """The projects that a person may see, newest first, older than the one with the id `before`."""
    newest = select(Project).where(is_visible_to(person)).order_by(Project.id.desc()).limit(limit)
    return list(session.scalars(newest if before is None else newest.where(Project.id < before)))


def slug_of(name: str) -> str:
    """The part of an address that a name becomes: `Tee & Gebäck` -> `tee-geback`; `project` where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:60].strip("-") or "project"


def _add_with_slug(session: Session, project: Project) -> None:
    wanted = slug_of(project.name)
    taken = set(session.scalars(select(Project.slug).where(Project.slug.like(f"{wanted}%")))) | set(TAKEN_BY_PAGES)
    numbered = (wanted if n == 1 else f"{wanted}-{n}" for n in range(1, len(taken) + 3))
    for slug in (slug for slug in numbered if slug not in taken):
        project.slug = slug
        try:
            with session.begin_nested():
                session.add(project)
            return
        except IntegrityError:
            # Somebody took the same address in this moment; the next number is free.
            continue
    raise Conflict(
        _("Several projects called {name!r} were made at once. Choose another name.").format(name=project.name)
    )


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise BadInput(_("Give the project a name."))
    if len(name) > 100:
        raise BadInput(_("Choose a name of at most 100 characters for the project."))
    return name


def _checked_labels(number: int) -> int:
    if not 1 <= number <= 50:
        raise BadInput(
            _("labels_per_comparison must be a whole number from 1 to 50, not {number}.").format(number=number)
        )
    return number


def _merged(chosen: dict[str, Any], changes: dict[str, Any] | None, policy: str) -> dict[str, Any]:
    """What was chosen before with the changes on top; nothing at all (null) goes back to the defaults."""
    merged = {} if changes is None else {**chosen, **changes}
    merged = {setting: value for setting, value in merged.items() if value is not None}
    try:
        POLICIES[policy].from_json(merged)
    except PolicyError as problem:
        raise BadInput(f"{policy}: {problem}") from problem
    return merged


def _restrict(session: Session, person: User, project: Project, restricted: bool) -> None:
    if restricted and not project.restricted:
        # Whoever closes the door keeps a key; otherwise nobody might ever open it again.
        members.let_in(session, project, person, {"admin", *roles_in(session, person, project)})
    project.restricted = restricted


def _complete_what_is_enough(session: Session, project: Project) -> None:
    """Complete the waiting comparisons that have as many labels as are asked for now."""
    waiting = (Comparison.project_id == project.id, Comparison.status == "waiting", ORDINARY)
    session.execute(
        update(Comparison)
        .where(*waiting, Comparison.counted >= project.labels_per_comparison)
        .values(status="complete")
        .execution_options(synchronize_session=False)
    )


def _forget_uncertainty(session: Session, project: Project) -> None:
    """Let pairs wait oldest first again."""
    session.execute(
        update(Comparison)
        .where(Comparison.project_id == project.id, Comparison.uncertainty.is_not(None))
        .values(uncertainty=None)
        .execution_options(synchronize_session=False)
    )
