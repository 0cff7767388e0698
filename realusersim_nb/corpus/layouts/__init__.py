"""Layouts of conversations in files: rows that are one each, exports of assistants, chats of people, tables.

``rows`` reads a row of any layout; ``exports``, ``datasets`` and ``harnesses`` have a function a layout,
recognised by the fields of a row; ``messengers`` turns chats between people into rows of messages;
``columns`` reads tables and all that has names of its own, which ``suggestions`` proposes.
"""

from realusersim_nb.corpus.layouts import datasets, exports, harnesses

__all__ = ["datasets", "exports", "harnesses"]
