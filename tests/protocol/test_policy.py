"""What rules say of a call, against their plain meaning."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Failure, Misuse
from toolwire.protocol.policy import VERDICTS, Limit, Policy, Rule, Subject
from toolwire.protocol.rate import Rate

ANA = Subject("travel", "user-42", '{"user":"ana","role":"guest","age":7,"ok":true}')


def allowed(policy: Policy, tool: str, subject: Subject = ANA) -> bool:
    return policy.verdict(tool, subject).denied is None


def test_without_rules_everything_is_allowed() -> None:
    assert Policy().verdict("anything", ANA) == (None, "", ())


@pytest.mark.parametrize(
    ("rule", "tool", "fits"),
    [
        (Rule(deny="delete_*"), "delete_all", False),
        (Rule(deny="delete_*"), "undelete_all", True),
        (Rule(deny="delete_*"), "Delete_all", True),
        (Rule(deny=("a", "b?")), "b1", False),
        (Rule(deny=["a", "b?"]), "b", True),
        (Rule(deny={"a", "b?"}), "bb", False),
        (Rule(deny="*"), "x", False),
        (Rule(allow="get_*"), "get_x", True),
        (Rule(allow="get_*"), "set_x", False),
        (Rule(allow=()), "x", False),
        (Rule(allow="*", deny="x"), "x", False),
        (Rule(tools="mail_*", allow="mail_read"), "mail_send", False),
        (Rule(tools="mail_*", allow="mail_read"), "other", True),
        (Rule(agent="travel", deny="x"), "x", False),
        (Rule(agent="tra*", deny="x"), "x", False),
        (Rule(agent="other", deny="x"), "x", True),
        (Rule(agent="", deny="x"), "x", True),
        (Rule(conversation="user-*", deny="x"), "x", False),
        (Rule(conversation="", deny="x"), "x", True),
        (Rule(caller={"role": "guest"}, deny="x"), "x", False),
        (Rule(caller={"role": "g*", "user": "ana"}, deny="x"), "x", False),
        (Rule(caller={"role": "guest", "user": "bob"}, deny="x"), "x", True),
        (Rule(caller={"missing": "*"}, deny="x"), "x", True),
        (Rule(caller={"age": 7}, deny="x"), "x", False),
        (Rule(caller={"age": "*"}, deny="x"), "x", True),
        (Rule(caller={"ok": True}, deny="x"), "x", False),
        (Rule(caller={"ok": 1}, deny="x"), "x", True),
    ],
)
def test_one_rule(rule: Rule, tool: str, *, fits: bool) -> None:
    assert allowed(Policy(rule), tool) is fits


@pytest.mark.parametrize("caller", ["", "null", '"ana"', "[1]", "{", "7"])
def test_a_caller_that_is_no_object_has_no_fields(caller: str) -> None:
    policy = Policy(Rule(caller={"user": "*"}, deny="*"), Rule(deny="x"))
    assert allowed(policy, "y", Subject("", "", caller))
    assert not allowed(policy, "x", Subject("", "", caller))


def test_of_several_that_allow_one_is_enough_and_of_those_that_deny_too() -> None:
    policy = Policy(Rule(allow="get_*"), Rule(allow="list_*"), Rule(deny="*_secret"))
    assert [allowed(policy, tool) for tool in ("get_x", "list_x", "set_x", "get_secret")] == [True, True, False, False]


globs = st.text("ab*?", min_size=1, max_size=3)


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.lists(globs, max_size=2)), st.lists(globs, max_size=2)), max_size=4),
    st.text("ab", min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_it_means_what_it_says_in_any_order(lists: Any, tool: str, random: Any) -> None:
    denied = any(fnmatchcase(tool, glob) for _, deny in lists for glob in deny)
    allowing = [allow for allow, _ in lists if allow is not None]
    lets = not allowing or any(fnmatchcase(tool, glob) for allow in allowing for glob in allow)
    rules = [Rule(allow=allow, deny=deny) for allow, deny in lists]
    assert allowed(Policy(*rules), tool) is (lets and not denied)
    random.shuffle(rules)
    assert allowed(Policy(*rules), tool) is (lets and not denied)


def test_a_refusal_names_the_rule_and_the_tool() -> None:
    policy = Policy(Rule(allow="get_*"), Rule(name="no mail", deny="mail_*"))
    failure = policy.verdict("mail_send", ANA).denied
    assert isinstance(failure, Failure)
    assert (failure.code, failure.effect, failure.retryable) == ("not_allowed", "none", False)
    assert failure.details == {"by": "no mail", "tool": "mail_send"}
    assert "'mail_send' is not allowed here (no mail)" in failure.message
    other = policy.verdict("set_x", ANA).denied
    assert isinstance(other, Failure)
    assert other.details["by"] == "rule 1"
    long = policy.verdict("x" * 10_000, ANA).denied
    assert len(str(long)) < 500


def test_who_asks_is_named() -> None:
    policy = Policy(
        Rule(name="money", confirm="pay_*"), Rule(confirm=("*_all",)), Rule(caller={"user": "bob"}, confirm="*")
    )
    assert policy.verdict("pay_all", ANA).confirm == "money, rule 2 asks for that"
    assert policy.verdict("pay_one", ANA).confirm == "money asks for that"
    assert policy.verdict("get", ANA).confirm == ""


def test_limits_are_of_the_rules_that_are_about_the_call() -> None:
    policy = Policy(
        Rule(name="mails", tools="mail_*", rate="30/m", per="caller"),
        Rule(name="few", concurrency=2, per="conversation"),
        Rule(name="bob", caller={"user": "bob"}, rate="1/h"),
    )
    mails, few = policy.verdict("mail_send", ANA).limits
    assert mails == Limit(0, "mails", Rate(30, 60.0), None, "caller")
    assert (mails.key(ANA), few.key(ANA)) == (ANA.caller, "user-42")
    assert policy.verdict("get", ANA).limits == (few,)
    assert Limit(0, "", None, 1, "all").key(ANA) == ""


def test_verdicts_are_remembered_and_bounded() -> None:
    policy = Policy(Rule(deny="x"))
    assert policy.verdict("y", ANA) is policy.verdict("y", ANA)
    for n in range(VERDICTS + 10):
        policy.verdict("y", Subject(conversation=str(n)))
    assert len(policy._verdicts) <= VERDICTS


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": "often"},
        {"concurrency": 0},
        {"per": "tool"},
        {"deny": [1]},
        {"tools": [None]},
        {"allow": [b"x"]},
        {"allow": 5},
        {"deny": b"x"},
        {"deny": None},
        {"caller": "ana"},
        {"agent": ("a", "b")},
        {"conversation": None},
    ],
)
def test_a_rule_that_is_none_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        Rule(**wrong)


def test_a_policy_is_made_of_rules() -> None:
    with pytest.raises(Misuse, match="made of rules"):
        Policy({"deny": "x"})  # type: ignore[arg-type]  # it is refused
    assert repr(Policy(Rule(name="no mail"), Rule())) == "<Policy no mail, rule 2>"
