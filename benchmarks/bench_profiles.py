"""What profiles of ShareGPT are worth: chance, sureness in unseen conversations, attribution, examples, time.

python benchmarks/bench_profiles.py
"""

import time

import pandas as pd

from realusersim_nb import profiles, style
from realusersim_nb.corpus import hold_out, load_corpus
from realusersim_nb.records import Profile

SEED = 1


def check_examples(made: list[Profile]) -> pd.Series:
    """How many examples of measured shares there are, do what their command says, and are used twice."""
    counts = pd.Series(0, ["examples", "right", "used_twice"])
    for profile in made:
        texts = [text for c in profile.commands for text in (*c.examples, *c.without)]
        counts["used_twice"] += len(texts) - len(set(texts))
        for command in profile.commands:
            feature = style.BY_NAME[command.evidence["feature"]]
            high = command.evidence["percentile"] > 0.5
            if not feature.is_count:
                values = [feature.measure(text, "") == high for text in command.examples]
                values += [feature.measure(text, "") != high for text in command.without]
                is_later = feature.name in ("repeats", "same_opening")  # these need the message before
                counts["examples"] += len(values) * (not is_later)
                counts["right"] += sum(values) * (not is_later)
    return counts


def main() -> None:
    """Print every figure."""
    conversations = load_corpus("sharegpt").conversations
    profiled, _ = hold_out(conversations, seed=SEED)
    begin = time.perf_counter()
    messages = profiles.measure_conversations(profiled)
    made = profiles.extract_measured(profiled, messages)
    print(f"{len(made):,} profiles in {time.perf_counter() - begin:.0f} s")
    print(check_examples(made).to_dict())
    print(profiles.measure_false_discovery(messages, seed=SEED).round(3))
    known, unseen, copied = profiles.measure_sides(conversations, seed=SEED)
    for name, side in (("unseen messages", unseen), ("without copies", unseen[~copied])):
        print(
            name,
            profiles.tabulate_holding(profiles.measure_holding(known, side), seed=SEED).round(3),
            sep="\n",
        )
    print(profiles.identify_users(conversations, seed=SEED).round(3).to_string())


if __name__ == "__main__":
    main()
