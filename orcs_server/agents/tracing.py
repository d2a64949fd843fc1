"""The Agents SDK sends prompts and answers to its vendor wherever an OpenAI key is set, even if the models are elsewhere. Not here."""

from __future__ import annotations

from agents.tracing import set_trace_provider, set_tracing_disabled
from agents.tracing.provider import DefaultTraceProvider


def silence_vendor_tracing() -> None:
    """Take the vendor's trace exporter out of this process and switch the SDK's tracing off. Calling it again is harmless."""
    # A provider of our own, because the SDK's comes with the exporter, and that with a network client.
    set_trace_provider(DefaultTraceProvider())
    set_tracing_disabled(True)
