"""The smallest program: a function, an agent, a turn. Without a key, because its model speaks from a list."""

from toolwire import Agent, run, scripted


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


model = scripted([("multiply", {"a": 6, "b": 7}), "Six times seven is 42."])  # or "openai:gpt-5.1"
reply = run(Agent("clerk", model, tools=[multiply]), "What is six times seven?")
print(reply.text)
for call in reply.calls:
    print(f"  {call.name} returned {call.value}, in {call.seconds * 1000:.1f} ms")
