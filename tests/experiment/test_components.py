import pytest

from noiseproof.experiment.components import build_component


def test_components_are_built_by_name() -> None:
    def point(*, size: int, sides: tuple[int, ...] = ()) -> tuple[int, tuple[int, ...]]:
        return size, sides

    builders = {"point": point}
    assert build_component(builders, "point", {"sides": [1, 2]}, size=3) == (3, (1, 2))
    with pytest.raises(ValueError, match="line must be one of point"):
        build_component(builders, "line", {})
    with pytest.raises(ValueError, match="point has no option width; allowed are sides"):
        build_component(builders, "point", {"width": 1}, size=3)
