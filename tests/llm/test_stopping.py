"""A person stops a cell, in a real kernel: said at once, what is paid is kept, one sentence at the end."""

import time

import pytest
from jupyter_client.manager import start_new_kernel

from realusersim_nb.llm.cache import Cache

CALLS = """
from realusersim_nb import errors, llm
errors.show_as_sentences()
models = llm.Models(max_concurrency=4)
outcomes = await models.run_all([models.ask("m", f"question {i}") for i in range(40)], "calls")
"""


@pytest.fixture
def kernel(monkeypatch, endpoint):
    """A manager and a client of a kernel that a person could sit before, and the endpoint that it calls."""
    mock = endpoint(lambda request: time.sleep(4) or "yes")
    monkeypatch.delenv("REALUSERSIM_HEADLESS", raising=False)
    manager, client = start_new_kernel()
    yield manager, client, mock
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_until_stopped(kernel, presses):
    """What a cell printed and its error, where stop is pressed once calls are in flight; seconds from then."""
    manager, client, mock = kernel
    client.execute(CALLS)
    while len(mock.requests) < 4:
        time.sleep(0.05)
    started, printed = time.monotonic(), ""
    manager.interrupt_kernel()
    while True:
        message = client.get_iopub_msg(timeout=30)
        content = message["content"]
        if message["msg_type"] == "stream":
            printed += content["text"]
            if presses == 2 and "stopping" in content["text"]:
                manager.interrupt_kernel()
        elif message["msg_type"] == "error":
            return printed, content, time.monotonic() - started


def test_stop_waits_for_what_is_paid_and_keeps_it(kernel, replies_at):
    printed, error, _ = run_until_stopped(kernel, presses=1)
    assert "stopping: 4 calls already paid are waited for (press again to drop them)" in printed
    assert error["ename"] == "Stopped" and error["evalue"].startswith("Stopped: 0 of 40 done, and kept.")
    assert len(error["traceback"]) == 2  # the sentence and the hint, no trace
    assert len(kernel[2].requests) == 4 and len(list(Cache(replies_at).replies())) == 4


def test_second_press_drops_what_is_in_flight(kernel):
    _, error, seconds = run_until_stopped(kernel, presses=2)
    assert error["ename"] == "Stopped" and seconds < 3.5  # a call takes four
