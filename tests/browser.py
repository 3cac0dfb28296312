"""A page opened in headless Chromium: what a probe sees there, and what the console says."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --window-size=400,900 --virtual-time-budget=8000 "
    "--enable-logging=stderr --v=0 --dump-dom"
)
SCRIPTS, STYLES = "script-src ", "style-src "


@dataclass(frozen=True)
class Opened:
    """What a page's own policy let happen.

    Attributes:
        seen: What the probe gave to `tell`.
        console: Lines of the console: errors, and violations of the policy; no warnings of Vega.
    """

    seen: Any
    console: list[str]


def open_page(page: str, probe: str, folder: Path, *flags: str, style: str = "") -> Opened:
    """Open a page whose policy also allows the probe and a style.

    Args:
        page: The page.
        probe: A script that calls `tell(value)`.
        folder: Where the browser's files go.
        flags: Of the browser.
        style: More CSS, in the page's head.
    """
    assert CHROMIUM is not None
    assert page.count(SCRIPTS) == page.count(STYLES) == 1
    script = f"""
      const tell = (value) => {{
        const result = document.createElement("pre");
        result.id = "probe";
        result.textContent = JSON.stringify(value);
        document.body.append(result);
      }};
      {probe}"""
    page = page.replace(SCRIPTS, f"{SCRIPTS}{_source(script)} ")
    page = page.replace(STYLES, f"{STYLES}{_source(style)} ")
    page = page.replace("</head>", f"<style>{style}</style></head>", 1)
    before, end, after = page.rpartition("</body>")
    path = folder / "probed.html"
    path.write_text(f"{before}<script>{script}</script>{end}{after}", encoding="utf-8")
    result = subprocess.run(
        [CHROMIUM, *FLAGS.split(), *flags, f"--user-data-dir={folder / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found, result.stderr[-2000:]
    lines = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    console = [line for line in lines if '"WARN ' not in line]
    return Opened(json.loads(html.unescape(found[1])), console)


def _source(text: str) -> str:
    """Return what allows an inline script or style in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
