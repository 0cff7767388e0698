"""What simulated users say that people do not, and the reverse: words and phrases, by users who say them.

Log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008), of how many users say a phrase
of one to three words. Only phrases that people use on many subjects count, since others are the subject.
"""

import re

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import norm
from sklearn.feature_extraction.text import CountVectorizer
from statsmodels.stats.multitest import multipletests

from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.spread import sum_by_user
from realusersim_nb.gap.meter.subjects import N_SUBJECTS, Subjects
from realusersim_nb.style import typed_text
from realusersim_nb.text import cut_at_word

WORD = r"[^\W\d_]+(?:['’][^\W\d_]+)*"
PRIOR = 50  # users' worth of the background
LEAST = 5  # users of either side who say it
EVEN = 0.8  # entropy over subjects, of its most, from which a phrase belongs to no subject
SHOWN = 12
COLUMNS = "phrase n_system n_people system people z p example".split()


def list_phrases(texts: list[str]) -> set[str]:
    """The runs of one to three words in some messages, in lower case; none goes over a mark."""
    phrases = set()
    for text in texts:
        for piece in re.split(r"[^\w\s'’]|\n", typed_text(text).lower()):
            words = re.findall(WORD, piece)
            phrases.update(" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1))
    return phrases


def compare_phrases(people: Side, system: Side, subjects: Subjects) -> pd.DataFrame:
    """The phrases that differ most, those of the system first: at most 12 each (Holm, 1%).

    ``n_``: users who say it, as shares ``system, people`` (0..1); ``z`` > 0 of the system; ``example``: where
    it stands in a message of the system, cut (none of people's text is shown but the phrase).
    """
    counter = CountVectorizer(analyzer=list_phrases, binary=True, dtype=np.float32, min_df=LEAST)
    uses = counter.fit_transform([*people.messages, *system.messages]).tocsr()
    ours, theirs = uses[: len(people)], uses[len(people) :]
    phrases = counter.get_feature_names_out()
    even = measure_evenness(counter.transform(subjects.people.messages), subjects.labels) >= EVEN
    one, other = (
        count_users(table, users) for table, users in ((theirs, system.users), (ours, people.users))
    )
    (x, n), (y, m) = one, other
    keep = even & (np.maximum(x, y) >= LEAST)
    prior = PRIOR * (x + y + 0.5) / (n + m + 1)
    odds = [np.log((c + prior) / (size + PRIOR - c - prior)) for c, size in ((x, n), (y, m))]
    spread = np.sqrt(1 / (x + prior) + 1 / (y + prior))
    z = (odds[0] - odds[1]) / spread
    table = pd.DataFrame(
        {"phrase": phrases, "n_system": x, "n_people": y, "system": x / n, "people": y / m, "z": z}
    )
    table = table[keep].assign(p=2 * norm.sf(np.abs(z[keep])))
    return choose_phrases(table, system)


def choose_phrases(table: pd.DataFrame, system: Side) -> pd.DataFrame:
    """The rows to show: significant by Holm, none that is within a longer one of the same users."""
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    table = table[multipletests(table["p"], 0.01, "holm")[0]]
    table = table.astype({"n_system": int, "n_people": int})
    chosen = []
    for side in (table[table["z"] > 0], table[table["z"] < 0]):
        order = side.assign(size=side["z"].abs(), words=side["phrase"].str.count(" "))
        rows = order.sort_values(["size", "words"], ascending=False).head(4 * SHOWN)
        names: list[str] = []
        for phrase in rows["phrase"]:
            overlaps = any(f" {phrase} " in f" {n} " or f" {n} " in f" {phrase} " for n in names)
            names += [phrase] if not overlaps and len(names) < SHOWN else []
        chosen.append(rows[rows["phrase"].isin(names)])
    shown = pd.concat(chosen)
    shown["example"] = [find_example(row.phrase, system) if row.z > 0 else "" for row in shown.itertuples()]
    return shown[COLUMNS].reset_index(drop=True)


def measure_evenness(uses: csr_matrix, subjects: np.ndarray) -> np.ndarray:
    """Entropy of each phrase's rate over people's subjects, as a share of its most (0..1)."""
    sizes = np.bincount(subjects, minlength=N_SUBJECTS)
    rates = np.array([np.asarray(uses[subjects == c].sum(axis=0)).ravel() + 0.5 for c in range(N_SUBJECTS)])
    rates = rates[sizes > 0] / (sizes[sizes > 0, None] + 1)
    shares = rates / rates.sum(axis=0)
    return -(shares * np.log(shares)).sum(axis=0) / np.log(max((sizes > 0).sum(), 2))


def count_users(uses: csr_matrix, users: np.ndarray) -> tuple[np.ndarray, int]:
    """How many users say each phrase, and how many users there are."""
    by_user = sum_by_user(uses, users)
    return np.asarray((by_user > 0).sum(axis=0)).ravel().astype(float), by_user.shape[0]


def find_example(phrase: str, system: Side) -> str:
    """A message of the system around the phrase, cut to about 90 characters."""
    pattern = re.compile(r"\W+".join(map(re.escape, phrase.split())), re.IGNORECASE)
    for messages in system.messages:
        for text in messages:
            if match := pattern.search(text):
                begin = text.rfind(" ", 0, max(match.start() - 20, 0)) + 1
                return cut_at_word(" ".join(text[begin:].split()), 90)
    return ""
