"""Profiles, and the ways in which a plan is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import (
    CATALOGUE,
    PROFILES,
    Actor,
    Group,
    Plan,
    PlanError,
    UnknownFaultError,
    load_plan,
    parse_plan,
)


def faults_of(name: str) -> set[str]:
    return {rule.fault.name for rule in PROFILES[name].plan.rules}


@pytest.mark.parametrize("name", PROFILES)
def test_profile_is_a_plan_for_any_run(name: str) -> None:
    profile = PROFILES[name]
    assert profile.name == name
    assert parse_plan(str(profile.plan)) == profile.plan
    profile.plan.check_queues(1)
    assert all(rule.words != "never" for rule in profile.plan.rules)
    assert profile.as_dict()["text"] == str(profile.plan)


def test_profiles_hold_what_they_promise() -> None:
    def of(*wanted: object) -> set[str]:
        return {f.name for f in CATALOGUE.values() if f.group in wanted or f.actor in wanted}

    assert faults_of("smoke") == {"bad-pad", "bad-area", "bad-index"}
    assert faults_of("malformed") == of(Group.CONTENT)
    assert faults_of("hostile") == of(Actor.CONSUMER)
    # A set-up that fails is all there is to its run, and areas are added to a run that plans them.
    assert faults_of("chaos") == set(CATALOGUE) - {"setup-fail", "add-area"}


def test_no_profile_is_called_like_a_fault() -> None:
    assert not set(PROFILES) & {*CATALOGUE, "none", ""}


def test_plan_is_a_profile_a_file_or_a_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('[[rule]]\nfault = "alias"\nat = 3\n')
    assert load_plan("smoke") == PROFILES["smoke"].plan
    assert load_plan(" smoke ") == PROFILES["smoke"].plan
    assert load_plan("mine.toml") == load_plan(str(tmp_path / "mine.toml"))
    assert load_plan("mine.toml") == load_plan("alias:at=3") == parse_plan("alias:at=3")
    assert load_plan("none") == load_plan("") == Plan()


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("smoek", UnknownFaultError, "'smoek' is neither a fault nor a profile; did you mean 's"),
        ("hostil", UnknownFaultError, "did you mean 'hostile'?"),
        ("xyzzy", UnknownFaultError, "'zcrx-emu faults list' shows what there is"),
        ("bad-pda:0.1", UnknownFaultError, "'bad-pda' is not a fault; did you mean 'bad-pad'?"),
        ("nosuch.toml", PlanError, "'nosuch.toml' is not a file that exists"),
        ("alias", PlanError, "alias has no trigger"),
        ("\0.toml", PlanError, "is not a file that exists"),
        (",", PlanError, "empty rule"),
    ],
)
def test_what_is_none_of_them_is_refused(text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        load_plan(text)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_profile_may_be_part_of_a_plan() -> None:
    """Its rules stand where its name stood; the others are as if they were alone."""
    plan = load_plan("alias:at=3, malformed ,bad-pad:1%")
    malformed = PROFILES["malformed"].plan.rules
    alias, pad = parse_plan("alias:at=3").rules, parse_plan("bad-pad:1%").rules
    assert plan.rules == (*alias, *malformed, *pad)
