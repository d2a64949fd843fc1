"""Replies that nobody takes: their places go to others after a while, and they are there when they are taken at last."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.app import Server
from orcs_server.rpc import admission
from tests.overload.hostile import RawClient
from tests.rpc.servers import settings_in
from tests.rpc.wire import connected

_s = memory_service_pb2
METHOD = "orcs.v1.MemoryService/GetMemory"


@pytest.mark.parametrize("patience_s", [1.0, 3600.0])
async def test_replies_that_are_not_taken_keep_their_places_only_so_long(
    tmp_path: Path, patience_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "orcs.rpc")
    settings = settings_in(tmp_path, insecure_no_auth=True)
    running = Server(settings, {"HOME": str(tmp_path)}, slow_after_s=patience_s)
    get = _s.GetMemoryRequest(scope="global", key="large")
    async with running as server, connected(str(server.address), None) as client:
        large = common_pb2.Part(text="x" * 300_000)
        put = memory_pb2.MemoryPut(scope="global", key="large", value=large)
        await client.call("PutMemory", _s.PutMemoryRequest(put=put))
        raw = await asyncio.to_thread(RawClient, str(server.address), "")
        with raw:
            # A namespace that is alone has half of the places: all of them are held by replies larger than a window.
            streams = {raw.call(METHOD, get) for _ in range(admission.AT_ONCE // 2)}
            await asyncio.to_thread(raw.begun, streams)
            waiting = asyncio.ensure_future(client.call("GetMemory", get))
            if patience_s > 60:
                # Nothing is given up before its time.
                await asyncio.wait([waiting], timeout=1.5)
                assert not waiting.done()
                assert "was not taken" not in caplog.text
            else:
                assert (await asyncio.wait_for(waiting, 60)).entry.value.text == large.text
                assert caplog.text.count("the reply of a call of GetMemory was not taken") >= 1
            trailers = await asyncio.to_thread(raw.drain, streams)
            assert {trailers[stream].get("grpc-status") for stream in streams} == {"0"}
            await waiting
