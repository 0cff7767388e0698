"""Toy profiles, and the process that serves them."""

import os
import subprocess
import sys
from pathlib import Path

from realusersim_nb.records import Command, Demonstration, Profile

KEY = "sk-upstream-0123456789"


def make_profile(user_id, **more):
    rule = f"Begin as {user_id} does."
    commands = [Command(dimension=d, command=rule) for d in ("formality", "punctuation", "filler/hesitation")]
    return Profile(user_id=user_id, commands=commands, **more)


SHOWN = Demonstration(wanted="The user wants a tent.", typed="need tent asap thx")
PROFILES = [make_profile(f"u{i}") for i in range(40)] + [make_profile("shown", demonstrations=[SHOWN])]


def start_server(folder: Path, url: str) -> tuple[subprocess.Popen, str]:
    """The process that serves ``folder/profiles.jsonl``, and the address that it prints."""
    command = [sys.executable, "-m", "realusersim_nb", "serve", "--profiles", folder / "profiles.jsonl"]
    command += ["--model", "big", "--port", "0", "--out", folder / "served.jsonl"]
    environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    environment["REALUSERSIM_CACHE"] = str(folder / "replies.sqlite")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split("served at ")[1].split(" (")[0]
