"""What follows when a turn could not be stored: who is told, what is delivered again, which events were missed."""

from __future__ import annotations

from orcs_server.engines.local.letters import Draft, Letter, answer_repeated
from orcs_server.errors import Unavailable
from orcs_server.storage.store import DuplicateRequest, EventRecord, Store
from orcs_server.workflow import messages as m

MISSED_AT_ONCE = 500


def owed(draft: Draft, error: Exception, *, hopeless: bool) -> list[Letter]:
    """Answer whom that can be done for, and return the letters to deliver again: of what is hopeless, what can be stored."""
    again = [letter for letter in draft.letters if not _answered(letter, draft, error)]
    return [letter.replaced() for letter in again] if hopeless else again


def _answered(letter: Letter, draft: Draft, error: Exception) -> bool:
    """Answer the letter if that can be done; False if it is to be delivered again."""
    command, reply = letter.command, letter.reply
    if command is None or reply is None:
        return False
    if reply.done():
        return True
    creates = isinstance(command.request, m.CreateWorkflow)
    if isinstance(error, DuplicateRequest):
        if draft.request is None or command.request_id != draft.request.key.request_id:
            return False
        answer_repeated(reply, command, error.record)
    elif isinstance(error, Unavailable) or creates:
        letter.refuse(error)
    else:
        return False  # Decided on a state that was not the stored one.
    return True


async def events_between(store: Store, namespace: str, workflow_id: str, seq: int, last_seq: int) -> list[EventRecord]:
    """Return the events after `seq` up to at least `last_seq`, as far as they are there. Raises Unavailable."""
    found: list[EventRecord] = []
    while seq < last_seq:
        found += await store.events(namespace, workflow_id, seq, MISSED_AT_ONCE)
        seq = found[-1].seq if found else last_seq
    return found
