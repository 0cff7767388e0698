"""The meter on people who are made up, so that every answer is known."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation

from realusersim_nb.__main__ import main
from realusersim_nb.files import write_lines
from realusersim_nb.gap import meter
from realusersim_nb.gap.calibration import tidy, tidy_conversation
from realusersim_nb.gap.meter import probe, sides, spread, subjects
from realusersim_nb.gap.meter.measurement import compare_systems, name_systems
from realusersim_nb.gap.meter.traits import measure_traits
from realusersim_nb.records import Message

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "taubench" / "gpt4o_airline_trials01.json"
WORDS = "l m n r s t x z ly my ny ry sy ty xy zy".split()
ROOTS = {"code": "pyth", "cooking": "onio", "travel": "hote", "garden": "rose", "music": "guit"}
SUBJECTS = {name: [root + one + two for one in "aeiou" for two in WORDS] for name, root in ROOTS.items()}
"""Eighty words each, so that they are no common words, which masked n-grams keep."""
FORMS = """how do i use the {} with the {} when nobody else can help me today
now do it with a {} but leave out every other thing we had before
can you explain the {} and the {} to me as if i were a small child
what is the best {} for a {} and why would anyone choose something different
please write about the {} in two or three short paragraphs for our next meeting
give me more on the {} and a {} because the last answer was too general
thanks, and the {}?
is there another {} for it that costs less and takes only half the time
i want to know if the {} is good or whether people usually complain about them
could you make a list of five names with {} and put them into one table
tell me first what happens after the {} has been changed by someone at work
they said that {} should always come from the same place as before, right?
my friend thinks his {} looks great while mine still seems rather old
let us start again without any {} and go through each step very slowly
which of these would she like better, a {} or just plain {} at home?
add some examples where this does not work so that everyone understands it
ok but i think you forgot about the {} which we need until friday morning
where did he find such a {} and how much money must have been spent there
continue
show both versions side by side, then say which one reads more naturally""".split("\n")


def make_people(n, *, seed, subjects=tuple(SUBJECTS), user="p"):
    """People who each write of one subject, in lower case and without a mark by a habit of their own."""
    rng, talks = np.random.default_rng(seed), []
    for number in range(n):
        words, habit = SUBJECTS[subjects[rng.integers(len(subjects))]], rng.beta(1, 1)
        texts = []
        for _ in range(rng.integers(3, 7)):
            form = rng.choice(FORMS)
            filled = [*rng.choice(words, 6, replace=False)]
            text = f"{' '.join(filled[2:])} {form.format(*filled)}"
            texts.append(text if rng.random() < habit else tidy(text))
        talks.append(make_conversation(*texts, user=f"{user}{number}"))
    return talks


def tidy_some(talks, share, *, seed=0):
    rng = np.random.default_rng(seed)

    def edit(m):
        changes = m.role == "user" and rng.random() < share
        return m.model_copy(update={"content": tidy(m.content)}) if changes else m

    return [talk.model_copy(update={"messages": [edit(m) for m in talk.messages]}) for talk in talks]


def compare(people, system, seed=0):
    return meter.compare_system(
        sides.make_side("people", people), sides.make_side("system", system), seed=seed
    )


def list_claims(compared):
    traits = compared.traits[compared.traits["p_holm"] < 0.05]["trait"].tolist()
    facets = compared.facets[compared.facets["p_holm"] < 0.05]["facet"].tolist()
    diversity = ["diversity"] * bool(compared.diversity["p_holm"] < 0.05)
    return traits + facets + diversity + ["probe"] * bool(compared.probed.p_holm < 0.05)


def test_people_beside_other_people_differ_in_nothing():
    claims = [
        list_claims(compare(make_people(150, seed=s), make_people(120, seed=100 + s, user="q")))
        for s in range(2)
    ]
    assert sum(map(len, claims)) <= 1, claims
    compared = compare(make_people(150, seed=1), make_people(120, seed=101, user="q"))
    assert compared.probed.people_low <= compared.probed.auc <= compared.probed.people_high
    assert "shows no difference" in compared.findings[0]["sentence"] or list_claims(compared)


def test_few_people_are_no_more_alike_than_as_many_others():
    """Their draws share people, so that the spread of the draws alone gives a claim in five of these thirty."""
    ps = []
    for seed in range(30):
        one, other = (
            sides.make_side(user, make_people(80, seed=start + seed, user=user))
            for user, start in (("p", 0), ("q", 500))
        )
        no_subject = subjects.Subjects(one, np.zeros(80, dtype=int), 0.0)
        ps.append(spread.compare_diversity(one, other, no_subject, seed=seed)["p"])
    assert sum(p < 0.05 for p in ps) <= 3


def test_users_who_are_tidied_are_seen_and_the_share_is_right():
    people = make_people(300, seed=1)
    everybody = compare(people, [tidy_conversation(c) for c in make_people(150, seed=2, user="q")])
    assert {"starts_lower", "ends_stop", "probe"} <= {*list_claims(everybody)}
    assert everybody.probed.auc > 0.8 and everybody.tidied[0] == 1
    assert (
        everybody.traits["trait"][:3]
        .isin(["starts_lower", "ends_stop", "unmarked_question", "lower_i"])
        .all()
    )
    some = compare(people, tidy_some(make_people(300, seed=3, user="q"), 0.4))
    assert some.tidied[1] < 0.4 < some.tidied[2] and some.tidied[0] == pytest.approx(0.4, abs=0.15)


def test_another_subject_is_no_other_manner():
    rest = [name for name in SUBJECTS if name != "music"]
    compared = compare(
        make_people(250, seed=1, subjects=rest), make_people(80, seed=2, subjects=["music"], user="q")
    )
    assert list_claims(compared) == [] and compared.shift > 0.8
    assert compare(make_people(250, seed=1), make_people(80, seed=2, user="q")).shift < 0.2


def test_phrases_of_one_side_are_listed_with_an_example_of_the_system_and_none_of_people():
    polite = make_people(80, seed=2, user="q")
    for talk in polite:
        talk.messages[0] = Message(role="user", content=f"I would appreciate it. {talk.messages[0].content}")
    people = make_people(200, seed=1)
    for talk in people[::10]:
        talk.messages[0] = Message(role="user", content=f"I would appreciate it. {talk.messages[0].content}")
    phrases = compare(people, polite).phrases
    assert phrases.loc[phrases["z"] > 0, "phrase"].str.contains("appreciate").any()
    first = phrases[phrases["phrase"].str.contains("appreciate")].iloc[0]
    assert (
        first["system"] == 1
        and first["people"] == pytest.approx(0.1, abs=0.04)
        and "appreciate" in first["example"]
    )
    assert (phrases.loc[phrases["z"] < 0, "example"] == "").all()


def test_conversations_of_people_are_cut_to_as_many_messages():
    people = sides.make_side("people", [make_conversation(*"abcdef", user=str(n)) for n in range(100)])
    system = sides.make_side(
        "s", [make_conversation(*"abcdef"[: 2 + 2 * (n % 2)], user=str(n)) for n in range(40)]
    )
    matched = sides.match_lengths(people, system, seed=0)
    assert np.bincount(matched.first).tolist() == [0, 0, 50, 0, 50] and len(matched) == 100


def test_signals_of_a_harness_and_private_data_are_no_text():
    side = sides.make_side(
        "s", [make_conversation("call 555-123-4567 or a@b.com", "bye ###STOP###", "###STOP###", "/close")]
    )
    [texts] = side.texts
    assert texts[1:] == ["bye"] and "a@b.com" not in texts[0]


def test_where_no_word_has_a_subject_nothing_is_known_of_subjects():
    talks = [make_conversation("how are you", "is it so", user=str(n)) for n in range(40)]
    one, other = sides.make_side("people", talks[:20]), sides.make_side("s", talks[20:])
    known = subjects.find_subjects(one, other, seed=0)
    assert known.shift == 1 and set(known.labels) == {0}


def test_few_conversations_have_values_and_no_claim():
    compared = compare(
        make_people(100, seed=1), [tidy_conversation(c) for c in make_people(20, seed=2, user="q")]
    )
    assert compared.traits["p_holm"].isna().all() and compared.traits["system"].notna().any()
    [finding] = compared.findings
    assert "20 conversations" in finding["sentence"] and "nothing is claimed" in finding["sentence"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meter")
    write_lines(folder / "people.jsonl", make_people(150, seed=1))
    stranger = make_people(60, seed=2, user="q")
    write_lines(folder / "people_again.jsonl", stranger)
    write_lines(folder / "<b>tidy.jsonl", [tidy_conversation(c) for c in stranger])
    return folder


def call(folder, *arguments, capsys):
    out = folder / "out"
    status = main(
        ["measure", *map(str, arguments), "--against", str(folder / "people.jsonl"), "--out", str(out)]
    )
    return status, *capsys.readouterr(), out


def test_command_writes_a_page_and_fails_above_a_limit(folder, capsys):
    status, lines, problem, out = call(folder, folder / "<b>tidy.jsonl", "--max-auc", "0.7", capsys=capsys)
    assert status == 1 and "above the limit of 0.7" in problem and "does not write like people" in lines
    assert max(map(len, lines.split("Page:")[0].splitlines())) <= 80
    page = (out / "measure.html").read_text()
    assert "&lt;b&gt;tidy" in page and "<b>tidy" not in page
    assert {"starts_lower", "ends_stop"} <= {*pd.read_csv(out / "measure.csv")["trait"]}
    status, lines, problem, _ = call(
        folder,
        folder / "people_again.jsonl",
        "--max-auc",
        "0.7",
        "--max-excess-js",
        "0.2",
        "--json",
        capsys=capsys,
    )
    figures = json.loads(lines)["systems"]["people_again"]
    assert status == 0 and figures["n"] == 60 and figures["probe"]["auc"] < 0.7


def test_of_two_files_the_nearer_one_is_named_in_pairs(folder):
    files = folder / "people_again.jsonl", folder / "<b>tidy.jsonl"
    measured = meter.measure_files(*files, against=str(folder / "people.jsonl"))
    [row] = measured.nearest.to_dict("records")
    assert row["paired"] and row["n_pairs"] == 60 and row["ci_high"] < 0
    assert "people_again is nearer to people" in measured._repr_html_()
    assert len(measured.table) == 2 * len(measured.systems[0].traits)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"messages": [{"role": "assistant", "content": "hello"}]}], "no transcript could be read"),
        ([{"messages": [{"role": "user", "content": "###STOP###"}]}], "the user writes nothing"),
        (
            [
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": "Wie kann ich das bitte am besten machen, ohne dass es zu lange dauert?",
                        }
                    ]
                }
            ]
            * 9,
            "in English",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(folder, rows, problem, capsys):
    write_lines(folder / "odd.jsonl", rows)
    status, _, said, _ = call(folder, folder / "odd.jsonl", capsys=capsys)
    assert status == 2 and problem in said and said.count("\n") == 1


def test_a_file_that_is_absent_is_one_sentence(folder, capsys):
    status, _, said, _ = call(folder, folder / "absent.json", capsys=capsys)
    assert status == 2 and "absent.json" in said and said.count("\n") == 1


@pytest.mark.skipif(not AIRLINE.exists(), reason="no tau-bench runs beside the project")
def test_a_large_model_as_the_customer_is_seen_by_its_lower_case_first():
    [compared] = meter.measure_files(AIRLINE).systems
    assert compared.probed.auc >= 0.95 and compared.probed.p_holm < 0.05
    first = compared.traits.head(2).set_index("trait")
    assert first.loc["starts_lower", "system"] == 0 and first.loc["starts_lower", "p_holm"] < 0.05


def test_people_who_write_less_than_the_system_are_compared_by_as_many_messages():
    people = [make_conversation(*t.user_messages[:3], user=t.user_id) for t in make_people(60, seed=1)]
    system = [c for c in make_people(90, seed=2, user="q") if len(c.user_messages) > 3]
    compared = compare(people, system)
    assert compared.n == len(system) and compared.n_people == 60
    assert compared.traits.set_index("trait").loc["words", "n_system"] == 3 * len(system)


def test_one_person_who_wrote_most_of_the_reference_is_no_crash():
    people = [
        c.model_copy(update={"user_id": "heavy"} if n < 45 else {})
        for n, c in enumerate(make_people(60, seed=1))
    ]
    compared = compare(people, make_people(40, seed=2, user="q"))
    assert compared.facets["floor"].notna().all() and compared.probed.p > 0.05


def test_what_no_person_writes_and_every_simulated_user_does_is_claimed():
    people = [tidy_conversation(c) for c in make_people(60, seed=1)]
    untidy = [c.model_copy(deep=True) for c in people]
    for c in untidy:
        for m in c.messages:
            m.content = m.content[:1].lower() + m.content[1:]
    trait = compare(people, untidy).traits.set_index("trait").loc["starts_lower"]
    assert (trait["people"], trait["system"]) == (0, 1) and trait["p_holm"] < 0.05


def test_a_few_users_with_many_conversations_have_values_and_no_claim():
    system = [
        c.model_copy(update={"user_id": f"q{n % 5}"})
        for n, c in enumerate(map(tidy_conversation, make_people(40, seed=2, user="q")))
    ]
    measured = meter.Measurement("people", 0, [compare(make_people(60, seed=1), system)], pd.DataFrame())
    [compared] = measured.systems
    assert compared.facets["p_holm"].isna().all() and np.isnan(compared.diversity["p_holm"])
    assert compared.traits[["ci_low", "ci_high", "p_holm"]].isna().all(axis=None)
    [finding] = compared.findings
    assert "5 users" in finding["sentence"] and "nothing is claimed" in finding["sentence"]
    assert "nan" not in measured._repr_html_()
    [line] = meter.list_exceeded(measured, max_auc=0.9, max_excess_js=None)
    assert "5 users are too few" in line


def test_the_end_of_a_conversation_is_not_known_where_the_corpus_continues_it(monkeypatch):
    whole, begun, rest = (make_conversation("sort it", f"now {n}", user=u) for n, u in enumerate("abb"))
    rows = [whole, begun, rest.model_copy(update={"continues": True})]
    corpus = SimpleNamespace(conversations=rows)
    monkeypatch.setattr(sides, "load_corpus", lambda *_, **__: corpus)
    people = sides.read_people("any")
    counts = measure_traits(people).xs("n", axis=1, level=1)
    assert len(people) == 2 and counts["words"].tolist() == [2, 2]
    known = counts[["disclosed", "ends_closing", "ends_unserved"]]
    assert known.to_numpy().tolist() == [[1, 1, 1], [1, 0, 0]]


def test_what_is_disclosed_at_once_is_of_as_many_messages_on_both_sides():
    people = sides.make_side("p", [make_conversation(*["sort it"] * 20, user=str(n)) for n in range(40)])
    system = sides.make_side("s", [make_conversation(*["sort it"] * 4, user=str(n)) for n in range(40)])
    for side in (sides.match_lengths(people, system, seed=0), system):
        share = measure_traits(side)["disclosed"].sum()
        assert share["sum"] / share["n"] == 0.25


def test_no_two_files_have_the_same_name():
    folder = "a_folder_with_a_long_name_in_which_all_runs_are"
    paths = [f"{folder}/{n}/transcripts.json" for n in "ab"] + [f"{n}/{folder}/other.json" for n in "ab"]
    systems = [sides.make_side(path, [make_conversation("a")]) for path in [*paths, "one.jsonl"]]
    name_systems(systems)
    names = [side.name for side in systems]
    assert names[:2] == ["a/transcripts", "b/transcripts"] and names[-1] == "one"
    assert len({*names}) == 5 and max(map(len, names)) <= 40


def test_two_systems_are_not_ranked_by_a_difference_that_other_people_could_reverse():
    ids, spread = [*map(str, range(100))], np.linspace(-0.1, 0.1, 100)

    def measured(auc, *, people_error):
        probed = SimpleNamespace(scores=auc + spread, people_error=people_error, auc=auc)
        return SimpleNamespace(name=str(auc), probed=probed, shortage=None, ids=ids)

    def compare_with(error):
        [row] = compare_systems([measured(auc, people_error=error) for auc in (0.55, 0.45)]).to_dict(
            "records"
        )
        return row

    assert compare_with(0.01)["ci_low"] > 0 and compare_with(0.01)["n_pairs"] == 100
    assert compare_with(0.05)["ci_low"] < 0 < compare_with(0.05)["difference"] == pytest.approx(0.1)


def test_the_error_of_an_auc_for_the_draw_of_people_is_that_of_repeated_draws():
    rng, draws, errors = np.random.default_rng(0), [], []
    for _ in range(200):
        people, system = rng.normal(size=60), rng.normal(1, 1, 2000)
        draws.append(probe.compute_auc(people, system))
        errors.append(probe.estimate_people_error(people, system, np.arange(60)))
    assert np.mean(errors) == pytest.approx(np.std(draws), rel=0.15)
