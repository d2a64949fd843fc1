"""The blocking client: what the asynchronous one promises, without an event loop, also while servers are killed."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from orcs_client import BlockingOrcsClient, Event, OrcsClient, SettingsError, Unimplemented

if TYPE_CHECKING:
    from tests.client.server_process import ServerProcess


def test_it_has_every_method_of_the_asynchronous_client() -> None:
    public = {name for name in dir(OrcsClient) if not name.startswith("_")}
    assert public == {name for name in dir(BlockingOrcsClient) if not name.startswith("_")}
    assert {"watch_pending_inputs", "resolve_approval", "edit_plan", "retry_task"} <= public
    assert BlockingOrcsClient.watch.__doc__ == OrcsClient.watch.__doc__


def test_calls_lists_and_watches_work_without_a_loop_and_close_without_a_trace(server: ServerProcess) -> None:
    with BlockingOrcsClient(server.start()) as client, BlockingOrcsClient(client.address) as other:
        assert client.create_workflow("compare", workflow_id="mine").workflow.id == "mine"
        assert [workflow.id for workflow in client.list_workflows()][:2] == ["w0-0", "w0-1"]
        assert [item.sequence for item in client.watch("w") if isinstance(item, Event)] == [1, 2, 3, 4, 5]
        assert other.run("compare").output.content.text == "done"
        assert [item.sequence for item in itertools.islice(other.watch("w"), 2) if isinstance(item, Event)] == [1, 2]
        left_open = client.watch("w")
        next(left_open)
    assert "orcs-client" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(SettingsError, match="closed"):
        client.get_workflow("w")
    with pytest.raises(SettingsError, match="closed"):
        next(left_open)


def test_what_is_watched_equals_the_log_though_the_server_is_killed_again_and_again(server: ServerProcess) -> None:
    with BlockingOrcsClient(server.start(events=300, pace=0.001)) as client:
        seen: list[int] = []
        for item in client.watch("w"):
            assert isinstance(item, Event)
            seen.append(item.sequence)
            if item.sequence in (20, 21, 150, 299):
                server.kill()
                server.start(events=300, pace=0.001)
    assert seen == list(range(1, 301))


def test_errors_come_as_the_same_classes(server: ServerProcess) -> None:
    with BlockingOrcsClient(server.start()) as client, pytest.raises(Unimplemented):
        client.get_task("w", "t1")


def test_closing_in_one_thread_ends_what_another_waits_for(server: ServerProcess) -> None:
    client = BlockingOrcsClient(server.start(events=100, pace=30))
    errors: list[BaseException] = []
    watching = threading.Event()

    def watch() -> None:
        try:
            for _ in client.watch("w"):
                watching.set()
        except SettingsError as error:
            errors.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    watching.wait()
    client.close()
    thread.join()
    assert len(errors) == 1


def test_an_interrupted_call_stops_and_leaves_the_client_usable(server: ServerProcess) -> None:
    with BlockingOrcsClient(server.start(events=100, pace=30)) as client:
        items = client.watch("w")
        next(items)
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(items)
        timer.join()
        assert client.get_server_info().version == "0.0.0"


def test_a_client_that_is_never_closed_does_not_keep_the_program(server: ServerProcess) -> None:
    code = f"import orcs_client; print(orcs_client.BlockingOrcsClient({server.start()!r}).get_server_info().version)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("0.0.0\n", "")


def test_an_interrupt_between_two_steps_of_a_watch_leaves_nothing_under_way(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlockingOrcsClient(server.start(events=300, pace=0.05)) as client:
        items = client.watch("w")
        next(items)
        submit = client._thread.submit

        def interrupted(pending: Any) -> Any:
            monkeypatch.setattr(client._thread, "submit", submit)
            submit(pending)
            raise KeyboardInterrupt

        monkeypatch.setattr(client._thread, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(items)
        assert isinstance(next(client.watch("w")), Event)
