"""Completion of tasks and options for the user's shell."""

from __future__ import annotations

from orrery import params

SHELLS = ("bash", "zsh")

_BASH = """_orrery_lab() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(
    compgen -W "$("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]}" 2>/dev/null)" \\
      -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _orrery_lab ./lab lab
"""

_ZSH = """autoload -Uz bashcompinit && bashcompinit
"""


def script(shell_name: str) -> str:
    """What the user's shell has to evaluate: `eval "$(./lab completion bash)"`.

    Raises:
        UsageError: It is neither bash nor zsh.
    """
    word = params.choice("shell", shell_name, SHELLS)
    return _BASH if word == "bash" else _ZSH + _BASH
