"""A worker process that is left alone ends: by the kernel, and where that can't do it, by a thread."""

import os
import subprocess
import sys

import anyio
import pytest

pytestmark = pytest.mark.anyio

PROGRAM = """
import fcntl, os, sys
{before}
from toolwire.actors.outpost import watch
watch(int(sys.argv[1]))
os.write(1, b"ready")
while True:
    pass
"""


@pytest.mark.parametrize("before", ["", "del fcntl.F_SETSIG"], ids=["kernel", "thread"])
async def test_it_ends_when_its_lifeline_does(before: str) -> None:
    watched, lifeline = os.pipe()
    command = [sys.executable, "-c", PROGRAM.replace("{before}", before), str(watched)]
    with anyio.fail_after(60):
        async with await anyio.open_process(
            command, stdout=subprocess.PIPE, stderr=None, start_new_session=True, pass_fds=[watched]
        ) as process:
            os.close(watched)
            assert process.stdout is not None
            assert await process.stdout.receive() == b"ready"
            assert process.returncode is None
            os.close(lifeline)
            assert await process.wait() == -9


async def test_it_ends_when_it_had_none_to_begin_with() -> None:
    watched, lifeline = os.pipe()
    os.close(lifeline)
    command = [sys.executable, "-c", PROGRAM.replace("{before}", ""), str(watched)]
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, pass_fds=[watched], start_new_session=True, check=False)
    os.close(watched)
    assert ended.returncode in {1, -9}
    assert ended.stdout == b""
