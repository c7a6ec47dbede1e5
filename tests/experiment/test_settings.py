import dataclasses

import pytest

from noiseproof.experiment.settings import (
    Config,
    as_dict,
    build,
    default_config,
    load_preset,
    preset_names,
    with_settings,
)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_round_trips(name: str) -> None:
    config = load_preset(name)
    assert build(Config, as_dict(config), name) == config


def test_settings_lie_over_the_preset() -> None:
    settings = [
        "inner.num_steps=50",
        "data.name=fashion-mnist",
        'rule.name="mlp"',
        "evaluation.strengths=[0.5, 1]",
        "rule.options.schedule=learned",
        "outer.clip=true",
    ]
    config = load_preset("gaussian-digits-mlp", settings)
    assert config.inner.num_steps == 50
    assert config.inner.batch_size == load_preset("gaussian-digits-mlp").inner.batch_size
    assert config.data.name == "fashion-mnist"
    assert config.rule.name == "mlp"
    assert config.evaluation.strengths == (0.5, 1.0)
    assert config.rule.options == {"schedule": "learned"}
    assert config.outer.clip is True


def test_another_name_drops_what_belonged_to_the_old_one() -> None:
    settings = ["model.options.channels=[8]", "model.name=convnet", "data.name=digits"]
    config = load_preset("gaussian-fashion-mlp", settings)
    assert config.model.options == {"channels": [8]}
    assert config.data.image_size == 0
    assert config.data.standardize  # which goes with no data set
    same = load_preset("gaussian-fashion-mlp", ["model.name=mlp", "estimator.name=pes"])
    assert same.model.options == {"hidden_sizes": [32]}
    assert same.estimator.truncation == 50


def test_a_scale_lies_between_preset_and_settings() -> None:
    small = load_preset("spectral-cifar-convnet")
    large = load_preset("spectral-cifar-convnet", ["inner.num_steps=3000", "scale=gpu"])
    assert (small.scale, large.scale) == ("", "gpu")
    assert large.inner.num_steps == 3000
    assert large.model.options["channels"] > small.model.options["channels"]
    assert large.outer == small.outer
    # What a card keeps is laid under settings again, its scale already in it.
    assert with_settings(as_dict(large), [], "card") == large
    with pytest.raises(ValueError, match=r"scale must be one of gpu in .*convnet, got huge"):
        load_preset("spectral-cifar-convnet", ["scale=huge"])
    with pytest.raises(ValueError, match="scale must be one of - in settings, got gpu"):
        default_config(["scale=gpu"])


@pytest.mark.parametrize("name", [name for name in preset_names() if "digits" not in name])
def test_a_scale_of_every_preset_loads(name: str) -> None:
    assert load_preset(name, ["scale=gpu"]).inner.num_steps >= 2000


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("inner.steps=5", "inner has no key steps; allowed are num_steps, batch_size"),
        ("nothing.at_all=5", "has no key nothing; allowed are experiment, data, model"),
        ("inner.num_steps=five", "inner.num_steps must be a whole number, got 'five'"),
        ("inner.num_steps=5.5", "inner.num_steps must be a whole number, got 5.5"),
        ("inner.num_steps=true", "inner.num_steps must be a whole number, got True"),
        ("outer.std=[1]", r"outer.std must be a number, got \[1\]"),
        ("outer.clip=1", "outer.clip must be true or false, got 1"),
        ("tuning.rivals=adam", "tuning.rivals must be a list of texts, got 'adam'"),
        ("tuning.rivals=[1]", "tuning.rivals must be a text, got 1"),
        ("inner=5", "inner must be a section, got 5"),
        ("inner.num_steps.more=5", "num_steps is no section, in the setting inner.num_steps.more"),
        ("rule.options=5", "rule.options must be a table, got 5"),
        ("inner.num_steps", "A setting must have the form section.key=value, got inner.num_steps"),
        (".=5", "A setting must have the form section.key=value"),
    ],
)
def test_bad_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_preset("gaussian-digits-mlp", [setting])


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*gaussian-digits-mlp.*, got nothing"):
        load_preset("nothing")


def test_defaults_can_be_set_over() -> None:
    assert default_config([]) == Config()
    assert default_config(["inner.num_steps=7"]).inner.num_steps == 7


def test_configs_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        default_config([]).inner.num_steps = 5  # pyright: ignore[reportAttributeAccessIssue]
