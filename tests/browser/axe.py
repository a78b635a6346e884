"""axe, the checker of accessibility rules, on a page as it stands."""

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page


def nothing_wrong(page: Page, where: str, *rules: str) -> None:
    """Fail with axe's report of the page, if it finds anything (by these rules alone, where some are named)."""
    # What is half-way between two colours has no contrast of its own.
    page.evaluate(
        """Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity)
            .map((one) => one.finished.catch(() => null))).then(() => null)"""
    )
    results = Axe().run(page, options={"runOnly": list(rules)} if rules else None)
    assert results.violations_count == 0, f"{where}:\n{results.generate_report()}"
