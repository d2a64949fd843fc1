"""From memory to messages."""

from __future__ import annotations

from collections.abc import Iterator

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.memory import Permission, Rule
from orcs_server.memory.inventory import ScopeContent
from orcs_server.memory.memory import Found
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.streams import MESSAGE_BYTES, StreamMessage
from orcs_server.rpc.conversion.times import optional_timestamp, timestamp
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.memoryaccess import Receipt
from orcs_server.service.memorypast import Reverted
from orcs_server.service.watchingmemory import MemoryBatch
from orcs_server.storage.memory_rows import (
    Difference,
    EntrySource,
    ExternalSource,
    KeyReads,
    MemorySnapshot,
    MemoryVersion,
    Origin,
    OutputSource,
    Place,
    Source,
    Trust,
    Writer,
)
from orcs_server.storage.memory_text import is_json, is_text

_m = memory_pb2
TRUST = {trust: _m.MemoryTrust.Value(f"MEMORY_TRUST_{trust.name}") for trust in Trust}
PERMISSION = enums.EnumTable(Permission, _m.MemoryPermission)
_Stream = memory_service_pb2.WatchMemoryResponse


def entry(version: MemoryVersion, cursors: MemoryCursors, value: bytes | None = None) -> _m.MemoryEntry:
    """Return a version, with its value where that is given."""
    message = _m.MemoryEntry(
        scope=version.scope,
        key=version.key,
        version=version.version,
        deleted=version.deleted,
        trust=TRUST[version.trust],
        create_time=timestamp(version.time_us),
        expire_time=optional_timestamp(version.expires_us),
        writer=writer(version.writer),
        origin=origin(version.origin),
        cursor=cursors.at(version.position),
    )
    if not version.deleted:
        message.reference.CopyFrom(
            common_pb2.OutputReference(sha256=version.digest, media_type=version.media_type, size_bytes=version.size)
        )
    if value is not None and not version.deleted:
        message.value.CopyFrom(part(version.media_type, value))
    return message


def part(media_type: str, value: bytes) -> common_pb2.Part:
    """Return a value as what its media type says; as data where it is neither text nor JSON."""
    text = None
    if is_json(media_type) or is_text(media_type):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = None
    if text is None:
        return common_pb2.Part(media_type=media_type, data=value)
    if is_json(media_type):
        return common_pb2.Part(media_type=media_type, json=text)
    return common_pb2.Part(media_type=media_type, text=text)


def writer(one: Writer) -> _m.MemoryWriter:
    return _m.MemoryWriter(
        principal=one.principal,
        agent=one.agent,
        workflow_id=one.workflow_id,
        task_id=one.task_id,
        attempt=one.attempt,
    )


def origin(one: Origin) -> _m.MemoryOrigin:
    return _m.MemoryOrigin(
        sources=[_source(source) for source in one.sources],
        left_out_count=one.left_out,
        restored_version=one.restored,
        shared_from=None if one.shared is None else _name(one.shared),
    )


def hit(found: Found, cursors: MemoryCursors) -> memory_service_pb2.MemoryHit:
    return memory_service_pb2.MemoryHit(entry=entry(found.entry, cursors), score=found.score, snippet=found.snippet)


def snapshot(one: MemorySnapshot, cursors: MemoryCursors) -> _m.MemorySnapshot:
    return _m.MemorySnapshot(
        snapshot=one.number,
        scope=one.scope,
        title=one.title,
        principal=one.principal,
        create_time=timestamp(one.time_us),
        cursor=cursors.at(one.position),
    )


def difference(one: Difference, cursors: MemoryCursors) -> _m.MemoryDifference:
    return _m.MemoryDifference(
        key=one.key,
        before=None if one.before is None else entry(one.before, cursors),
        after=None if one.after is None else entry(one.after, cursors),
    )


def reverted(receipt: Receipt[Reverted]) -> memory_service_pb2.RevertMemoryResponse:
    found = receipt.result
    return memory_service_pb2.RevertMemoryResponse(
        version=found.version,
        reverted_count=found.reverted_count,
        overwritten_count=found.overwritten_count,
        overwritten=[_place(one) for one in found.overwritten],
        forgotten_count=found.forgotten_count,
        forgotten=[_place(one) for one in found.forgotten],
        key_count=found.key_count,
        derived_count=found.derived_count,
        derived=[_place(one) for one in found.derived],
        cursor=receipt.cursor,
    )


def rule(one: Rule) -> _m.MemoryAccessRule:
    return _m.MemoryAccessRule(
        subject=one.subject,
        scope=one.scope,
        prefix=one.prefix,
        permissions=[PERMISSION.to_wire(permission) for permission in one.permissions],
        deny=not one.allow,
    )


def reads(one: KeyReads) -> _m.MemoryReads:
    return _m.MemoryReads(scope=one.scope, key=one.key, read_count=one.reads, last_read_time=timestamp(one.last_us))


def scope(one: ScopeContent) -> _m.MemoryScope:
    return _m.MemoryScope(scope=one.scope, entry_count=one.entries, change_time=optional_timestamp(one.changed_us))


def memory_messages(batch: MemoryBatch, cursors: MemoryCursors) -> Iterator[StreamMessage]:
    """Yield the messages of a batch, at least one; each says how far it has come."""
    message, room, position = _Stream(), MESSAGE_BYTES, batch.position
    for version in batch.entries:
        one = entry(version, cursors)
        size = one.ByteSize()
        if size > room and message.entries:
            message.cursor = cursors.at(position)
            yield StreamMessage(message.SerializeToString(), message.cursor)
            message, room = _Stream(), MESSAGE_BYTES
        message.entries.append(one)
        position = version.position
        room -= size + 8
    message.cursor = cursors.at(batch.position)
    message.bookmark = batch.bookmark
    yield StreamMessage(message.SerializeToString(), message.cursor)


def _place(one: Place) -> _m.MemoryPlace:
    return _m.MemoryPlace(scope=one.scope, key=one.key)


def _name(one: EntrySource) -> _m.MemoryVersionName:
    return _m.MemoryVersionName(scope=one.scope, key=one.key, version=one.version)


def _source(source: Source) -> _m.MemorySource:
    match source:
        case EntrySource():
            return _m.MemorySource(entry=_name(source))
        case OutputSource():
            name = _m.MemoryOutputName(workflow_id=source.workflow_id, task_id=source.task_id)
            return _m.MemorySource(output=name)
        case ExternalSource():
            return _m.MemorySource(external=source.name)
