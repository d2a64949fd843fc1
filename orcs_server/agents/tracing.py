"""The Agents SDK sends prompts and answers to its vendor wherever an OpenAI key is set, even if the models are elsewhere. Not here."""

from __future__ import annotations

from agents.tracing import set_trace_processors, set_tracing_disabled


def silence_vendor_tracing() -> None:
    """Take the vendor's trace exporter out of this process and switch the SDK's tracing off. Calling it again is harmless."""
    set_trace_processors([])
    set_tracing_disabled(True)
