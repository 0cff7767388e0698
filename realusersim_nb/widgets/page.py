"""HTML pages and the widgets that browse them; all HTML is in ``templates/``, where every text is escaped."""

import json
import os
from collections.abc import Callable, Iterable

from IPython.display import display
from ipywidgets import HTML, Button, HBox, Label, VBox, Widget

from realusersim_nb.errors import StudyError
from realusersim_nb.text import cut_at_word, open_templates

ANY = "any"
N_SHOWN = 12  # messages of a user, runs on a static page
WHOLE_LABEL = {"description_width": "initial"}  # style of a control with a long description
WRAP = {"flex_flow": "row wrap"}  # layout of controls beside each other
WHOLE_CELL = "calc(100% - 4px)"  # the most width of a control, besides its margins

TEMPLATES = open_templates("realusersim_nb.widgets")
TEMPLATES.filters |= {"cut": lambda text, limit: cut_at_word(str(text), limit)}
TEMPLATES.filters |= {"json": lambda value: json.dumps(value, default=str)}
Pages = Iterable[tuple[str, str]]  # title and HTML


def render(template: str, **values: object) -> str:
    """The HTML of ``templates/TEMPLATE.html``; a value that is missing raises."""
    return TEMPLATES.get_template(f"{template}.html").render(values)


def describe_evidence(figure: dict[str, object]) -> str:
    """The figure behind a command, as text; of a profile from elsewhere its fields may be of any type."""
    try:
        share, value = float(figure["percentile"]), f"{float(figure['value']):g}"
        users = f"more than {share:.0%}" if share > 0.5 else f"less than {1 - share:.0%}"
        return f"({figure['feature']} {value}, {users} of users, {figure['n']} messages)"
    except (KeyError, TypeError, ValueError, OverflowError):
        return f"({', '.join(f'{name} {value}' for name, value in figure.items())})"


TEMPLATES.filters["evidence"] = describe_evidence


def show_widgets(widgets: list[Widget], *, static: Pages, note: str = "") -> None:
    """Show widgets; where none can run (a report, GitHub), rendered pages, folded if titled, and a note.

    A headless run saves only these: an exported page would prefer the widgets, and show nothing.
    """
    for widget in widgets:
        for control in (widget, *getattr(widget, "children", ())):
            control.layout.max_width = WHOLE_CELL  # ipywidgets' widths are fixed, also in a narrow window
    bundle = {} if os.environ.get("REALUSERSIM_HEADLESS") else VBox(widgets)._repr_mimebundle_()
    display({**bundle, "text/html": render("static", pages=static, note=note)}, raw=True)


def follow(controls: list[Widget], update: Callable[..., object]) -> None:
    """Call ``update`` with the values of all controls whenever one of them changes."""
    for control in controls:
        control.observe(lambda _: update(*[c.value for c in controls]), names="value")


def browse(
    controls: list[Widget],
    show: Callable[..., str],
    *,
    beside: Iterable[Widget] = (),
    static: Pages = (),
    note: str = "",
) -> None:
    """Controls, and what stands ``beside`` them, above the page that ``show`` makes of their values.

    ``static`` defaults to the first page.
    """
    page = HTML(show(*[control.value for control in controls]))
    follow(controls, lambda *values: setattr(page, "value", show(*values)))
    shown = [HBox([*controls, *beside], layout=WRAP), page]
    show_widgets(shown, static=list(static) or [("", page.value)], note=note)


def ask_one_by_one(
    pages: list[str],
    save: Callable[[int, Button], None],
    *,
    buttons: list[Button],
    controls: Iterable = (),
    find_done: Callable[[], Iterable[int]] = tuple,
    end: Callable[[], str] = str,
) -> Callable[[], None]:
    """Pages to be answered one after the other: a click calls ``save`` with the page's index and the button.

    Pages can be skipped, and answered again. ``find_done`` gives those that have an answer, ``end`` the last
    sentence. If ``save`` raises a StudyError, its sentence is shown and the page stays. Returns a function
    that begins anew at the first page without an answer.
    """
    page, problem, progress, done = HTML(), Label(), Label(), set()
    back, skip = Button(description="back"), Button(description="skip")
    place = 0

    def show(index: int | None) -> None:
        nonlocal place
        place = len(pages) if index is None else index
        problem.value, progress.value = "", f"{len(done)} of {len(pages)} answered"
        last = "That was the last one. Thank you. " + end()
        page.value = render("note", text=last) if index is None else pages[index]
        for button in (*buttons, skip):
            button.disabled = index is None
        back.disabled = not place

    def find_open(after: int) -> int | None:
        order = [*range(after + 1, len(pages)), *range(min(after + 1, len(pages)))]
        return next((index for index in order if index not in done), None)

    def answer(button: Button) -> None:
        try:
            save(place, button)
        except StudyError as error:
            problem.value = str(error)
        else:
            done.add(place)
            show(find_open(place))

    def begin() -> None:
        done.clear()
        done.update(find_done())
        show(find_open(-1))

    for button in buttons:
        button.on_click(answer)
    skip.on_click(lambda _: show(find_open(place)))
    back.on_click(lambda _: show(place - 1))
    begin()
    static, note = [("", page.value)], "Answers can be given where widgets run."
    show_widgets(
        [page, *controls, HBox([*buttons, back, skip, progress], layout=WRAP), problem],
        static=static,
        note=note,
    )
    return begin
