"""Make the shipped model, `emotion-small`, from corpora in MOSEI's layout.

  python scripts/make_emotion_small.py --corpora cremad_covarep emodb_covarep \\
      --speech students.csd intents.csd alphanumeric.csd --work work

Corpora are folders with features, labels and folds.json (speaker-disjoint); speech is .csd files
of recordings without labels. All recordings but those of validation and test speakers are
pretrained on, fine-tuning takes every label of the train speakers, validation speakers calibrate
when the answer is "none", and test speakers are scored once. Folder `work` keeps datasets and runs;
the result is `mosei_ssl/presets/emotion-small`. Done steps are not repeated.
"""

import argparse
import json
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np

import tfds_mosei
from mosei_ssl.config import FinetuneConfig, PretrainConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import (
    METRIC_LABELS,
    METRICS,
    PREDICTOR_LABELS,
    classical_predictions,
    pooled_features,
)
from mosei_ssl.metrics.comparison import RESAMPLES, score_cell
from mosei_ssl.metrics.video_sums import with_intervals
from mosei_ssl.models import load_keras_file
from mosei_ssl.presets import archive
from mosei_ssl.serving.manifest import MANIFEST
from mosei_ssl.serving.publishing import write_preset
from mosei_ssl.training import evaluate, finetune, pretrain
from mosei_ssl.training.evaluation import predict_segments
from mosei_ssl.utils.files import write_text
from mosei_ssl.utils.parsing import from_mapping, merge, read_yaml
from tfds_mosei.schema import FEATURE_ROOT, LABEL_ROOT
from tfds_mosei.speakers import SPEAKERS_FILE, read_speakers

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "mosei_ssl" / "presets" / "emotion-small"

LICENCE = "CREMA-D: ODbL 1.0; EMO-DB: CC0 1.0"
# Speech that may train weights which are given away.
SPEECH = {
    "alphanumeric": "names, numbers and addresses in accented English, some 70 voices (MIT)",
    "intents": "spoken requests, English of many accents, over 50 voices (Apache-2.0)",
    "students": "students' recordings, some 40 voices (MIT)",
}

CARD = """# emotion-small

Six graded emotions (0 to 3) of a recording, from its COVAREP features: a codebook backbone
pretrained without labels, and a head fine-tuned on {labels} labelled clips. Made by
`scripts/make_emotion_small.py` with `configs/small_pretrain.yaml` and `small_finetune.yaml`.

## Data and licences

* CREMA-D (Cao et al. 2014), clips of 31 train and 10 validation speakers, with the graded ratings
  of those who heard the voice only. Open Database License 1.0: this model is a work derived from
  it. Contains information from CREMA-D, which is made available under the ODbL.
* EMO-DB (Burkhardt et al. 2005), Berlin, German; CC0 1.0.
* Speech without labels: {speech}.

Both labelled corpora are acted, of single sentences in a studio at 16 kHz.

## Scores on speakers that nothing was trained or chosen on

Each clip relative to all of its speaker's, as `predict` judges windows of a long recording or, with
`--speaker-from`, clips (docs/serving.md). 95 % intervals are over test speakers. Ridge and SVR see
the same labels and rows. EMO-DB has two test speakers, so its intervals say little.

{scores}
## Calibration

`most_likely` is "none" unless an emotion is present with a probability of {threshold:.3f} or more:
that threshold separates emotional from neutral clips of the validation speakers best.

## What it must not be used for

* Decisions about people: hiring, policing, health, teaching, insurance.
* **Surprise**: no clip of either corpus is labelled with it, so its answer means nothing.
* Telephone bands and children were not tried. On other corpora and languages it ranks less well
  (docs/experiments.md). Fine-tune on clips of your own kind, `mosei-ssl finetune --pretrained
  emotion-small`.
"""


def join(corpora: list[Path], speech: list[Path], out: Path) -> None:
    """Several corpora in MOSEI's layout and speech without labels as one; their ids must differ."""
    out.mkdir(parents=True, exist_ok=True)
    files = [file for corpus in corpora for file in sorted(corpus.glob("*.csd"))] + speech
    folds: dict[str, list[str]] = {}
    for root, name in ((FEATURE_ROOT, "COVAREP.csd"), (LABEL_ROOT, "Labels.csd")):
        with h5py.File(out / name, "w") as target:
            for file in files:
                with h5py.File(file) as source:
                    if root not in source:
                        continue
                    for video, content in source[root]["data"].items():
                        source.copy(content, target, f"{root}/data/{video}")
                    if "metadata" not in target[root]:
                        source.copy(source[root]["metadata"], target[root], "metadata")
    speakers: dict[str, list[str]] = {}
    for corpus in corpora:
        for fold, videos in json.loads((corpus / "folds.json").read_text()).items():
            folds.setdefault(fold, []).extend(videos)
        speakers |= read_speakers(corpus)
    write_text(out / "folds.json", json.dumps(folds, indent=1) + "\n")
    if speakers:
        write_text(out / SPEAKERS_FILE, json.dumps(speakers) + "\n")


def options(cls: type, file: str, **given: object) -> object:
    """Options from a configuration that ships, and those given here."""
    return from_mapping(cls, merge(read_yaml(ROOT / "configs" / file), given))


def score(config: FinetuneConfig, corpora: list[Path]) -> str:
    """Tables of scores on each corpus's test speakers, beside simple predictors."""
    model = load_keras_file(Path(config.run) / "model.keras")
    train, test = (load_segments(config, split).labelled() for split in ("train", "test"))
    mean = train.statistics["mean"]
    lines = []
    for corpus in corpora:
        speakers = json.loads((corpus / "folds.json").read_text())["test"]
        part = test.subset(np.flatnonzero(np.isin(test.video_ids, speakers)))
        found = {
            "model": predict_segments(model, part, config),
            **classical_predictions(
                pooled_features(train, mean), train.emotions, pooled_features(part, mean)
            ),
        }
        heads = [METRIC_LABELS[name] for name in METRICS]
        lines += [f"{corpus.name}: {len(part)} segments of {len(speakers)} test speakers.", ""]
        lines += [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for name, values in found.items():
            row = with_intervals(part.speaker_ids, part.emotions, values, RESAMPLES)
            cells = [score_cell(row[metric][:, -1]) for metric in METRICS]
            label = "**emotion-small**" if name == "model" else PREDICTOR_LABELS[name]
            lines.append(f"| {label} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Join, build, pretrain, fine-tune, score, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", nargs="+", type=Path, required=True)
    parser.add_argument("--speech", nargs="*", type=Path, default=[])
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, data = given.work, str(given.work / "data")
    if not (work / "corpus" / "folds.json").exists():
        join(given.corpora, given.speech, work / "corpus")
    built = tfds_mosei.build("covarep", manual_dir=work / "corpus", data_dir=data, unlabelled="all")
    place = {"data_dir": data, "dataset": built.builder_config.name}
    pre, run = str(work / "pre"), str(work / "run")
    splits = ["train", "unlabelled"]  # which counts labelled speech twice
    pretrain(options(PretrainConfig, "small_pretrain.yaml", run=pre, splits=splits, **place))
    # It is to answer to recordings of other corpora, often single clips.
    careful = {"also_alone": True, "weight_prior": 40.0}
    chosen = {"run": run, "labels": "all", "pretrained": pre, **careful, **place}
    config = options(FinetuneConfig, "small_finetune.yaml", **chosen)
    finetune(config)
    evaluate(run)
    shutil.rmtree(PRESET, ignore_errors=True)
    licence = "; ".join([LICENCE, *(SPEECH[file.stem] for file in given.speech)])
    version = write_preset(run, PRESET, licence=licence)
    manifest = json.loads((version / MANIFEST).read_text())
    card = CARD.format(
        scores=score(config, given.corpora),
        labels=manifest["run"]["result"]["labels"],
        threshold=manifest["run"]["result"]["threshold"],
        speech="; ".join(SPEECH[file.stem] for file in given.speech) or "none",
    )
    write_text(PRESET / "README.md", card)
    archive.seal(PRESET)


if __name__ == "__main__":
    main()
