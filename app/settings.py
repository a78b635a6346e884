"""What the environment decides: every PAIRLOOP_* variable, read once."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _data_home() -> Path:
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/pairloop")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "pairloop"


def _cache_home() -> Path:
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/cache/pairloop")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pairloop"


class Settings(BaseSettings):
    """One attribute per PAIRLOOP_* variable; docs/settings.md repeats this table for people."""

    model_config = SettingsConfigDict(env_prefix="PAIRLOOP_", extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address the web process listens on.")
    port: int = Field(default=8000, description="Port the web process listens on.")
    database_url: str = Field(default="", description="SQLAlchemy URL of Postgres 15 to 18; empty: the embedded one.")
    data_dir: Path = Field(default_factory=_data_home, description="Embedded Postgres, artefacts and logs.")
    cache_dir: Path = Field(default_factory=_cache_home, description="Downloaded and converted models.")
    engine_url: str = Field(
        default="http://127.0.0.1:8100",
        description="An OpenAI-compatible engine, or several as base=url,base=url.",
    )
    artifacts_url: str = Field(default="", description="fsspec URL for checkpoints, snapshots and exports.")
    base_model: str = Field(default="smollm2-135m-instruct", description="Base model of the first project.")
    secret_key: str = Field(
        default="", description="Signs short-lived values; made and kept by `pairloop up` if empty."
    )
    training_processes: int = Field(
        default=1, ge=1, description="How many processes of a worker's machine train one run together; one per GPU."
    )
    public_url: str = Field(default="", description="Address people type, such as https://labels.example.org.")

    @property
    def artifacts(self) -> str:
        """The artefact store's URL without a trailing slash."""
        return (self.artifacts_url or (self.data_dir.resolve() / "artifacts").as_uri()).rstrip("/")

    @property
    def engines(self) -> dict[str, str]:
        """Base model name -> engine URL; the single-URL form serves `base_model` under the key "*"."""
        if "=" not in self.engine_url:
            return {"*": self.engine_url.rstrip("/")}
        pairs = (item.split("=", 1) for item in self.engine_url.split(",") if item.strip())
        return {base.strip(): url.strip().rstrip("/") for base, url in pairs}


settings = Settings()
