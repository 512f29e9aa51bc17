"""A model, inputs and predictions that do not change unless the model code does.

`python tests/serving/golden.py` writes golden.json anew, for when it is meant to.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("golden.json")
LENGTHS = (1, 10, 137, 650)


def model():
    """An emotion model whose weights are a function of their order and shapes alone."""
    from mosei_ssl.config import TransformerConfig
    from mosei_ssl.models import EmotionModel, build_backbone

    backbone = build_backbone(
        TransformerConfig(hidden_dim=8, num_layers=1, num_heads=2, feedforward_dim=16),
        mean=np.linspace(-1, 1, 74),
        std=np.linspace(0.5, 2, 74),
    )
    built = EmotionModel(backbone)
    draw = np.random.Generator(np.random.PCG64(74))
    for variable in built.trainable_variables:
        variable.assign(draw.normal(scale=0.3, size=variable.shape))
    return built


def segments() -> list[np.ndarray]:
    """Rows by formula, a few of them missing."""
    found = [np.sin(np.arange(n * 74) * 0.37).reshape(n, 74).astype(np.float32) for n in LENGTHS]
    found[2][5, 7] = -np.inf
    found[3][100, 3] = np.nan
    return found


def predictions() -> dict[str, list]:
    """What the Keras model says, one segment at a time."""
    predictor = model().to_predictor()
    answers = []
    for rows in segments():
        mask = np.ones((1, len(rows)), bool)
        answers.append(predictor({"features": rows[None], "padding_mask": mask}))
    return {
        name: [np.asarray(a[name])[0].astype(float).round(7).tolist() for a in answers]
        for name in answers[0]
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(predictions(), indent=1) + "\n", encoding="utf-8")
