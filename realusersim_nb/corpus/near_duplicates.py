"""Near-duplicates among conversations, told by a signature of what the user says."""

import re

import numpy as np
from datasketch import MinHash

from realusersim_nb.records import Conversation

SCHEME = "affine64"  # of datasketch: which hash functions


class NearDuplicates:
    """Tells conversations of which a near-duplicate came before: most of their word triples are the same.

    MinHash of the user's word triples, 64 permutations in 8 bands: of two conversations that share
    90 % of their triples 99 in 100 are told, at 80 % 77, at 50 % 3 (the limit is ours; the paper
    curates "further" without saying how). Keeps 8 numbers for each conversation.
    """

    def __init__(self):
        self.bands: set[int] = set()

    def is_new(self, signature: np.ndarray) -> bool:
        """Whether none like it came before; if so, it is remembered."""
        own = {hash((number, band.tobytes())) for number, band in enumerate(signature.reshape(8, 8))}
        if own & self.bands:
            return False
        self.bands |= own
        return True


def compute_signature(conversation: Conversation) -> np.ndarray:
    """The MinHash signature of what the user says, digits and case apart: 64 integers."""
    words = re.findall(r"[^\W\d_]+", " ".join(conversation.user_messages)[:20_000].lower())
    triples = {" ".join(words[i : i + 3]).encode() for i in range(max(1, len(words) - 2))}
    found = MinHash(num_perm=64, seed=1, scheme=SCHEME)
    found.update_batch(sorted(triples))
    return found.hashvalues
