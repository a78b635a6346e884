"""Up to six runs side by side: their curves over each other, and what was set differently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.checkpoints import figures
from app.errors import BadInput
from app.languages import _
from app.models import Project, Run
from app.runs import curves, metrics
from app.runs.curves import Overlay

MOST = 6


@dataclass(frozen=True)
class Row:
    """One setting or figure of every run, in the runs' order; None where a run has none."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values[1:])


@dataclass(frozen=True)
class Compared:
    """The runs, their curves by phase, and the tables behind."""

    runs: list[Run]
    phases: list[tuple[str, list[Overlay], list[Overlay]]]
    """Of each phase its name, the telling curves, and the others."""
    settings: list[Row]
    figures: list[Row]


def named(session: Session, project: Project, ids: Sequence[str]) -> list[Run]:
    """The runs of this project that an address names, each once; BadInput says what is wrong with it."""
    wanted = list(dict.fromkeys(one.strip() for part in ids for one in part.split(",") if one.strip()))
    if not 2 <= len(wanted) <= MOST:
        raise BadInput(_("Choose two to {most} runs to compare; these are {n}.").format(most=MOST, n=len(wanted)))
    found = [session.get(Run, int(one)) if one.isdecimal() and len(one) < 19 else None for one in wanted]
    for one, run in zip(wanted, found, strict=True):
        if run is None or run.project_id != project.id or run.kind in ("import", "export"):
            raise BadInput(_("There is no run {run_id!r} in this project that could be compared.").format(run_id=one))
    return [run for run in found if run is not None]


def of(session: Session, compared: Sequence[Run]) -> Compared:
    """What there is to compare in these runs."""
    by_run = {run.id: metrics.by_phase(metrics.of(session, run)) for run in compared}
    phases = dict.fromkeys(phase for found in by_run.values() for phase in found)
    overlays = [
        (phase, curves.overlaid(phase, {run: found[phase] for run, found in by_run.items() if phase in found}))
        for phase in phases
    ]
    return Compared(
        runs=list(compared),
        phases=[(phase, *_parted(found)) for phase, found in overlays if found],
        settings=_rows([_settings(run) for run in compared]),
        figures=_figures([run.result.get("metrics", {}) for run in compared]),
    )


def _parted(found: list[Overlay]) -> tuple[list[Overlay], list[Overlay]]:
    """Those that a reader looks at first, and the others; all of them where none of the first is there."""
    first = [one for one in found if one.name in curves.FIRST]
    return (first, [one for one in found if one not in first]) if first else (found, [])


def _settings(run: Run) -> dict[str, Any]:
    spec = run.result.get("spec", {})
    machine = run.facts.get("machine", {})
    parents = {f"parent {kind}": one for kind, one in run.result.get("parents", {}).items()}
    return {
        **(spec.get("hyper") or run.params.get("hyper") or {}),
        "preset": run.params.get("preset", "standard"),
        "seed": spec.get("seed"),
        **parents,
        "snapshot": run.snapshot.sha256[:12] if run.snapshot is not None else None,
        "code": run.facts.get("code"),
        "machine": machine.get("name"),
    }


def _figures(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for every figure, in the words and the order of a model's page."""
    names = {name: name for column in columns for name in column}
    return [Row(words, [column.get(name) for column in columns]) for words, name in figures.named(names)]


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for every name that a column has; what differs comes first."""
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [Row(name.replace("_", " "), [column.get(name) for column in columns]) for name in names]
    return sorted(rows, key=lambda row: not row.differs)
