"""From values to one self-contained file: templates, plots, and what may not come into a page.

Names of files, processes and faults come from users and from what they run: the templates escape
all of them, and the page's own policy lets it load nothing from anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu.errors import EnvironmentProblem
from emu.verdict.report import write_text

if TYPE_CHECKING:
    import jinja2
    import plotly.graph_objects as go


def check_extra() -> None:
    """Refuse, before the work is done, what cannot be written after it.

    Raises:
        EnvironmentProblem: The libraries that make pages are not installed.
    """
    try:
        import jinja2
        import plotly  # noqa: F401
    except ImportError as error:
        raise EnvironmentProblem(
            f"report: {error.name} is not installed; pip install 'zcrx-emu[report]'"
        ) from None
    del jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _drawn(name: str, figure: go.Figure) -> str:
    """A figure's element and its script; Plotly escapes what is in it."""
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_width="100%",
        config={"displaylogo": False, "responsive": True},
    )
    return html


def page(template: str, values: Mapping[str, Any], plots: Mapping[str, go.Figure]) -> str:
    """A page as text.

    Args:
        template: Its file's name.
        values: What the template is told.
        plots: Figures by the names that the template has for them.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    drawn = {name: Markup(_drawn(name, figure)) for name, figure in plots.items()}
    script = Markup(get_plotlyjs()) if plots else ""
    return _environment().get_template(template).render(**values, plots=drawn, plotly=script)


def write_page(target: Path, text: str) -> None:
    """Write it so that a reader sees all of it or nothing.

    Raises:
        EnvironmentProblem: It cannot be written.
    """
    write_text(target, text)
