"""`toolwire plan FILE`: what it reads, draws, and says is wrong."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from toolwire.actors.gateways.cli.app import main
from toolwire.actors.gateways.cli.calls_file import asked
from toolwire.protocol.failures import Misuse
from toolwire.protocol.spoken import FORMATS, format_named
from toolwire.protocol.tools import ToolCall, ToolSpec

CALLS: list[dict[str, Any]] = [
    {"id": "a", "tool": "find", "arguments": {"name": "x"}},
    {"id": "b", "tool": "write", "arguments": {"path": {"$result": 1}}},
]

TOOLS = """
from toolwire import tool

@tool
async def find(name: str) -> str:
    '''Find.'''
    raise AssertionError("nothing runs")

@tool(writes={"file:{path}"})
async def write(path: str) -> None:
    '''Write.'''
    raise AssertionError("nothing runs")

TOOLS = [find, write]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with tools in it, which the command is run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planned_tools.py").write_text(TOOLS)
    return tmp_path


def test_a_list_of_calls_is_drawn(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "calls.json").write_text(json.dumps(CALLS))
    assert main(["plan", "calls.json", "--tools", "planned_tools:TOOLS"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == ["level 1", "  1  find (a)", "level 2", "  2  write (b)   ◀━ 1"]


def test_a_call_that_would_be_refused_ends_the_command_with_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "calls.json").write_text(json.dumps([*CALLS, {"tool": "wrote"}]))
    assert main(["plan", "calls.json"]) == 0, "nothing is known of the tools"
    assert main(["plan", "calls.json", "--tools", "planned_tools:TOOLS", "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [call.get("refused", {}).get("code") for call in found["calls"]] == [None, None, "unknown_tool"]
    assert "did you mean 'write'?" in found["calls"][2]["refused"]["message"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"steps": CALLS}).encode())))
    assert main(["plan", "-"]) == 0
    assert "find (a)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[{"tool": "a"},\n {"tool": }]',
            "it is no JSON: JSON is malformed: invalid character (byte 26), in line 2, column 11",
        ),
        ("", "it is no JSON"),
        ("3", "neither a list of calls nor a response"),
        ('{"a": 1}', "an object with 'a'"),
        ("[3]", "entry 1 is a number"),
        ('[{"tool": "a"}, {"tol": "b"}]', "entry 2 has a key 'tol'"),
        ('[{"id": "a"}]', "entry 1 says not which tool"),
        ('[{"tool": "a", "name": "a"}]', "entry 1 says twice which tool"),
        ('[{"tool": "a", "arguments": []}]', "arguments of entry 1 are a list"),
        ('[{"tool": "a", "after": [1]}]', '"after" of entry 1 is a list'),
        ('[{"tool": "a", "id": 1}]', "the id of entry 1 is a number"),
        ('[{"type": "tool_use", "id": "a", "name": "b"}, {"type": "text"}]', "entry 2 is no call"),
        ('[{"function": {"name": 3}}]', "entry 1 can't be read as a call of openai"),
        ('{"choices": 3}', "can't be read as a response of openai"),
    ],
)
def test_a_file_that_holds_no_calls_is_asked_wrongly(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "calls.json"
    file.write_text(text)
    assert main(["plan", str(file)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "calls.json: " in shown


def test_a_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nowhere.json"]) == 2
    assert capsys.readouterr().err == "toolwire: nowhere.json can't be read: No such file or directory\n"


SPECS = [ToolSpec("files.read"), ToolSpec("find")]
MODEL_CALLS = [ToolCall("a", "find", '{"name":"x"}'), ToolCall("b", "files.read", '{"path":{"$result":1}}')]


@pytest.mark.parametrize("name", sorted({*FORMATS} - {"mcp"}))
def test_calls_in_the_words_of_a_provider_are_read_with_our_names(name: str) -> None:
    spoken = format_named(name)
    told = [spoken.call_to(call) for call in MODEL_CALLS]
    found = asked("-", json.dumps(told).encode(), SPECS)
    assert [(call.name, json.loads(call.text())) for call in found.calls] == [
        (call.name, json.loads(call.text())) for call in MODEL_CALLS
    ]
    assert not found.ids


def responses() -> dict[str, dict[str, Any]]:
    """Whole responses with two calls."""
    told = {name: [format_named(name).call_to(call) for call in MODEL_CALLS] for name in FORMATS}
    return {
        "openai": {"choices": [{"message": {"tool_calls": told["openai"]}, "finish_reason": "tool_calls"}]},
        "message": {"role": "assistant", "tool_calls": told["openai"]},
        "openai_responses": {"output": told["openai_responses"], "status": "completed"},
        "anthropic": {"role": "assistant", "content": told["anthropic"], "stop_reason": "tool_use"},
        "gemini": {"candidates": [{"content": {"parts": told["gemini"]}, "finishReason": "STOP"}]},
    }


@pytest.mark.parametrize("name", sorted(responses()))
def test_a_response_of_a_provider_is_read(name: str) -> None:
    found = asked("-", json.dumps(responses()[name]).encode(), SPECS)
    assert [call.name for call in found.calls] == ["find", "files.read"]
    assert not found.ids


def test_an_error_of_a_provider_is_no_response() -> None:
    with pytest.raises(Misuse, match="standard input"):
        asked("-", b'{"choices": [], "error": {"message": "no credit"}}')
