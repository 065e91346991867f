"""SARIF: valid by the standard, and true in what it says of places and of what was looked at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import emu.verdict.audit
from emu.cli.root import load
from emu.errors import ConfigError, EnvironmentProblem
from emu.formats import of_fuzz
from emu.formats.made import check_log, log_of
from emu.formats.operations import MEMBERS, operations_of
from emu.formats.rules import RULES, rule_of_fuzz, rule_of_race, rule_of_run
from emu.formats.sarif import ROOT, Mistake, Spot, log

from .conftest import BROKEN, EXAMPLES, Check, fuzz_finding


def line_of(text: str, file: Path = BROKEN) -> int:
    (line,) = (n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)
    return line


def begins(text: str, file: Path = BROKEN) -> tuple[int, int]:
    """Where a function may be said to begin: its head, or its first brace."""
    return line_of(text, file), line_of(text, file) + 1


def region(result: dict[str, Any]) -> tuple[str, int]:
    place = result["locations"][0]["physicalLocation"]
    return place["artifactLocation"]["uri"], place["region"]["startLine"]


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing counts which lines ran."""

    def touched_by(*_: object) -> None:
        raise EnvironmentProblem("coverage: it needs clang, which is not installed")

    monkeypatch.setattr(of_fuzz, "touched_by", touched_by)


# ---- rules ------------------------------------------------------------------------------


def test_each_kind_of_mistake_has_a_rule() -> None:
    assert rule_of_fuzz("verdict:accepted:no_user_ref") == "fuzz/verdict"
    assert rule_of_fuzz("asan:heap-buffer-overflow") == "fuzz/sanitizer"
    assert rule_of_fuzz("crash:exit-77") == "fuzz/sanitizer"
    assert rule_of_fuzz("crash:SEGV") == "fuzz/crash"
    assert rule_of_race("NOT_IN_ONE_PLACE", "wrong") == rule_of_race("PP_REFS", "wrong")
    assert rule_of_race("DATA_RACE", "race") == "race/data-race"
    assert rule_of_race("", "crash") == "race/crash"
    source = Path(str(emu.verdict.audit.__file__)).read_text()
    names = set(re.findall(r'(?:Statement\(\s*|name = )"(\w+)"', source))
    assert len(names) > 8
    for name in names:
        assert rule_of_run(f"{name}: words") == f"run/{name.replace('_', '-')}"
    assert rule_of_run("provider was killed by SIGSEGV in scrub() of queue 0") == "run/death"


def test_rules_are_told_in_full() -> None:
    assert len(RULES) > 60
    for rule in RULES.values():
        assert rule.full.startswith(rule.short)
        assert rule.short.endswith(".")
        assert "{" not in rule.full, rule


# ---- where ------------------------------------------------------------------------------


def test_operations_are_found_in_the_source_through_the_table() -> None:
    places = operations_of(BROKEN, "provider")
    assert places.keys() == set(MEMBERS["provider"])
    found = places["alloc_netmems"]
    assert found.function == "hasty_alloc_netmems"
    assert Path(found.path) == BROKEN
    assert found.line in begins("static bool hasty_alloc_netmems")
    assert Path(places["scrub"].path).name == "plain_provider.c", "it is included"
    run = operations_of(EXAMPLES / "plain_consumer.c", "consumer")["run"]
    assert run.line in begins("static int run(struct", EXAMPLES / "plain_consumer.c")


@pytest.mark.parametrize(
    "text",
    [
        "int nothing;\n",
        "__attribute__((constructor)) static void end(void) { __builtin_trap(); }\n",
    ],
)
def test_file_that_cannot_be_opened_has_no_operations(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.c").write_text(text)
    assert operations_of(tmp_path / "wrong.c", "provider") == {}


def test_paths_begin_at_the_repository(
    tmp_path: Path, run_of: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a repo" / "sub"
    folder.mkdir(parents=True)
    (tmp_path / "a repo" / ".git").mkdir()
    monkeypatch.chdir(folder)
    spots = [Spot("ü b.c", 3), Spot(str(tmp_path / "out.c")), Spot("/cext/kernel/area.c", 2, 4)]
    mistakes = [Mistake("fuzz/head", str(n), "No.", spot) for n, spot in enumerate(spots)]
    run = run_of(log("fuzz", "ü b.c", mistakes, [], tools=["fuzz"], properties={}))
    inside, outside, ours = (item["locations"][0]["physicalLocation"] for item in run["results"])
    assert inside["artifactLocation"] == {"uri": "sub/%C3%BC%20b.c", "uriBaseId": ROOT}
    assert run["originalUriBaseIds"][ROOT]["uri"] == f"{(tmp_path / 'a repo').as_uri()}/"
    assert outside == {"artifactLocation": {"uri": (tmp_path / "out.c").as_uri()}}
    assert ours["artifactLocation"] == {"uri": "cext/kernel/area.c", "uriBaseId": "ZCRX_EMU"}
    assert ours["region"] == {"startLine": 2, "endLine": 4}


@pytest.mark.usefixtures("blind")
def test_without_counts_the_operation_that_is_called_is_named(
    broken_fuzz: Path, run_of: Check
) -> None:
    (result,) = run_of(log_of(broken_fuzz))["results"]
    assert result["ruleId"] == "fuzz/verdict"
    assert region(result)[1] in begins("static bool hasty_alloc_netmems")
    text = result["message"]["text"]
    assert text.startswith("An entry earned another verdict: verdict of the entry at index 0")
    assert "was accepted instead of no_user_ref." in text
    assert "which lines ran is not known" in text
    assert "relatedLocations" not in result


@pytest.mark.long
def test_lines_are_those_that_the_failing_operation_ran(broken_fuzz: Path, run_of: Check) -> None:
    (result,) = run_of(log_of(broken_fuzz))["results"]
    assert region(result)[1] in begins("static bool hasty_alloc_netmems")
    ran = set()
    for related in result["relatedLocations"]:
        of = related["physicalLocation"]["region"]
        ran |= set(range(of["startLine"], of.get("endLine", of["startLine"]) + 1))
    assert line_of("ZCRX_PROVIDER_USER_REF, &niov->user_refs, 0)") in ran
    assert line_of("return judge(queue, pool, rqe, index, alias);") not in ran
    assert "the related lines are those that it ran" in result["message"]["text"]


@pytest.mark.long
def test_crash_is_where_the_sanitizer_says(tmp_path: Path, run_of: Check) -> None:
    provider = tmp_path / "crashing.c"
    provider.write_text(
        f'#define zcrx_provider other\n#include "{EXAMPLES}/plain_provider.c"\n'
        "#undef zcrx_provider\n"
        "static uint64_t crashing(struct zcrx_provider_queue *queue)\n{\n"
        "\tstatic uint32_t numbers[4];\n\n\treturn numbers[queue->num_niovs + 3]; /* here */\n}\n"
        "const struct zcrx_provider_ops zcrx_provider = {\n\t.abi = ZCRX_PROVIDER_ABI,\n"
        "\t.size = sizeof(zcrx_provider), .name = \"crashing\", .init = plain_init,\n"
        "\t.alloc_netmems = plain_alloc_netmems, .release_netmem = plain_release_netmem,\n"
        "\t.destroy = plain_destroy, .scrub = crashing, .copy_buffer = plain_copy_buffer,\n};\n"
    )  # fmt: skip
    (result,) = run_of(log_of(fuzz_finding(provider, tmp_path, sanitize=True)))["results"]
    assert result["ruleId"] == "fuzz/sanitizer"
    assert region(result)[1] == line_of("/* here */", provider)
    assert "The line is where a sanitizer stopped it." in result["message"]["text"]


def test_race_is_a_flow_a_actor(broken_race: Path, run_of: Check) -> None:
    (result,) = run_of(log_of(broken_race))["results"]
    assert result["ruleId"] == "race/buffers"
    file, line = region(result)
    assert file.endswith(("broken_provider.c", "plain_provider.c"))
    assert line
    flows = result["codeFlows"][0]["threadFlows"]
    assert {flow["id"] for flow in flows} == {"control", "provider"}
    orders = [step["executionOrder"] for flow in flows for step in flow["locations"]]
    assert len(set(orders)) == len(orders) > 5
    files = {
        step["location"]["physicalLocation"]["artifactLocation"]["uri"]
        for flow in flows
        for step in flow["locations"]
    }
    assert any(file.endswith("_provider.c") for file in files), files
    assert "cext/sim/operations.c" in files
    scrubbed = flows[0]["locations"][0]["location"]
    assert scrubbed["message"]["text"] == "user refs of niov 0: 1 ⇒ 0"
    own = (EXAMPLES / "plain_provider.c").read_text().splitlines()
    assert "zcrx_exchange" in own[scrubbed["physicalLocation"]["region"]["startLine"] - 1]


# ---- the same mistake -------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.usefixtures("blind")
def test_fingerprint_stays_when_lines_move(
    tmp_path: Path, run_of: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    for moved in (0, 7):
        text = BROKEN.read_text().replace('"plain_provider.c"', f'"{EXAMPLES}/plain_provider.c"')
        (tmp_path / "mine.c").write_text("\n" * moved + text)
        path = fuzz_finding(tmp_path / "mine.c", tmp_path)
        (result,) = run_of(log_of(path))["results"]
        seen.append((region(result), result["partialFingerprints"]))
    (first, one), (second, other) = seen
    assert second == (first[0], first[1] + 7) == ("mine.c", second[1])
    assert one == other


def test_same_mistake_is_one_result(run_of: Check) -> None:
    mistakes = [Mistake("fuzz/head", "a", f"{n}.", Spot("x.c", n)) for n in (1, 2)]
    mistakes.append(Mistake("fuzz/head", "b", "Another.", Spot("x.c", 1)))
    results = run_of(log("fuzz", "x.c", mistakes, [], tools=["fuzz"], properties={}))["results"]
    assert [(item["message"]["text"], item["occurrenceCount"]) for item in results] == [
        ("1.", 2),
        ("Another.", 1),
    ]
    assert len({str(item["partialFingerprints"]) for item in results}) == 2


# ---- what was looked at -----------------------------------------------------------------


def tool(name: str, **changed: Any) -> dict[str, Any]:
    values = {"looked_at": "much", "blind": "little", "seconds": 1.0, "found": [], "log": "x"}
    return {
        "tool": name,
        **values,
        "why_not": None,
        "failed": False,
        "interrupted": False,
        **changed,
    }


def checked(*tools: dict[str, Any]) -> dict[str, Any]:
    frame = {"file": str(BROKEN), "kind": "provider", "kernel": "seed", "seed": 1, "seconds": 9.0}
    return {**frame, "folder": "/nowhere/check", "tools": list(tools)}


def test_pass_says_what_was_looked_at(run_of: Check) -> None:
    run = run_of(check_log(checked(tool("fuzz"), tool("stress: chaos"))))
    (invocation,) = run["invocations"]
    assert run["results"] == []
    assert invocation["executionSuccessful"] is True
    notes = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    assert notes[0] == "fuzz looked at much in 1.0 s; it does not see little"
    assert len(notes) == 2
    asked = {rule["id"].partition("/")[0] for rule in run["tool"]["driver"]["rules"]}
    assert asked == {"fuzz", "run"}


@pytest.mark.parametrize(
    ("changed", "level", "successful"),
    [
        ({"why_not": "no compiler", "failed": True}, "error", False),
        ({"why_not": "it is a library"}, "note", True),
        ({"interrupted": True}, "warning", False),
    ],
)
def test_who_could_not_look_is_no_pass(
    run_of: Check, changed: dict[str, Any], level: str, successful: bool
) -> None:
    run = run_of(check_log(checked(tool("race", **changed))))
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is successful
    assert invocation["toolExecutionNotifications"][-1]["level"] == level


def test_finding_whose_file_is_gone_is_told_in_part(run_of: Check) -> None:
    found = [{"what": "verdict:a:b", "where": "/nowhere/x.finding.json", "again": "again"}]
    run = run_of(check_log(checked(tool("fuzz", found=found))))
    (result,) = run["results"]
    assert (result["ruleId"], result["message"]["text"]) == (
        "fuzz/verdict",
        "verdict:a:b. Again: again",
    )
    assert region(result)[1] == line_of("zcrx_provider = {")
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["level"] for note in notes] == ["note", "error"]


def test_problem_of_a_run_leads_to_what_is_asked_for_it(tmp_path: Path, run_of: Check) -> None:
    problems = [
        "exactness: 5 of 9 verdicts are wrong",
        "provider was killed by SIGSEGV in scrub() of queue 0",
        "conservation: queue 0: 3 lost",
    ]
    explained = [{"kind": "conservation", "text": "A word of explanation."}]
    (tmp_path / "run.json").write_text(json.dumps({"explanation": explained}))
    found = [{"what": text, "where": str(tmp_path), "again": "again"} for text in problems]
    run = run_of(check_log(checked(tool("stress: hostile", found=found))))
    judges, died, table = run["results"]
    assert region(judges)[1] in begins("static bool hasty_alloc_netmems")
    assert region(died)[1] in begins("plain_scrub(struct", EXAMPLES / "plain_provider.c")
    assert region(table)[1] == line_of("zcrx_provider = {")
    assert "A word of explanation. No line is known" in table["message"]["text"]


# ---- the commands -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["check", str(BROKEN), "--sarif", "-"], "sarif: '-' is not allowed; name a file"),
        (["race", "--sarif", "/nowhere/x"], "sarif: '/nowhere/x' cannot be written"),
        (["race", "--list", "--sarif", "x"], "sarif: 'x' is not allowed; it is of a search"),
        (["fuzz", "--minimize", "y", "--sarif", "x"], "sarif: 'x' is not allowed; it is of a camp"),
        (["report", "a", "b", "--sarif", "x"], "sarif: 'x' is not allowed; it is of one"),
        (["report", str(BROKEN), "--sarif", "x"], "it is no report that is known here; name the"),
        (["report", "absent", "--sarif", "x"], "sarif: 'absent': No such file or directory; name"),
    ],
)
def test_wrong_use(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(line)):
        load(words[0]).main(words[1:], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_search_without_a_finding_is_written(
    tmp_path: Path, run_of: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--scenario", "refill-vs-scrub", "--memory", "sc", "--seed", "1", "--sarif", "a.sarif"]
    assert not load("race").main(words, standalone_mode=False)
    run = run_of(json.loads((tmp_path / "a.sarif").read_text()))
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"]
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "race looked at refill-vs-scrub: all of it" in note["message"]["text"]


def test_log_that_cannot_be_written_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--scenario", "refill-vs-scrub", "--memory", "sc", "--sarif", "/dev/full"]
    assert load("race").main(words, standalone_mode=False) == 2
    assert "no finding" in (said := capfd.readouterr()).out
    assert "/dev/full: cannot be written (No space left on device)" in said.err
