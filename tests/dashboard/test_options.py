"""An option that is added to the definition of a search stands in the form."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from tests.dashboard.conftest import Open
from tests.grown import grow


def test_a_new_option_stands_in_the_form(tmp_path: Path, tiny_file: Path, open_page: Open) -> None:
    command = ["-m", "leanfront", "serve", "--port", "0", "--target", f"tiny={tiny_file}:target"]
    environment = {**grow(tmp_path), "LEANFRONT_DATABASE": f"sqlite:///{tmp_path}/own.db"}
    with subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "http://" in line)
            found = re.search(r"http://[\d.]+:\d+", line)
            assert found is not None, line
            with open_page(found[0]) as (page, _):
                page.goto("/")
                page.locator("summary", has_text="Start a search").click()
                page.get_by_text("How it searches").click()
                field = page.get_by_label("Sparkle at most")
                expect(field).to_have_value("3")
                expect(field).to_have_attribute("max", "9")
                expect(page.get_by_text("Amount of sparkle of the frontier.")).to_be_visible()
        finally:
            process.terminate()
            process.communicate(timeout=30)
