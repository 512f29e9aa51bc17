"""How well two study workers scale, next to two copies of a CPU-bound control.

The trainings of a small study on the synthetic corpus are run with one worker and with two;
alternating with it, a pure CPU loop is run alone and as two copies. On a busy machine neither
doubles, but both suffer alike, so their ratio still shows what the study itself costs.

Run: python benchmarks/study_scaling.py [--repeats 5]
"""

import argparse
import contextlib
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path


def spin(loops: int) -> int:
    """Arithmetic that no library can speed up."""
    total = 0
    for number in range(loops):
        total += number * number % 7
    return total


def control(copies: int, loops: int) -> float:
    """Loops per second of `copies` processes."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=spin, args=(loops,)) for _ in range(copies)]
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return copies * loops / (time.perf_counter() - start)


def study(workers: int, cells: list, folder: Path) -> float:
    """Trainings per second of `workers` workers that have loaded their libraries."""
    from mosei_ssl.study.engines import LocalEngine
    from mosei_ssl.study.waves import run_wave

    failed: dict[str, str] = {}
    with contextlib.closing(LocalEngine(workers, 1, folder / "logs")) as engine:
        # One each first: what is measured is a study of hours, not the start of a process.
        run_wave(cells[:workers], folder, engine, "warm-up", failed)
        start = time.perf_counter()
        run_wave(cells[workers:], folder, engine, "measured", failed)
        seconds = time.perf_counter() - start
    assert not failed, failed
    return (len(cells) - workers) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, default=6, help="measured trainings per repeat")
    options = parser.parse_args()
    import tfds_mosei
    from mosei_ssl.config import DataConfig
    from mosei_ssl.study import ArmConfig, StudyConfig
    from mosei_ssl.study.cells import grid_cells
    from mosei_ssl.study.folds import prepare_folds

    ratios, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        tfds_mosei.build("synthetic", data_dir=f"{folder}/data", size=12)
        config = StudyConfig(
            data=DataConfig(data_dir=f"{folder}/data"),
            seeds=list(range(options.cells + 2)),
            arms=[ArmConfig(name="baseline")],
            finetune={"epochs": 4, "min_steps_per_epoch": 16, "patience": 0},
        )
        cells = [c for c in grid_cells(config, prepare_folds(config), [25], {}) if c.arm]
        for repeat in range(options.repeats):
            row = {
                "control_1": control(1, 30_000_000),
                "study_1": study(1, cells[: options.cells + 1], Path(folder) / f"{repeat}-1"),
                "control_2": control(2, 30_000_000),
                "study_2": study(2, cells[: options.cells + 2], Path(folder) / f"{repeat}-2"),
            }
            row["control_scaling"] = row["control_2"] / row["control_1"]
            row["study_scaling"] = row["study_2"] / row["study_1"]
            rows.append(row)
            ratios.append(row["study_scaling"] / row["control_scaling"])
            print(json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)
    print(
        f"scaling of two workers over that of two copies of the control: median "
        f"{statistics.median(ratios):.2f}, range {min(ratios):.2f} to {max(ratios):.2f} "
        f"({len(ratios)} repeats)"
    )


if __name__ == "__main__":
    main()
