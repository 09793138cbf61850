"""``anysched completion``: scripts for shells, made from the tree of parsers.

A script is a list of what may follow each command, and a few lines of shell that look it up: nothing of Python runs
when somebody presses the tab key.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any, cast

from anysched.cli.tree import build_parser

__all__ = ["completion", "words_by_command"]

_BASH = """\
# bash completion for anysched
_anysched() {{
    local command="" word i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        case " ${{_anysched_commands[*]}} " in
            *" ${{command:+${{command}}/}}${{word}} "*) command="${{command:+${{command}}/}}${{word}}" ;;
        esac
    done
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" words=""
    case "${{command}} ${{before}}" in
{choices}
        *) case "${{command}}" in
{commands}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "${{words}}" -- "${{current}}"))
}}
_anysched_commands=({names})
complete -o default -F _anysched anysched
"""

_ZSH = """\
# zsh completion for anysched
autoload -Uz +X bashcompinit && bashcompinit
"""


def completion(arguments: Namespace) -> int:
    """Carry out ``anysched completion``."""
    parser = build_parser()

    if arguments.shell == "fish":
        print("\n".join(_fish(parser)))
    else:
        print((_ZSH if arguments.shell == "zsh" else "") + _bash(parser), end="")

    return 0


def words_by_command(parser: ArgumentParser) -> dict[str, list[str]]:
    """What may follow each command, as ``entries/ls``; the program itself is the empty text."""
    return {path: sorted(_words(found)) for path, found in _walk(parser, "")}


def _walk(parser: ArgumentParser, path: str) -> Iterator[tuple[str, ArgumentParser]]:
    yield path, parser

    for name, child in _children(parser).items():
        yield from _walk(child, f"{path}/{name}" if path else name)


def _children(parser: ArgumentParser) -> Mapping[str, ArgumentParser]:
    for action in _actions(parser):
        if action.nargs == "A...":
            return cast("Mapping[str, ArgumentParser]", action.choices)

    return {}


def _words(parser: ArgumentParser) -> Iterator[str]:
    yield from _children(parser)

    for action in _actions(parser):
        yield from (option for option in action.option_strings if option.startswith("--"))

        if not action.option_strings and action.nargs != "A...":
            yield from map(str, cast("Any", action.choices or ()))


def _actions(parser: ArgumentParser) -> list[Action]:
    # argparse has no public way to look at what was added.
    return cast("list[Action]", vars(parser)["_actions"])


def _bash(parser: ArgumentParser) -> str:
    commands = words_by_command(parser)
    choices = [
        f'''        "{path} {option}") words="{" ".join(map(str, action.choices))}" ;;'''
        for path, found in _walk(parser, "")
        for action in _actions(found)
        for option in action.option_strings
        if action.choices is not None
    ]
    return _BASH.format(
        choices="\n".join(choices),
        commands="\n".join(
            f'''            "{path}") words="{" ".join(words)}" ;;''' for path, words in commands.items()
        ),
        names=" ".join(path for path in commands if path),
    )


def _fish(parser: ArgumentParser) -> Iterator[str]:
    yield "# fish completion for anysched"

    for path, found in _walk(parser, ""):
        words = path.split("/") if path else []
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        children = _children(found)
        none = f"not __fish_seen_subcommand_from {' '.join(children)}" if children else ""
        condition = "; and ".join(filter(None, [seen, none])) or "true"

        if children:
            yield f"complete -c anysched -f -n '{condition}' -a '{' '.join(children)}'"

        for action in _actions(found):
            if action.choices is not None and not action.option_strings and not children:
                yield f"complete -c anysched -f -n '{condition}' -a '{' '.join(map(str, action.choices))}'"

            for option in (option for option in action.option_strings if option.startswith("--")):
                takes = "" if action.nargs == 0 else " -r"
                given = f" -a '{' '.join(map(str, action.choices))}'" if action.choices is not None else ""
                told = (action.help or "").replace("'", "").replace("%", "")
                yield f"complete -c anysched -n '{condition}' -l {option[2:]}{takes}{given} -d '{told}'"
