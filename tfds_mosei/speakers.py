"""Who speaks in which video, where a corpus says so."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfds_mosei.errors import CorpusError

_logger = logging.getLogger(__name__)

SPEAKERS_FILE = "speakers.json"


def read_speakers(folder: Path) -> dict[str, list[str]]:
    """Speakers by video id, sorted, from the corpus folder's ``speakers.json``; none without it."""
    path = folder / SPEAKERS_FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return {
            video: [names] if isinstance(names, str) else sorted(set(map(str, names)))
            for video, names in content.items()
            if names
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(
            f"{path} is not an object of lists, the speakers by video id ({error}): repair or "
            "delete it."
        ) from None


def warn_of_speakers_in_two_splits(
    speakers: Mapping[str, Sequence[str]], videos: Mapping[str, Sequence[str]]
) -> None:
    """Scores of voices that were trained on say little; with one speaker there are no others."""
    train, *held_out = (
        {name for video in videos[split] for name in speakers.get(video, ())}
        for split in ("train", "validation", "test")
    )
    known = train & set().union(*held_out)
    if known and len(train.union(*held_out)) > 1:
        _logger.warning(
            "speakers of the train split are in validation or test, too (%d of them, such as %s): "
            "scores will be those of known voices. mosei-ssl folds keeps speakers apart",
            *(len(known), min(known)),
        )
