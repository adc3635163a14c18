from collections.abc import Callable
from typing import Any

import pytest

from toolwire import Agent, Breaker, JsonLines, Policy, Retry, Rule, Runtime, Sqlite, Tool, Trim, scripted, tool
from toolwire.protocol.failures import Misuse

TOOL: list[tuple[dict[str, Any], str]] = [
    ({"confrim": True}, "there is no 'confrim'; do you mean 'confirm'?"),
    ({"destructve": True}, "do you mean 'destructive'?"),
    ({"retry": 3}, "do you mean 'retries'?"),
    ({"destructive": "no"}, "f: destructive must be True or False, not 'no'"),
    ({"untrusted": 1}, "f: untrusted must be True or False, not 1"),
    ({"timeout": "5"}, "f: timeout must be more than 0 s, or None, not '5'"),
    ({"concurrency": 0}, "f: concurrency must be a whole number, 1 or more, not 0"),
    ({"concurrency": "2"}, "f: concurrency must be a whole number, 1 or more, not '2'"),
    ({"rate": 10}, "f: rate must be a text such as '10/s'"),
    ({"breaker": 5}, "f: breaker must be True, False or a Breaker, not 5"),
    ({"retries": "3"}, "f: retries must be from 0 to 1000, not '3'"),
    ({"retries": 2.5}, "f: retries must be from 0 to 1000, not 2.5"),
    ({"retries": True}, "f: retries must be from 0 to 1000, not True"),
    ({"retries": Retry(2, first="1")}, "f: the waits between retries can't be '1' s"),  # type: ignore[arg-type]
    ({"read_only": True, "cache": True}, "f: cache must be a number of seconds, more than 0, not True"),
    ({"read_only": True, "share": "yes"}, "f: share must be True or False, not 'yes'"),
    ({"read_only": True, "destructive": True}, "f: what is read_only changes nothing, so it can't be destructive"),
    ({"result_bytes": "1k"}, "f: result_bytes must be a whole number, 1 or more, or None, not '1k'"),
]


def f(x: int = 1) -> int:
    return x


@pytest.mark.parametrize(("options", "said"), TOOL)
def test_an_option_that_would_be_ignored_or_break_later_is_refused_where_it_stands(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Misuse) as refused:
        tool(**options)(f)
    assert said in str(refused.value)
    with pytest.raises(Misuse):
        Tool.from_schema("f", "", {"type": "object"}, lambda _: 1, **options)


RUNTIME: list[tuple[dict[str, Any], str]] = [
    ({"policy": Rule(deny="x")}, "Runtime: policy must be a Policy, such as Policy(Rule(deny='delete_*'))"),
    ({"audit": JsonLines("calls.jsonl")}, "Runtime: audit must be a list of sinks"),
    ({"audit": "calls.jsonl"}, "Runtime: audit must be a list of sinks"),
    ({"audit": [3]}, "Runtime: audit must be a list of sinks"),
    ({"history": "100"}, "Runtime: history must be a whole number, 0 or more, not '100'"),
    ({"threads": 0}, "Runtime: threads must be a whole number, 1 or more, not 0"),
    ({"processes": "2"}, "Runtime: processes must be"),
    ({"call_seconds": 0}, "Runtime: call_seconds must be more than 0 s, not 0"),
    ({"taint": "no"}, "Runtime: taint must be True or False, not 'no'"),
]


@pytest.mark.parametrize(("options", "said"), RUNTIME)
def test_a_runtime_refuses_what_it_could_not_hold(options: dict[str, Any], said: str) -> None:
    Runtime(policy=Policy(), audit=[JsonLines("calls.jsonl")], processes=0)
    with pytest.raises(Misuse) as refused:
        Runtime(**options)
    assert said in str(refused.value)


AGENT: list[tuple[dict[str, Any], str]] = [
    ({"eager": True}, "the agent 'a': eager must be 'read_only', 'all' or 'off', not True"),
    ({"references": "yes"}, "the agent 'a': references must be True or False, not 'yes'"),
    ({"limits": {"confirm_withn": 3}}, "the agent 'a', limits: there is no 'confirm_withn'; do you mean"),
    ({"limits": {"seconds": "3"}}, "the agent 'a', limits: seconds must be 0 s or more, not '3'"),
    ({"limits": {"confirm_within": float("nan")}}, "the agent 'a', limits: confirm_within must be 0 s or more"),
    ({"limits": 3}, "the agent 'a': limits are a dict, such as {'rounds': 5}, not 3"),
    ({"tools": "find_flight"}, "the agent 'a': tools must be a list"),
    ({"tools": f}, "the agent 'a': tools must be a list"),
    ({"settings": "x"}, "the agent 'a': settings must be a dict, such as {'temperature': 0.2}, not 'x'"),
    ({"system": ["Be brief."]}, "the agent 'a': system must be a text, or None, not ['Be brief.']"),
    ({"memory": Trim}, "the agent 'a': memory must be an object with shorten"),
]


@pytest.mark.parametrize(("options", "said"), AGENT)
def test_an_agent_refuses_what_it_could_not_mean(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Misuse) as refused:
        Agent("a", scripted([]), **options)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (JsonLines, {"largest": 0}),
        (JsonLines, {"keep": -1}),
        (JsonLines, {"content": "no"}),
        (Sqlite, {"most": 0}),
        (Sqlite, {"content": "no"}),
    ],
)
def test_a_sink_keeps_neither_nothing_nor_what_it_is_told_not_to(
    kind: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(Misuse, match=f"{next(iter(options))} must be"):
        kind("calls", **options)


def test_a_breaker_counts_in_whole_numbers() -> None:
    with pytest.raises(Misuse, match="a breaker counts 1 failure"):
        Breaker(failures="x")  # type: ignore[arg-type]
