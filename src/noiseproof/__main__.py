"""`python -m noiseproof`, and the command `noiseproof`."""

import sys

from noiseproof.extras import missing


def main() -> None:
    """Runs the command line; where it is not installed one line says how to install it."""
    try:
        from noiseproof.cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"noiseproof: {missing(error, 'The command line')}")
    run()


if __name__ == "__main__":
    main()
