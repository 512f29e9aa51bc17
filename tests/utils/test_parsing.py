"""Plain values become checked options, and mistakes are named where they are."""

from dataclasses import dataclass

import pytest

from mosei_ssl.config import (
    BACKBONES,
    TASKS,
    BackboneConfig,
    CodebookConfig,
    FinetuneConfig,
    PretrainConfig,
    TransformerConfig,
)
from mosei_ssl.study.options import StudyConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import OptionError, ranged
from mosei_ssl.utils.parsing import from_mapping, merge, nested, read_yaml


def problem(cls, values, where=""):
    with pytest.raises(UserError) as error:
        from_mapping(cls, values, where)
    return str(error.value)


def test_defaults_nested_options_and_text_that_is_yaml():
    config = from_mapping(
        FinetuneConfig,
        {"run": "r", "labels": "25", "weight_prior": 3, "optimizer": {"learning_rate": "1e-4"}},
    )
    expected = FinetuneConfig(run="r", labels=25, weight_prior=3.0)
    expected.optimizer.learning_rate = 1e-4
    assert config == expected
    assert isinstance(config.weight_prior, float)


def test_an_empty_section_has_its_defaults():
    assert from_mapping(PretrainConfig, {"run": "r", "backbone": None}).backbone == (
        TransformerConfig()
    )
    assert from_mapping(StudyConfig, None) == StudyConfig()


@pytest.mark.parametrize("kind", BACKBONES)
def test_kind_picks_the_backbone(kind):
    config = from_mapping(PretrainConfig, {"run": "r", "backbone": {"kind": kind}})
    assert config.backbone == BACKBONES[kind]()


@pytest.mark.parametrize("name", TASKS)
def test_name_picks_the_task(name):
    assert from_mapping(PretrainConfig, {"run": "r", "task": {"name": name}}).task == TASKS[name]()


def test_a_registered_class_of_someone_else_is_picked(monkeypatch):
    @dataclass(kw_only=True)
    class Mine(BackboneConfig):
        kind: str = "mine"
        wings: int = ranged(2, 1)

    monkeypatch.setitem(BACKBONES, "mine", Mine)
    values = {"run": "r", "backbone": {"kind": "mine", "wings": 3}}
    assert from_mapping(PretrainConfig, values).backbone == Mine(wings=3)
    values["backbone"]["wings"] = 0
    assert problem(PretrainConfig, values) == "backbone.wings must be at least 1, not 0"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "p.epoch is not an option (nearest: epochs); allowed here: data_dir, "),
        ({"head": {"dropot": 1}}, "p.head.dropot is not an option (nearest: dropout); allowed"),
        ({"backbone": {"kind": "codebook", "num_heads": 2}}, "p.backbone.num_heads is not an op"),
        ({"backbone": {"kind": "gru"}}, "p.backbone.kind must be one of transformer, codebook"),
        ({"backbone": 3}, "p.backbone must be a mapping of options, not 3"),
        ({"epochs": "x"}, "p.epochs must be a whole number, not 'x'"),
        ({"epochs": 2.5}, "p.epochs must be a whole number, not 2.5"),
        ({"epochs": True}, "p.epochs must be a whole number, not True"),
        ({"epochs": None}, "p.epochs must be a whole number, not None"),
        ({"epochs": 0}, "p.epochs must be at least 1, not 0"),
        ({"labels": "many"}, "p.labels must be a whole number or all, not 'many'"),
        ({"max_frames": "none"}, "p.max_frames must be a whole number or null, not 'none'"),
        ({"keep_best": "no way"}, "p.keep_best must be true or false, not 'no way'"),
        ({"precision": "f"}, "p.precision must be one of float32, mixed_bfloat16, mixed_float16"),
        ({"extra_datasets": "a"}, "p.extra_datasets must be a list such as [a, b], not 'a'"),
        ({"run": None}, "p.run is missing"),
        ({"run": 3}, "p.run must be text, not 3"),
        ({"head": {"dropout": 2}}, "p.head.dropout must be at least 0 and below 1, not 2.0"),
    ],
)
def test_a_mistake_is_named_with_its_place(values, message):
    assert problem(FinetuneConfig, {"run": "r", **values}, "p").startswith(message)


def test_items_of_lists_have_places_too():
    arms = [{"name": "a"}, {"name": "b", "pretrainde": True}]
    assert problem(StudyConfig, {"arms": arms}).startswith("arms[1].pretrainde is not an option")


def test_options_made_in_python_are_checked_as_well():
    with pytest.raises(OptionError, match=r"backbone\.hidden_dim must be at least 1, not 0"):
        CodebookConfig(hidden_dim=0)
    with pytest.raises(UserError, match="held-out speakers"):
        PretrainConfig(run="r", splits=["train", "test"])


def test_files_are_read_or_refused_by_name(tmp_path):
    file = tmp_path / "a.yaml"
    for text, content in (("", {}), ("epochs: 3\n", {"epochs": 3})):
        file.write_text(text)
        assert read_yaml(file) == content
    for text in ("a: b: c", "- a"):
        file.write_text(text)
        with pytest.raises(UserError, match=r"a\.yaml"):
            read_yaml(file)
    with pytest.raises(UserError, match="No such file"):
        read_yaml(tmp_path / "b.yaml")


def test_later_mappings_win_key_by_key():
    first = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert merge(first, nested({"a.c.d": 4, "e": 5})) == {"a": {"b": 1, "c": {"d": 4}}, "e": 5}
    assert merge(first, {"a": None})["a"] == first["a"]
