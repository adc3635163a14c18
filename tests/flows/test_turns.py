"""Whole turns: what a user says, what the model and the tools do, what comes back and what stays."""

from typing import Any

import anyio
import msgspec
import pytest
from conftest_names import TestBus, assert_told, assert_valid, codes, last_results, named

from toolwire import (
    Agent,
    AssistantMessage,
    Chat,
    Context,
    Failure,
    Limits,
    ModelReply,
    ModelRequest,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolError,
    ToolMessage,
    ToolwireError,
    Usage,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.model import Memory, ModelActor

pytestmark = pytest.mark.anyio
