#!/usr/bin/env bash
# Every stage once, with the installed `mosei-ssl`: build, pretrain, fine-tune SSL and baseline,
# evaluate, export, predict. What has been done already is not done again.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: quickstart.sh [--manual-dir PATH] [--folds FILE] [--labels N] [--epochs N]
                     [--configs PREFIX] [--out DIR] [--saved-models DIR] [--seed N]

  --manual-dir PATH   folder with the .csd files; without it a small SYNTHETIC corpus is made
  --folds FILE        folds instead of the folder's own folds.json
  --labels N          label budget of both arms (default 200)
  --epochs N          pretraining epochs (default: the configuration's)
  --configs PREFIX    use PREFIX_pretrain.yaml and PREFIX_finetune.yaml (the quickstart gives
                      configs/small; without it, every option has its default)
  --out DIR           where data and runs go (default ./quickstart)
  --saved-models DIR  where the export goes (default ./saved_models)
  --seed N            fixes labelled subset, data order and initial weights (default 0)
TEXT
}

fail() { echo "quickstart: $*" >&2; exit 2; }

manual_dir="" folds="" labels=200 epochs="" configs="" out="$PWD/quickstart" saved_models="$PWD/saved_models" seed=0
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --manual-dir | --folds | --labels | --epochs | --configs | --out | --saved-models | --seed) ;;
    *) echo "quickstart: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  [ $# -gt 1 ] || fail "$1 needs a value"
  name="${1#--}"
  printf -v "${name//-/_}" '%s' "$2"
  shift 2
done

bold="" plain=""
[ ! -t 1 ] || { bold=$'\033[1m' plain=$'\033[0m'; }
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

if [ -n "$manual_dir" ]; then
  [ -d "$manual_dir" ] || fail "--manual-dir $manual_dir: no such folder"
  name="$(basename "$(cd "$manual_dir" && pwd)")"
  source_options=(--manual-dir "$manual_dir")
  [ -z "$folds" ] || { source_options+=(--folds "$folds"); name="$name-$(basename "$folds" .json)"; }
else
  [ -z "$folds" ] || fail "--folds goes with --manual-dir; the synthetic corpus has its own"
  name="synthetic"
  source_options=(--synthetic)
fi
place="$out/$name"
mkdir -p "$place"
# A run keeps its options: other ones get runs of their own.
seeded=""
[ "$seed" = 0 ] || seeded="-seed$seed"
pre="$place/runs/pre$seeded${epochs:+-epochs$epochs}"
ssl="$place/runs/ssl$labels$seeded${epochs:+-epochs$epochs}"
base="$place/runs/base$labels$seeded"
common=(--seed "$seed" --data-dir "$place/data")
pretraining=("${common[@]}")
finetuning=("${common[@]}")
if [ -n "$configs" ]; then
  pretraining=(--config "${configs}_pretrain.yaml" "${common[@]}")
  finetuning=(--config "${configs}_finetune.yaml" "${common[@]}")
fi
[ -z "$epochs" ] || pretraining+=(--epochs "$epochs")

say "1/6 build the dataset ($name)"
# A budget that is too large is reported here, not after the pretraining.
mosei-ssl build "${source_options[@]}" --data-dir "$place/data" --labels "$labels"

say "2/6 pretrain, without labels"
mosei-ssl pretrain --run "$pre" "${pretraining[@]}"

say "3/6 fine-tune on $labels labels: pretrained (SSL), and from scratch (baseline)"
mosei-ssl finetune --run "$ssl" --labels "$labels" --pretrained "$pre" "${finetuning[@]}"
mosei-ssl finetune --run "$base" --labels "$labels" --from-scratch "${finetuning[@]}"

say "4/6 evaluate on the test speakers"
mosei-ssl evaluate --run "$ssl" --against "$base" --split test

say "5/6 export"
note="$ssl/exported_to"
if [ -e "$note" ] && [ -d "$(cat "$note")" ]; then
  echo "Exported before: $(cat "$note")"
else
  mosei-ssl export --run "$ssl" --to "$saved_models/$name"
  # The highest version is the one just written.
  find "$saved_models/$name" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' | sort -V | tail -n 1 > "$note"
fi

# Another run may have exported a later version since: this one is named throughout.
exported="$(cat "$note")"

say "6/6 predict with the SavedModel"
mosei-ssl predict "$place/data" --limit 5 --model "$exported"

report="$(find "$place/data" -name report.html 2> /dev/null | sort -V | tail -n 1)" || report=""

cat <<TEXT

Where everything is:
  dataset and its report  ${report:-$place/data}
  runs                    $place/runs
  SavedModel              $exported

Next (after ". .venv/bin/activate" in a checkout):
  tensorboard --logdir $place/runs
  mosei-ssl predict INPUT --model $exported --format json
where INPUT is a .csd, a .npy, a dataset's folder or, with the extra audio, a recording.
TEXT
[ -n "$manual_dir" ] || echo "These numbers come from SYNTHETIC data: they show that every stage works, nothing more."
