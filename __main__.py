"""`python -m toolwire`, and the command `toolwire`."""

import sys


def main() -> int:
    """Run the command line. 2 if its libraries are missing."""
    try:
        from .actors.gateways.cli.app import main as command_line  # noqa: PLC0415 - cyclopts and rich are an extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"cyclopts", "rich"}:
            raise
        print(f"toolwire: the command line needs {missing}: pip install 'toolwire[cli]'", file=sys.stderr)
        return 2
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
