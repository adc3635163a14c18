"""Traces for any OpenTelemetry backend: `pip install toolwire[otlp]`, and OTEL_EXPORTER_OTLP_ENDPOINT says where to.

One turn is one trace: the agent, its calls, and what these call, in whichever process. Without it they are printed.
"""

import os

import anyio
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from toolwire import Agent, Context, Runtime, scripted, tool


@tool(read_only=True)
async def weather(city: str) -> str:
    return f"sunny in {city}"


@tool
async def plan(city: str, context: Context) -> str:
    return f"{(await context.call(weather, {'city': city})).value}: let us walk"


async def main() -> None:
    provider = TracerProvider()
    to = OTLPSpanExporter() if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else ConsoleSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(to))
    trace.set_tracer_provider(provider)  # or Runtime(tracer_provider=provider)
    async with Runtime() as runtime:
        await runtime.serve(weather, plan)
        chat = await runtime.converse(Agent("guide", scripted([("plan", {"city": "Lisbon"}), "Walk!"])))
        print((await chat.say("What shall we do?")).text)
    provider.shutdown()


anyio.run(main)
