"""Cells of a notebook whose calls somebody stops; ``test_lab_widgets`` opens it in a browser."""

import tempfile

from realusersim_nb import errors, llm

errors.show_as_sentences()
models = llm.Models(cache=f"{tempfile.mkdtemp()}/replies.sqlite", max_concurrency=2)
# %%
outcomes = await models.run_all([models.ask("stopped", f"question {i}") for i in range(9)], "calls")  # noqa: F704
