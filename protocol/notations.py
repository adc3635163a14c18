"""The notations in which models write calls as text, by their names."""

from .fenced_calls import Fenced
from .tagged_calls import Hermes, Mistral
from .text_calls import TextCalls

NOTATIONS: dict[str, type[TextCalls]] = {"hermes": Hermes, "mistral": Mistral, "json": Fenced}
