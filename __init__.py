"""Toolwire: an actor runtime for LLM tool calls, in one process or over NATS.

Everything that a program imports stands here; the packages behind it are for those who build on Toolwire itself.
"""

from .actors.agent import Agent
from .actors.artifact_reader import read_artifact
from .actors.audit import JsonLines, Sqlite
from .actors.chat import Chat
from .actors.context import Context
from .actors.following import TurnStream
from .actors.lazy import Lazy, lazy
from .actors.memory.contract import MemoryStrategy, Past
from .actors.memory.summarize import Summarize
from .actors.memory.trim import Trim
from .actors.models.contract import Model, ModelReply, ModelRequest, StreamingModel
from .actors.models.scripted import scripted, spoken
from .actors.one_turn import run
from .actors.recovery import recovery
from .actors.run_plan import run_plan
from .actors.selectors import Keyword, SelectionStrategy
from .actors.serving import Served
from .actors.tool import Tool, tool
from .actors.wiring import Runtime
from .protocol.blob import Blob
from .protocol.breaker import Breaker
from .protocol.events import (
    CallFinished,
    CallProgress,
    CallStarted,
    ConfirmationWanted,
    Event,
    Pending,
    ReasoningDelta,
    Reply,
    TextDelta,
    TurnFinished,
    Usage,
)
from .protocol.failures import CallFailed, Failure, Misuse, ToolError, ToolwireError
from .protocol.history import AssistantMessage, History, Opaque, SystemMessage, ToolMessage, UserMessage
from .protocol.limits import Limits
from .protocol.outline import Graph
from .protocol.policy import Policy, Rule
from .protocol.prices import Price
from .protocol.record import CallRecord
from .protocol.schema import Inject
from .protocol.secret import Secret
from .protocol.telling import Telling
from .protocol.tools import Artifact, Mended, Retry, ToolCall, ToolResult, ToolSpec

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Artifact",
    "AssistantMessage",
    "Blob",
    "Breaker",
    "CallFailed",
    "CallFinished",
    "CallProgress",
    "CallRecord",
    "CallStarted",
    "Chat",
    "ConfirmationWanted",
    "Context",
    "Event",
    "Failure",
    "Graph",
    "History",
    "Inject",
    "JsonLines",
    "Keyword",
    "Lazy",
    "Limits",
    "MemoryStrategy",
    "Mended",
    "Misuse",
    "Model",
    "ModelReply",
    "ModelRequest",
    "Opaque",
    "Past",
    "Pending",
    "Policy",
    "Price",
    "ReasoningDelta",
    "Reply",
    "Retry",
    "Rule",
    "Runtime",
    "Secret",
    "SelectionStrategy",
    "Served",
    "Sqlite",
    "StreamingModel",
    "Summarize",
    "SystemMessage",
    "Telling",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolMessage",
    "ToolResult",
    "ToolSpec",
    "ToolwireError",
    "Trim",
    "TurnFinished",
    "TurnStream",
    "Usage",
    "UserMessage",
    "lazy",
    "read_artifact",
    "recovery",
    "run",
    "run_plan",
    "scripted",
    "spoken",
    "tool",
]
