"""What a docstring says of a function and of its parameters."""


def explained(documentation: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring (Google, NumPy, Sphinx or Epydoc style), and those of its parameters."""
    if not documentation:
        return "", {}
    import docstring_parser  # noqa: PLC0415 - 16 ms, which a program that only speaks to others' tools never needs

    try:
        parsed = docstring_parser.parse(documentation)
    except docstring_parser.ParseError:
        return documentation, {}
    description = "\n\n".join(filter(None, (parsed.short_description, parsed.long_description)))
    told = {
        name.strip(" *"): found.description
        for found in parsed.params
        if found.description
        for name in found.arg_name.split(",")  # NumPy's style names several at once
    }
    return description, told
