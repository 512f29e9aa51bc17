"""Who speaks in a recording: names in tables and in file names."""

import logging
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


def same_name(name: str) -> str:
    """What counts as one name; a spreadsheet makes 1 of 01."""
    if name.isdecimal():
        return str(int(name))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def own_speaker(recording: Path) -> str:
    """Stands for the speaker of a labelled recording of which none is known."""
    return f"file {recording}"


def name_finder(speaker_from: str) -> Callable[[Path], str | None]:
    """What finds a speaker in the name of a file, by a regular expression with a group."""
    try:
        pattern = re.compile(speaker_from)
    except re.error as error:
        raise UserError(f"--speaker-from {speaker_from!r}: {error}.") from None
    if not pattern.groups:
        raise UserError(f"--speaker-from {speaker_from!r} needs a group, as in '([a-z]+)_'.")

    def find(recording: Path) -> str | None:
        match = pattern.search(recording.stem) or pattern.search(recording.name)
        return same_name(match[1]) if match and match[1] else None

    return find


def complete_speakers(
    known: dict[Path, set[str]],
    labelled: Container[Path],
    recordings: Iterable[Path],
    speaker_from: str | None,
    table: Path,
) -> None:
    """Finds speakers in file names; a labelled recording without one counts as a speaker.

    They are added to those that the `table` names, `known` by recording.
    """
    named = name_finder(speaker_from or "$()")
    unfit, unknown, unlabelled = [], 0, []
    given = {speaker for speakers in known.values() for speaker in speakers}
    recordings = list(recordings)
    for recording in recordings:
        speakers = known.setdefault(recording, set())
        name = named(recording)
        if not name:
            unfit.append(recording.name)
        elif not speakers:
            speakers.add(name)
        if recording not in labelled:
            unlabelled.append(recording)
        elif not speakers:
            speakers.add(own_speaker(recording))
            unknown += 1
    if speaker_from and len(unfit) == len(recordings):
        raise UserError(
            f"--speaker-from {speaker_from!r} fits none of the {len(unfit)} file names, such as "
            f"{unfit[0]!r}."
        )
    if speaker_from and unfit:
        message = "--speaker-from %r does not fit %d of %d file names, %r for one"
        logger.warning(message, speaker_from, len(unfit), len(recordings), unfit[0])
    if unknown:
        logger.warning(
            "%s names no speaker of %d recordings: each counts as a different speaker, so the same "
            "voice may end up in training and test (add a column 'speaker', or --speaker-from)",
            *(table, unknown),
        )
    if given and unlabelled:
        warn_of_voices_heard_before(given, [known[r] for r in unlabelled])


def warn_of_voices_heard_before(
    given: AbstractSet[str], unlabelled: Sequence[AbstractSet[str]]
) -> None:
    """Recordings without labels are pretrained on, but for speakers known to be held out."""
    nameless = sum(not speakers for speakers in unlabelled)
    if nameless:
        logger.warning(
            "%d recordings without labels name no speaker: they are pretrained on, though they may "
            "be of validation or test speakers (add --speaker-from)",
            nameless,
        )
    names = set().union(*unlabelled)
    if names and not names & given:
        logger.warning(
            "no speaker of the recordings without labels (%r, ...) is one of the table's (%r, "
            "...): are they spelled alike?",
            *(min(names), min(given)),
        )
