"""Progress bars, and work in batches on processes or on the workers of a Dask scheduler."""

from realusersim_nb.parallel.bars import show_bar

__all__ = ["show_bar"]
