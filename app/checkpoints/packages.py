"""A model as one archive to take away: asked for on a page or by a program, written by a worker, downloaded."""

import zipfile
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access, may
from app.checkpoints import cards
from app.datasets import artifacts
from app.datasets.downloads import StoredFile
from app.errors import BadInput, Conflict, NotFound
from app.languages import N_, _
from app.models import Checkpoint, Project, Run, User
from app.queue import enqueue

FORMS = {
    "merged": N_("a whole Hugging Face directory, the adapter merged in"),
    "adapter": N_("the adapter alone, in PEFT's format"),
}
MODEL, CARD = "model", "README.md"


def request(session: Session, access: Access, checkpoint: Checkpoint, form: str) -> Run:
    """Begin a package; a worker writes it. The one that is there or under way already where there is one.

    Raises BadInput for a form that is not known, Conflict where the model's files are gone.
    """
    if form not in FORMS or (form == "adapter" and checkpoint.kind != "policy"):
        known = ", ".join(FORMS) if checkpoint.kind == "policy" else "merged"
        sentence = _("There is no form {form!r} of this model. Choose one of {known}.")
        raise BadInput(sentence.format(form=form, known=known))
    if checkpoint.removed_at is not None:
        raise Conflict(_("The files of this model were cleaned up, so there is nothing to take away."))
    for run in of(session, checkpoint):
        if run.params["form"] == form and run.status in ("queued", "running", "succeeded") and not is_gone(run):
            return run
    run = Run(
        project_id=checkpoint.project_id,
        kind="export",
        params={"checkpoint": str(checkpoint.id), "form": form},
        requested_by_id=access.person.id,
        message="Waits for a worker.",
    )
    session.add(run)
    session.flush()
    enqueue(session, "export", run_id=run.id)
    return run


def of(session: Session, checkpoint: Checkpoint) -> list[Run]:
    """The packages of a model, newest first."""
    about = Run.params["checkpoint"].astext == str(checkpoint.id)
    query = select(Run).where(Run.project_id == checkpoint.project_id, Run.kind == "export", about)
    return list(session.scalars(query.order_by(Run.id.desc())))


def find(session: Session, person: User, package_id: str) -> Run:
    """A package of a project that the person operates; NotFound."""
    run = session.get(Run, int(package_id)) if package_id.isdecimal() and len(package_id) < 19 else None
    if run is None or run.kind != "export" or "checkpoint" not in run.params:
        raise NotFound(_("There is no package {package_id!r} that you may see.").format(package_id=package_id))
    may(session, person, session.get_one(Project, run.project_id), "operator")
    return run


def is_gone(run: Run) -> bool:
    """Whether the package was removed after its time; it can be written again."""
    return bool(run.result.get("removed"))


def finished(run: Run) -> StoredFile:
    """The package's file; raises Conflict with a sentence while there is none."""
    if run.status != "succeeded" or is_gone(run):
        sentence = _("This package is not there: {status}. Ask for it again.").format(status=_(run.status))
        raise Conflict(f"{sentence} {run.error or ''}".strip())
    found = run.result["package"]
    return StoredFile(found["url"], found["name"], "application/zip", found["sha256"], found["bytes"])


def card_of(session: Session, run: Run) -> tuple[Checkpoint, str]:
    """The checkpoint that a package is of, and its model card."""
    checkpoint = session.get_one(Checkpoint, int(run.params["checkpoint"]))
    return checkpoint, cards.markdown(session, checkpoint)


def place_of(run: Run) -> str:
    """The address of a package's directory."""
    return artifacts.url_of("packages", str(run.id))


def name_of(session: Session, run: Run) -> str:
    """A file name of letters, digits, dots and dashes alone."""
    project = session.get_one(Project, run.project_id)
    return f"{project.slug}-{run.params['checkpoint']}-{run.params['form']}.zip"


def zip_up(directory: Path, target: Path) -> dict[str, Any]:
    """Write the files of `directory` into one new archive, and return its `{"sha256", "bytes"}`.

    Nothing is compressed (weights hardly can be), and the same files make the same bytes.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(one for one in directory.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(f"{directory.name}/{file.relative_to(directory)}")
            entry.external_attr = 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as into:
                while piece := source.read(artifacts.CHUNK):
                    into.write(piece)
    return artifacts.facts_of(target)


def as_json(run: Run) -> dict[str, Any]:
    """A package as programs read it."""
    there = run.status == "succeeded" and not is_gone(run)
    package = run.result.get("package", {})
    return {
        "id": str(run.id),
        "checkpoint": run.params["checkpoint"],
        "form": run.params["form"],
        "status": run.status,
        "message": run.message,
        "error": run.error,
        "bytes": package.get("bytes"),
        "sha256": package.get("sha256"),
        "file": f"/api/v1/packages/{run.id}/file" if there else None,
        "created": run.created_at.isoformat(),
    }
