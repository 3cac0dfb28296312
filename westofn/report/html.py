"""Self-contained HTML pages: text by an autoescaping template, figures as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from westofn.content_policy import content_policy
from westofn.plain_text import visible
from westofn.report.browser import escape
from westofn.report.figures import PALETTES, Figure, figure_specs

FOLDER = Path(__file__).parent


def render_html(
    template: str,
    folder: Path,
    figures: Sequence[Figure],
    *,
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """A page as text: every byte that it needs is in it, and it fetches nothing.

    Args:
        template: Its file, which extends base.html.jinja.
        folder: The folder of that file.
        figures: The figures that the template draws.
        scripts: Scripts of the page, beside those that draw its figures.
        values: What the template is rendered with beside the figures.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    specs = {figure.key: figure_specs(figure) for figure in figures}
    style = asset("page.css")
    all_scripts = [drawing_library(), asset("figures.js"), *scripts]
    return environment.get_template(template).render(
        policy=markup(content_policy(all_scripts, style)),
        style=markup(style),
        drawn=markup(escape({"palettes": PALETTES, "specs": specs})),
        scripts=[markup(script) for script in all_scripts],
        **values,
    )


def asset(name: str) -> str:
    """A file of this folder as text."""
    return (FOLDER / name).read_text(encoding="utf-8")


def markup(text: str) -> Any:
    """Text that the template does not escape: code of this folder, or JSON by `escape`."""
    import markupsafe

    return markupsafe.Markup(text)


def unbroken(value: object) -> object:
    """Text whose percent signs stay on the line of their number; anything else as it is.

    Control characters are shown as escapes.
    """
    return visible(value).replace(" %", "\u00a0%") if type(value) is str else value


def drawing_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that only leaves `vegaEmbed` behind.

    Raises:
        RuntimeError: The library holds a character sequence that would end its script element.
    """
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise RuntimeError("the drawing library cannot be inlined: it holds </script or <!--")
    return f"(function () {{{bundle}\n}})();"
