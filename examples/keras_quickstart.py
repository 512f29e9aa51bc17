"""From a prepared dataset to a served emotion model, with Keras alone. Usage: FILE [DATA_DIR]"""

import sys
from pathlib import Path

import keras

import tfds_mosei
from mosei_ssl import DataConfig, data, models


def main(data_dir: str = "data", out: str = "quickstart", epochs: int = 3) -> dict[str, float]:
    if not tfds_mosei.list_prepared(data_dir):
        tfds_mosei.build("synthetic", data_dir=data_dir)
    config = DataConfig(data_dir=data_dir)
    train, test = (data.load_segments(config, split) for split in ("train", "test"))
    batches = data.make_training_dataset(train, config)  # one pass, shuffled, (x, y)

    backbone = models.TransformerBackbone(**train.normalization)
    pretraining = models.MaskedTimestepModel(backbone)
    pretraining.compile("adam")
    pretraining.fit(batches, epochs=epochs)  # labels are ignored

    few = train.labelled()
    few = few.subset(data.draw_label_budget(few.emotions, 50, seed=0))
    model = models.EmotionModel(backbone)
    model.adapt(batches)  # needs no labels
    model.set_prior(few.emotions)
    model.compile("adam", metrics=["mae"])
    model.fit(data.make_training_dataset(few, config), epochs=epochs)

    Path(out).mkdir(parents=True, exist_ok=True)
    model.save(Path(out) / "model.keras")
    model = keras.saving.load_model(Path(out) / "model.keras")
    predictor = model.to_predictor()
    predictor.export(Path(out) / "1")  # what TF Serving reads
    test_batches = data.make_evaluation_dataset(test.labelled(), config)
    print(predictor.predict(test_batches)["intensity"][:3])
    return model.evaluate(test_batches, return_dict=True)


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
