"""``zcrx-emu completion``: what makes a shell complete its commands, options and values."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

_BASH = r"""# bash: what zcrx-emu understands, by TAB
_zcrx_emu() {
    local IFS=$'\n'
    COMPREPLY=($(_ZCRX_EMU_COMPLETE=bash _ZCRX_EMU_LINE="${COMP_LINE:0:COMP_POINT}" \
        _ZCRX_EMU_WORD="$2" "$1" 2>/dev/null))
    # What goes on gets no space behind it.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=/,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _zcrx_emu zcrx-emu
"""

_ZSH = r"""#compdef zcrx-emu
# zsh: what zcrx-emu understands, by TAB
_zcrx_emu() {
    local value text separator=$'\x1f'
    local -a whole whole_shown open open_shown
    while IFS=$'\t' read -r value text; do
        [[ -n $text ]] && text="$value  -- $text" || text=$value
        if [[ $value == *[:=/,] ]]; then
            open+=("$value") open_shown+=("$text")
        else
            whole+=("$value") whole_shown+=("$text")
        fi
    done < <(_ZCRX_EMU_COMPLETE=zsh \
        _ZCRX_EMU_WORDS="${(pj:$separator:)${(@Q)words[1,CURRENT-1]}}$separator${(Q)PREFIX}" \
        ${(Q)words[1]} 2>/dev/null)
    if (( $#whole + $#open == 0 )); then
        _files
        return
    fi
    (( $#whole )) && compadd -l -d whole_shown -a whole
    (( $#open )) && compadd -l -S '' -d open_shown -a open
}
if [[ ${funcstack[1]} == _zcrx-emu ]]; then
    _zcrx_emu "$@"
else
    compdef _zcrx_emu zcrx-emu
fi
"""

_FISH = r"""# fish: what zcrx-emu understands, by TAB
function __zcrx_emu
    set -l words (commandline -cop)
    set -l typed (commandline -ct | string collect)
    set -lx _ZCRX_EMU_WORDS (string join \x1f -- $words "$typed" | string collect)
    set -lx _ZCRX_EMU_COMPLETE fish
    set -l offers ($words[1] 2>/dev/null)
    if test (count $offers) -eq 0
        __fish_complete_path "$typed"
    else
        printf '%s\n' $offers
    end
end
complete --command zcrx-emu --no-files --keep-order --arguments '(__zcrx_emu)'
"""


class Shell(StrEnum):
    """Those that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}


def command(
    shell: Annotated[Shell, typer.Argument(help="Which one.")],
) -> None:
    """Write what makes a shell complete this command's words by TAB."""
    print(SCRIPTS[shell], end="")
