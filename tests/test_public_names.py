"""What `import noiseproof` shows."""

import inspect

import pytest

import noiseproof


def test_about_forty_names_are_shown_and_all_are_there() -> None:
    """Catches a name whose module moved, and private ones that leak into completion."""
    names = dir(noiseproof)
    assert 25 <= len(names) <= 50
    assert set(names) == {"__version__", *noiseproof.PLACES}
    for name in names:
        assert getattr(noiseproof, name) is not None, name


def test_public_functions_and_types_explain_themselves() -> None:
    for name in noiseproof.PLACES:
        value = getattr(noiseproof, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), name


def test_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"noiseproof has no laod; it has .*load"):
        noiseproof.laod  # noqa: B018
