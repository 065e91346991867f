"""What a file is that is to be checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.check.subject import Kind, subject_of
from emu.compile.provider_file import library_of
from emu.errors import ConfigError, EnvironmentProblem

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("as_library", [False, True])
def test_what_it_exports_decides(kind: Kind, as_library: bool) -> None:
    source = EXAMPLES / f"plain_{kind}.c"
    subject = subject_of(library_of(source) if as_library else source)
    assert subject.kind is kind
    assert subject.is_source is not as_library


def test_what_is_both_must_be_said(tmp_path: Path) -> None:
    both = tmp_path / "both.c"
    both.write_text("".join(f'#include "{EXAMPLES}/plain_{kind}.c"\n' for kind in Kind))
    with pytest.raises(ConfigError, match="exports both zcrx_provider and zcrx_consumer; say --as"):
        subject_of(both)
    assert subject_of(both, Kind.CONSUMER).kind is Kind.CONSUMER


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    neither = tmp_path / "neither.c"
    neither.write_text("int zcrx_provider_of_mine;\n")
    with pytest.raises(ConfigError, match=r"file: .*neither.c' is not allowed.*exports neither"):
        subject_of(neither)
    with pytest.raises(ConfigError, match=r"as: 'provider' is not allowed.*exports no zcrx_prov"):
        subject_of(neither, Kind.PROVIDER)


def test_what_does_not_compile_is_told_in_a_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int f(void) { return nothing; }\n")
    with pytest.raises(EnvironmentProblem, match="nothing"):
        subject_of(wrong)
    with pytest.raises(ConfigError, match=r"file: .* name the C source"):
        subject_of(tmp_path / "absent.c")
