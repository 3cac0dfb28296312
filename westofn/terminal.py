"""The console that this project prints on."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from westofn.plain_text import visible


class Terminal(Console):
    """A console that prints the control characters of texts as escapes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with visible control characters; rich's own are marked as such."""
        for segment in super().render(renderable, options):
            is_control = segment.control is not None
            yield segment if is_control else Segment(visible(segment.text), segment.style)
