"""docs/settings.md is complete and says what the code says."""

import re
from pathlib import Path

from app.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_table_names_every_setting_with_its_description() -> None:
    rows = dict(re.findall(r"^\| `(PAIRLOOP_\w+)` \|.*\| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE))
    assert rows == {f"PAIRLOOP_{name.upper()}": field.description for name, field in Settings.model_fields.items()}
