"""Settings: presets and what is laid over them; what is out of range is named."""

import inspect
import tomllib

import pytest

from noiseproof.experiment import choices
from noiseproof.experiment.reading import (
    PRESETS,
    load_preset,
    preset_names,
    with_settings,
)
from noiseproof.experiment.settings import Settings, as_dict


def test_every_preset_and_its_scales_load_round_trip_and_say_only_what_differs() -> None:
    for name in preset_names():
        settings = load_preset(name)
        assert with_settings(as_dict(settings), [], name) == settings
        text = (PRESETS / f"{name}.toml").read_text("utf-8")
        assert len(text.partition("[[tasks]]")[0].splitlines()) <= 15, name
        for scale in tomllib.loads(text).get("scales", {}):
            assert load_preset(name, [f"scale={scale}"]).inner.num_steps >= 2000


def test_settings_lie_over_the_preset() -> None:
    settings = [
        "inner.num_steps=50",
        "data.name=fashion-mnist",
        'rule.kind="nominal_mlp"',
        "conditions.strengths=[0.5, 1]",
        "rule.schedule=learned",
        "data.standardize=false",
    ]
    found = load_preset("gaussian-digits-mlp", settings)
    assert found.inner.num_steps == 50
    assert found.inner.batch_size == load_preset("gaussian-digits-mlp").inner.batch_size
    values = as_dict(found)
    assert values["data"] == {
        "name": "fashion-mnist",
        "image_size": 0,
        "num_classes": 0,
        "num_images": 0,
        "standardize": False,
    }
    assert (values["rule"]["kind"], values["rule"]["schedule"]) == ("nominal_mlp", "learned")
    assert values["conditions"]["strengths"] == [0.5, 1.0]


def test_another_kind_keeps_what_it_also_has_and_another_data_set_its_own_size() -> None:
    settings = ["model.channels=[8]", "model.kind=convnet", "data.name=digits"]
    found = load_preset("gaussian-fashion-mlp", settings)
    assert as_dict(found)["model"] == {"kind": "convnet", "channels": [8], "norm": None}
    assert found.data.image_size == 0
    # One number in the one kind, a range in the other.
    noise = as_dict(load_preset("gaussian-digits-mlp", ["outer.kind=spectral"]))["outer"]
    assert noise["std"] == [0.05, 0.3]
    values = as_dict(load_preset("spectral-cifar-convnet", ["estimator.kind=tes"]))
    assert values["estimator"]["num_pairs"] == 12


def test_a_scale_lies_between_preset_and_settings() -> None:
    small = load_preset("spectral-cifar-convnet")
    large = load_preset("spectral-cifar-convnet", ["inner.num_steps=3000", "scale=gpu"])
    assert (small.scale, large.scale) == ("", "gpu")
    assert large.inner.num_steps == 3000
    assert as_dict(large)["model"]["channels"] > as_dict(small)["model"]["channels"]
    assert large.outer == small.outer
    # What a card keeps is laid under settings again, its scale already in it.
    assert with_settings(as_dict(large), [], "card") == large
    with pytest.raises(ValueError, match=r"scale must be one of gpu in .*convnet, got 'huge'"):
        load_preset("spectral-cifar-convnet", ["scale=huge"])
    with pytest.raises(ValueError, match="settings has no scales, got scale = 'gpu'"):
        with_settings({}, ["scale=gpu"], "settings")


def test_none_is_said_in_words_where_it_is_allowed() -> None:
    """Catches a value that messages offer and no command line can give."""
    found = load_preset(
        "spectral-cifar-convnet",
        ["model.norm=none", "tuning.num_trials=none", "reparametrization.level=none"],
    )
    assert as_dict(found)["model"]["norm"] is None
    assert found.tuning.num_trials is None
    assert found.reparametrization.level == "none"
    with pytest.raises(ValueError, match="num_steps must be a whole number, got 'none'"):
        load_preset("spectral-cifar-convnet", ["inner.num_steps=none"])


@pytest.mark.parametrize(
    ("section", "builders", "given"),
    [
        ("MODEL", choices.MODELS, {"image_shape", "num_classes"}),
        ("RULE", choices.LEARNED_OPTIMIZERS, {"steps_per_epoch"}),
        ("ESTIMATOR", choices.ESTIMATORS, {"objective"}),
        ("RUN_LENGTH", choices.RUN_LENGTHS, {"num_steps"}),
        ("OUTER", choices.OUTER_LOSSES, {"num_channels"}),
        ("CONDITION", choices.CONDITIONS, {"num_channels", "outer_loss", "developing"}),
    ],
)
def test_every_kind_takes_the_options_of_its_builder_and_no_others(
    section: str, builders: choices.Builders, given: set[str]
) -> None:
    """Catches an option of a new component that no setting reaches."""
    found = getattr(choices, f"{section}_CHOICES")
    assert set(found) == set(builders)
    for kind, builder in builders.items():
        assert (
            set(found[kind].__struct_fields__) == set(inspect.signature(builder).parameters) - given
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("inner.steps=5", r"inner has no key 'steps'; allowed are .*Did you mean num_steps\?"),
        ("nothing.at_all=5", "has no key 'nothing'; allowed are data, model"),
        ("inner.num_steps=five", "inner.num_steps must be a whole number, got 'five'"),
        ("inner.num_steps=5.5", "inner.num_steps must be a whole number, got 5.5"),
        ("inner.num_steps=true", "inner.num_steps must be a whole number, got True"),
        ("inner.num_steps=9", "inner.num_steps must be a whole number >= 10, got 9"),
        ("inner.batch_size=9223372036854775808", "inner.batch_size must be a whole number"),
        ("pool.batch_size=99999999999", "pool.batch_size must be a whole number <= 1000000"),
        ("outer.std=[1]", r"outer.std must be a number, got \[1\]"),
        ("outer.std=1e308", "outer.std must be a number <= 1000.0, got 1e\\+308"),
        ("outer.std=nan", "outer.std must be a number .*, got nan"),
        ("outer.std_low=-1", "outer has no key 'std_low'; allowed are kind, std, clean"),
        ("outer.kind=loud", "outer.kind must be one of clean, gaussian, spectral, .*got 'loud'"),
        ("data.standardize=1", "data.standardize must be true or false, got 1"),
        ("tuning.rivals=adam", "tuning.rivals must be a list, got 'adam'"),
        ("tuning.rivals=[1]", r"tuning.rivals\[0\] must be a text, got 1"),
        ("tuning.num_trials=0", "tuning.num_trials must be a whole number.* >= 1, got 0"),
        ("meta.learning_rate=inf", "meta.learning_rate must be a number <= 100.0, got inf"),
        ("meta.max_norm=inf", "meta.max_norm must be a number <= 1000000.0, got inf"),
        ("estimator.num_runs=4", "estimator has no key 'num_runs'; allowed are kind, truncation"),
        ("run_length.kind=log_uniform", "run_length must have the key shortest"),
        ("reparametrization.low=nan", "reparametrization.low must be a number"),
        ("reparametrization.level=layer", "level must be one of none, global, tensor, weight"),
        ("conditions.strengths=[nan]", r"conditions.strengths\[0\] must be a number"),
        ("evaluation.num_seeds=99999999999", "evaluation.num_seeds must be a whole number <= 1000"),
        ("evaluation.split=all", "evaluation.split must be one of test, select, got 'all'"),
        ("model.hidden_sizes=-1", "model.hidden_sizes must be a list, got -1"),
        ("model.hidden_sizes=[nan]", r"model.hidden_sizes\[0\] must be a whole number, got nan"),
        ("model.norm=[[]]", r"model.norm must be a text or none, got \[\[\]\]"),
        ("rule.num_knots=abc", "rule.num_knots must be a whole number, got 'abc'"),
        ("inner=5", "inner must be a section, got 5"),
        ("inner.num_steps.more=5", "num_steps is no section, in the setting 'inner.num_steps.more"),
        (
            "inner.num_steps",
            "the form section.key=value, got 'inner.num_steps'",
        ),
        (".=5", "A setting must have the form section.key=value"),
        ("data.name=", "data.name must be a text of length >= 1, got ''"),
    ],
)
def test_bad_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        load_preset("gaussian-digits-mlp", [setting])
    assert len(str(raised.value)) <= 500
    assert "\n" not in str(raised.value)


def test_long_values_are_cut_and_line_breaks_quoted() -> None:
    with pytest.raises(ValueError, match=r"got 'a\\nb'\.$"):
        load_preset("gaussian-digits-mlp", ['inner.num_steps="a\\nb"'])
    with pytest.raises(ValueError, match=r"\.\.\.\.$") as raised:
        load_preset("gaussian-digits-mlp", ["inner.num_steps=" + "9x" * 10_000])
    assert len(str(raised.value)) < 200


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*gaussian-digits-mlp.*, got 'nothing'"):
        load_preset("nothing")


def test_defaults_can_be_set_over() -> None:
    assert with_settings({}, [], "settings") == Settings()
    assert with_settings({}, ["inner.num_steps=70"], "settings").inner.num_steps == 70


def test_settings_cannot_change() -> None:
    with pytest.raises(AttributeError):
        with_settings({}, [], "settings").inner.num_steps = 5
