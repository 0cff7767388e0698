"""ipywidgets browsers for notebooks; each shows something static where widgets cannot run."""

import html
import os

import ipywidgets
from IPython.display import display

from realusersim_nb.text import cut_at_word

ANY, NOBODY = "any", "nobody"
SHOWN = 12  # messages of a user


def show_widgets(widgets: list[ipywidgets.Widget], *, without: str) -> None:
    """Show widgets; a page that cannot run them (a report, GitHub) shows the HTML ``without``.

    A headless run leaves that alone: an exported page takes widgets for the better of the two, and shows nothing.
    """
    bundle = {} if os.environ.get("REALUSERSIM_OWNER") else ipywidgets.VBox(widgets)._repr_mimebundle_()
    display({**bundle, "text/html": without}, raw=True)


def side_by_side(*pages: str) -> str:
    """HTML of pages beside each other, one below the other where there is no room."""
    columns = "".join(f"<div style='flex:1;min-width:20em'>{page}</div>" for page in pages)
    return f"<div style='display:flex;flex-wrap:wrap;gap:2em;text-align:left;line-height:1.4'>{columns}</div>"


def list_side(title: str, texts: list[str]) -> str:
    """HTML of one side's messages."""
    said = "".join(f"<li>{html.escape(cut_at_word(text, 300))}</li>" for text in texts)
    return f"<b>{html.escape(title)}</b><ol>{said or '<i>nothing</i>'}</ol>"
