"""What a person at a terminal says to the program and not to the model: lines that begin with a slash."""

from anyio.from_thread import BlockingPortal

from ....protocol.failures import ToolwireError
from ....protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from ...chat import Chat
from ..console import brief, harmless, output

HELP = """\
/undo      forget what you said last, and what came of it
/clear     forget everything but what the system says
/history   what the conversation remembers
/help      this list
//…        say something that begins with a slash"""


class Asides:
    """Carries out what is said aside, about one conversation."""

    def __init__(self, portal: BlockingPortal, conversation: Chat) -> None:
        self._portal = portal
        self._conversation = conversation

    def take(self, line: str) -> str:
        """What of `line` is for the model: "" if nothing is."""
        if not line.startswith("/"):
            return line
        if line.startswith("//"):
            return line[1:]
        match line[1:].split():
            case ["undo"]:
                self._rewound(None)
            case ["clear"]:
                self._rewound(0)
            case ["history"]:
                for message in self._conversation.history():
                    output().print(told(message), soft_wrap=True)
            case ["help"]:
                output().print(HELP)
            case _:
                output(stderr=True).print(f"there is no {brief(line)}; there are:\n{HELP}", style="red")
        return ""

    def _rewound(self, to: int | None) -> None:
        try:
            left = self._portal.call(self._conversation.rewind, to)
        except ToolwireError as error:
            output(stderr=True).print(harmless(str(error)), style="red", soft_wrap=True)
        else:
            output().print(f"{left} {'message is' if left == 1 else 'messages are'} left", style="dim")


def told(message: HistoryMessage) -> str:
    """A message in one line: who says it, and how it begins."""
    match message:
        case SystemMessage(text):
            return f"system     {brief(text)}"
        case UserMessage(text, blobs):
            shown = [f"[{blob.name or blob.media_type}]" for blob in blobs]
            return f"user       {brief(' '.join([text, *shown]))}"
        case AssistantMessage(text, calls):
            asked = [f"{call.name}({call.text()})" for call in calls]
            return f"assistant  {brief(' '.join([text, *asked]))}"
        case ToolMessage(name=name, content=content):
            return f"tool       {brief(f'{name}: {content}')}"
