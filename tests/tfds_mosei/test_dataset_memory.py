"""A build takes as much memory for a large corpus as for a small one."""

import json
import resource

from children import start_child
from mosei_corpus import IDS, frames, ramp, write_corpus

import tfds_mosei
from tfds_mosei import csd, report_page, workspace

ROWS = 5000
MEGABYTES = ROWS * 74 * 4 / 1e6
"""Of one video: 1.5 MB."""

SMALL, LARGE = 8, 40
"""Train videos of the two corpora: 12 and 59 MB."""


def write(folder, count):
    train = [f"t{number:03d}" for number in range(count)]
    ids = [*train, "c", "d"]
    rows = ramp(ROWS)
    labels = {v: ([[0.0, ROWS / 200], [ROWS / 200, ROWS / 100]], [[0.0] * 7] * 2) for v in ids}
    folder = write_corpus(folder, {}, labels, {**IDS, "train": train})
    # Packing the rows would take longer than the builds.
    videos = ((v, frames(ROWS), rows) for v in ids)
    csd.write(folder / "features.csd", "COVAREP", videos, dimension_names=[], compression=None)
    return folder


def build_all(data_dir, folders, peaks):
    """Builds one corpus after another; writes the peak so far and the size of each."""
    report_page.render_page = lambda *_: ""  # takes longer to draw than the builds
    workspace.SHUFFLE_BYTES = 4 * 2**20  # what a build may hold of a split, by choice
    found = []
    for folder in folders:
        built = tfds_mosei.build(data_dir=data_dir, manual_dir=folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found.append([peak, int(built.info.splits["train"].num_bytes)])
    peaks.write_text(json.dumps(found))
    return 0


def test_peak_memory_does_not_grow_with_the_corpus(tmp_path):
    """One process builds both, the small one first; only what the large one adds counts."""
    folders = [write(tmp_path / str(count), count) for count in (SMALL, LARGE)]
    peaks, log = tmp_path / "peaks.json", tmp_path / "log"
    child = start_child(build_all, tmp_path / "data", folders, peaks, log=log)
    child.join()
    assert child.exitcode == 0, log.read_text()
    (small, _), (large, written) = json.loads(peaks.read_text())
    assert written > LARGE * MEGABYTES * 1e6
    grown = (large - small) * 1024 / 1e6
    assert grown < (LARGE - SMALL) * MEGABYTES / 2, f"{grown:.0f} MB more"
