"""Every prompt as a file of Markdown, and the function that fills it strictly."""

from realusersim_nb.prompts.fill import fill_prompt

__all__ = ["fill_prompt"]
