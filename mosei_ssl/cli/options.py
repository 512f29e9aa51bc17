"""A verb's options: dashes or underscores in their names, and mistakes told in one line."""

import re
from argparse import ArgumentError
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.utils.errors import UserError

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list such as [a,b]",
    "NoneType": "null",
}


def make_parser(program: str) -> ArgumentParser:
    """An empty parser that leaves it to `parse_options` to say what is wrong."""
    return ArgumentParser(
        prog=program, print_config="--print-config", exit_on_error=False, allow_abbrev=False
    )


def parse_options(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse a verb's arguments; what the line says wins over --config, wherever that stands.

    Args:
        parser: from `make_parser`, with all options added.
        arguments: what follows the verb.

    Returns:
        The options.

    Raises:
        UserError: an option or a value is wrong, or a required one is missing.

    Example:
        >>> parser = make_parser("mosei-ssl build")
        >>> _ = parser.add_argument("--data-dir", type=str)
        >>> parse_options(parser, ["--data_dir", "data"]).data_dir
        'data'
    """
    known = _spellings(parser)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled = [_spell(argument, known) for argument in arguments[:end]]
    files, others = [], []
    pieces = iter(spelled)
    for piece in pieces:
        if piece == "--config":
            files += [piece, *islice(pieces, 1)]
        elif piece.startswith("--config="):
            files.append(piece)
        else:
            others.append(piece)
    try:
        # jsonargparse applies a file where it stands, over the options before it.
        return parser.parse_args([*files, *others, *arguments[end:]])
    except ArgumentError as error:
        names = [file.removeprefix("--config=") for file in files if file != "--config"]
        given = {piece.partition("=")[0] for piece in spelled}
        message = _explain(str(error), known, given, ", ".join(names))
        raise UserError(f"{message} `{parser.prog} --help` explains all options.") from error


def nearest(name: str, names: Iterable[str]) -> str:
    """The closest of some names in brackets, or nothing if none is close.

    Example:
        >>> nearest("trian", ["pretrain", "build"])
        ' (nearest: pretrain)'
    """
    close = get_close_matches(name, list(names), 1)
    return f" (nearest: {close[0]})" if close else ""


def _spellings(parser: ArgumentParser) -> dict[str, str]:
    """The parser's own spelling of every option, by its name with dashes."""
    # The full usage line is the one public list of them; ours may be a shorter one.
    shown, parser.usage = parser.usage, None
    options = re.findall(r"--[\w.-]+", parser.format_usage())
    parser.usage = shown
    return {_plain(option): option for option in options}


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _spell(argument: str, known: dict[str, str]) -> str:
    if not argument.startswith("--"):
        return argument
    name, sign, value = argument.partition("=")
    return known.get(_plain(name), name) + sign + value


def _explain(message: str, known: dict[str, str], given: set[str], file: str) -> str:
    """What argparse and jsonargparse say over several lines, in one."""
    where = f"{file}: " if file else ""
    if found := re.match(r"unrecognized arguments: (\S+)", message):
        name = found[1].partition("=")[0]
        if not name.startswith("-"):
            return f"nothing is expected at {name!r}."
        return f"there is no option {name}{_nearest_option(name, known)}."
    if found := re.match(r"the following arguments are required: (.*)", message):
        missing = [known.get(_plain(name), name.upper()) for name in found[1].split(", ")]
        return f"{' and '.join(missing)} must be given."
    if found := re.match(r"(?:Group '(.*)' does not accept o|O)ption '(.*?)'", message):
        key = ".".join(part for part in found.groups() if part)
        keys = {plain: plain.replace("-", "_") for plain in known}
        return f"{where}there is no option {key}{_nearest_option(key, keys)}."
    if found := re.match(r'Parser key "(.*?)":\s*(.*)', message, re.DOTALL):
        name = known.get(_plain(found[1]), found[1])
        return f"{'' if name in given else where}{name} {_wrong_value(found[2])}"
    if found := re.match(r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)", message):
        return f"{found[1]} is {found[2]}, but must be one of {found[3]}."
    if message.startswith("argument "):
        return f"{_one_line(message.removeprefix('argument '))}."
    return f"{where}{_one_line(message)}."


def _nearest_option(name: str, known: dict[str, str]) -> str:
    """Like `nearest`, for options of which a user may know the last part only."""
    same_end = [known[plain] for plain in known if plain.endswith(f".{_plain(name)}")]
    if same_end:
        return f" (nearest: {', '.join(same_end)})"
    ends = {plain.rpartition(".")[2]: option for plain, option in reversed(known.items())}
    candidates = {**ends, **known}
    close = get_close_matches(_plain(name), candidates, 1)
    return f" (nearest: {candidates[close[0]]})" if close else ""


def _wrong_value(message: str) -> str:
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    wanted = re.findall(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])", message)
    if not value or not wanted:
        return f"cannot be used: {_one_line(message)}."
    kinds = [
        _KINDS.get(kind, kind) or ("one of " if "," in literal else "") + literal
        for kind, literal in wanted
    ]
    return f"is {value[1]!r}, but must be {' or '.join(kinds)}."


def _one_line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
