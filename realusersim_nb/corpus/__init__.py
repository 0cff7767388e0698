"""Real conversations: read from files and the hub, curated by named steps, grouped and split by user."""

from realusersim_nb.corpus.loading import describe_corpus, load_corpus, read_systems, read_transcripts
from realusersim_nb.corpus.splits import draw_users, group_by_user, hold_out, split_users

__all__ = ["describe_corpus", "load_corpus", "read_systems", "read_transcripts"]
__all__ += ["draw_users", "group_by_user", "hold_out", "split_users"]
