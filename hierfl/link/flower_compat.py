"""The one module that uses Flower's private names.

Flower (1.41, 1.42) keeps how a message is written to bytes, who the running process is, and how an
app's pyproject.toml is read, out of its public interface. When a new Flower moves one of them,
importing this module fails, and the test of this module says so first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any

from flwr.app import DEFAULT_TTL, ConfigRecord, Error, Message, Metadata, RecordDict
from flwr.common.config import flatten_dict, parse_config_args, validate_config
from flwr.common.constant import ErrorCode
from flwr.common.serde import array_record_from_proto, metric_record_from_proto, recorddict_to_proto
from flwr.common.serde_utils import error_from_proto, error_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata as MetadataProto
from flwr.proto.recorddict_pb2 import ConfigRecordValue as ValueProto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.supercore.exit import add_exit_handler
from flwr.supercore.run import Run, RunStatus
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "Run",
    "assume_identity",
    "config_content",
    "content_to_bytes",
    "error_reply",
    "flatten_dict",
    "message_from_bytes",
    "message_to_bytes",
    "on_engine_exit",
    "parse_config_args",
    "question",
    "reply",
    "run_status",
    "stamp",
    "validate_config",
]

_CONTENT_FIELD = MessageProto.DESCRIPTOR.fields_by_name["content"].number
_LENGTH_DELIMITED = 2


def assume_identity(run_id: int) -> None:
    """Let this process create Flower messages outside a task of Flower's own engine.

    Inside such a task the engine has set the identity, and it stays as it is.
    """
    if TaskIdentity._task_id is None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, 0


def on_engine_exit(handler: Callable[[], None]) -> None:
    """Let Flower's engine call this when it stops the run that this process belongs to.

    It does so before anything else, and then gives the process a few seconds.
    """
    add_exit_handler(handler, run_before_force_exit=True)


def run_status(superlink: str, run_id: int) -> Callable[[], RunStatus | None]:
    """Return a function that asks a SuperLink what has become of one of its runs.

    It returns None where that cannot be known: nobody answers, or not to us.

    Args:
        superlink: the name of a connection in Flower's configuration on this machine.
        run_id: the run's number.
    """
    from flwr.cli.flower_config import read_superlink_connection  # what few processes need
    from flwr.cli.utils import init_http_client_from_connection
    from flwr.common.serde import run_from_proto
    from flwr.proto.control_pb2 import ListRunsRequest

    request = ListRunsRequest(run_id=run_id)
    client = None

    def ask() -> RunStatus | None:
        nonlocal client
        try:
            if client is None:
                client = init_http_client_from_connection(read_superlink_connection(superlink))
            (run,) = client.ListRuns(request).run_dict.values()
            return run_from_proto(run).status
        except Exception:  # Flower raises many kinds, some of them made for its command line
            return None

    return ask


def stamp(message: Message, message_id: str) -> None:
    """Give a message its identifier, which on Flower's own engine the SuperLink would do."""
    message.metadata.__dict__["_message_id"] = message_id


def content_to_bytes(content: RecordDict) -> bytes:
    """Return the content as the field ``content`` of a serialized Flower message.

    A serialized protobuf message is the concatenation of its fields, so what many messages share
    is serialized once and appended to the metadata of each.
    """
    body = _content_to_proto(content).SerializeToString()
    return _tag(_CONTENT_FIELD, len(body)) + body


def message_to_bytes(message: Message, content: bytes | None = None) -> bytes:
    """Serialize a Flower message.

    Args:
        message: the message.
        content: its content as `content_to_bytes` returned it, if that is there already.
    """
    metadata = message.metadata.__dict__
    head = MessageProto(
        metadata=MetadataProto(
            src_task_id=metadata["_src_task_id"],
            dst_task_id=metadata["_dst_task_id"],
            **dict(zip(_METADATA, _of_metadata(metadata), strict=True)),
        )
    )
    if message.has_error():
        head.error.CopyFrom(error_to_proto(message.error))
        return head.SerializeToString()
    return head.SerializeToString() + (content or content_to_bytes(message.content))


def message_from_bytes(data: bytes) -> Message:
    """Parse a Flower message.

    Raises:
        ValueError: if the bytes are no Flower message with a content or an error.
    """
    try:
        proto = MessageProto.FromString(data)
        content = _content_from_proto(proto.content) if proto.HasField("content") else None
        error = error_from_proto(proto.error) if proto.HasField("error") else None
        if (content is None) == (error is None):
            raise ValueError("it needs either a content or an error")
        return _message(_metadata_from_proto(proto.metadata), content, error)
    except Exception as error:  # Flower and protobuf raise many kinds for malformed bytes
        raise ValueError(f"not a Flower message: {error}") from error


# Flower checks the type of every argument, key and value, coming and going, and copies each
# payload several times: most of what a small message costs. The messages that are made at every
# step are put together here instead, of parts whose types are known; what hierfl's own contents
# consist of (ConfigRecords of bytes, text and numbers) goes straight to protobuf and back, which
# checks types as well. For everything else Flower's own functions serve.

_METADATA = (
    "run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "group_id", "ttl",
    "message_type", "created_at",
)  # fmt: skip
_KEYS = tuple(f"_{name}" for name in _METADATA)
_of_proto, _of_metadata = attrgetter(*_METADATA), itemgetter(*_KEYS)


def question(content: RecordDict, dst_node_id: int, message_type: str, group_id: str) -> Message:
    """Return a message as Flower's constructor makes it; the caller vouches for the types."""
    return _message(
        {
            "_run_id": TaskIdentity.run_id,
            "_message_id": "",
            "_src_node_id": TaskIdentity.node_id,
            "_dst_node_id": dst_node_id,
            "_reply_to_message_id": "",
            "_group_id": group_id,
            "_created_at": time.time(),
            "_ttl": DEFAULT_TTL,
            "_message_type": message_type,
            "_src_task_id": TaskIdentity.task_id,
            "_dst_task_id": None,
            "_delivered_at": "",
        },
        content,
    )


def reply(content: RecordDict, to: Message) -> Message:
    """Return the reply to a message as Flower's constructor makes it; the types are vouched for."""
    asked, now = to.metadata.__dict__, time.time()
    answered = {
        "_message_id": "",
        "_src_node_id": asked["_dst_node_id"],
        "_dst_node_id": asked["_src_node_id"],
        "_reply_to_message_id": asked["_message_id"],
        "_created_at": now,
        "_ttl": asked["_created_at"] + asked["_ttl"] - now,
        "_src_task_id": asked["_dst_task_id"],
        "_dst_task_id": asked["_src_task_id"],
    }
    return _message(asked | answered, content)


def _message(
    metadata: dict[str, Any], content: RecordDict | None, error: Error | None = None
) -> Message:
    head, message = Metadata.__new__(Metadata), Message.__new__(Message)
    head.__dict__.update(metadata)
    message.__dict__.update(_metadata=head, _content=content, _error=error)
    return message


def _metadata_from_proto(proto: MetadataProto) -> dict[str, Any]:
    metadata = dict(zip(_KEYS, _of_proto(proto), strict=True))
    metadata["_src_task_id"] = proto.src_task_id if proto.HasField("src_task_id") else None
    metadata["_dst_task_id"] = proto.dst_task_id if proto.HasField("dst_task_id") else None
    metadata["_delivered_at"] = ""
    return metadata


_FIELDS: dict[type, str] = {bytes: "bytes", str: "string", int: "sint64", float: "double"}


def _content_to_proto(content: RecordDict) -> RecordDictProto:
    proto = RecordDictProto()
    try:
        for key, record in content.items():
            if type(record) is not ConfigRecord:
                return recorddict_to_proto(content)
            items = proto.items.add(key=key).config_record
            items.SetInParent()
            for name, value in record.items():
                entry = items.items.add(key=name).value
                if type(value) is list and type(value[0]) is bytes:
                    entry.bytes_list.vals.extend(value)
                else:
                    setattr(entry, _FIELDS[type(value)], value)
    except (KeyError, IndexError, ValueError):  # an empty list, a bool, a large int, a subclass
        return recorddict_to_proto(content)
    return proto


def config_content(key: str, values: dict[str, Any]) -> RecordDict:
    """Return a content of one ConfigRecord, whose values' types the caller vouches for."""
    content, record = RecordDict(), ConfigRecord()
    record.__dict__["_data"] = values
    content.__dict__["_data"][key] = record
    return content


def _content_from_proto(proto: RecordDictProto) -> RecordDict:
    content = RecordDict()
    records = content.__dict__["_data"]
    for item in proto.items:
        match item.WhichOneof("value"):
            case "config_record":
                records[item.key] = record = ConfigRecord()
                values = record.__dict__["_data"]
                for entry in item.config_record.items:
                    values[entry.key] = _value_from_proto(entry.value)
            case "array_record":
                records[item.key] = array_record_from_proto(item.array_record)
            case "metric_record":
                records[item.key] = metric_record_from_proto(item.metric_record)
            case kind:
                raise ValueError(f"a record of the kind {kind}")
    return content


def _value_from_proto(proto: ValueProto) -> Any:
    field = proto.WhichOneof("value")
    if field is None:
        raise ValueError("a record's value is missing")
    value = getattr(proto, field)
    return list(value.vals) if field.endswith("_list") else value


def error_reply(message: Message, reason: str) -> Message:
    """Return the reply that says: the ClientApp raised an exception."""
    printable = reason.encode(errors="replace").decode()  # what a file name holds may not be
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, printable), reply_to=message)


def _tag(field: int, length: int) -> bytes:
    """Return the protobuf key and length that precede a length-delimited field."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
