"""The one module that uses Flower's private names.

Flower (1.41, 1.42) keeps how a message is written to bytes, who the running process is, and how an
app's pyproject.toml is read, out of its public interface. When a new Flower moves one of them,
importing this module fails, and the test of this module says so first.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Error, Message, RecordDict
from flwr.common.config import flatten_dict, parse_config_args, validate_config
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto, recorddict_to_proto
from flwr.common.serde_utils import metadata_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.supercore.exit import add_exit_handler
from flwr.supercore.run import Run, RunStatus
from flwr.supercore.task_identity import TaskIdentity

from hierfl.link.message_frame import key

__all__ = [
    "Run",
    "assume_identity",
    "content_to_bytes",
    "error_reply",
    "flatten_dict",
    "message_from_bytes",
    "message_to_bytes",
    "metadata_to_bytes",
    "on_engine_exit",
    "parse_config_args",
    "run_status",
    "stamp",
    "validate_config",
]

_CONTENT_FIELD = MessageProto.DESCRIPTOR.fields_by_name["content"].number


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
    body = recorddict_to_proto(content).SerializeToString()
    return key(_CONTENT_FIELD, len(body)) + body


def message_to_bytes(message: Message, content: bytes | None = None) -> bytes:
    """Serialize a Flower message.

    Args:
        message: the message.
        content: its content as `content_to_bytes` returned it, if that is there already.
    """
    if content is None:
        return message_to_proto(message).SerializeToString()
    return metadata_to_bytes(message) + content


def metadata_to_bytes(message: Message) -> bytes:
    """Return all fields of a serialized Flower message that precede the content."""
    return MessageProto(metadata=metadata_to_proto(message.metadata)).SerializeToString()


def message_from_bytes(data: bytes) -> Message:
    """Parse a Flower message.

    Raises:
        ValueError: if the bytes are no Flower message with a content or an error.
    """
    try:
        proto = MessageProto.FromString(data)
        if proto.HasField("content") == proto.HasField("error"):
            raise ValueError("it needs either a content or an error")
        return message_from_proto(proto)
    except Exception as error:  # Flower and protobuf raise many kinds for malformed bytes
        raise ValueError(f"not a Flower message: {error}") from error


def error_reply(message: Message, reason: str) -> Message:
    """Return the reply that says: the ClientApp raised an exception."""
    printable = reason.encode(errors="replace").decode()  # what a file name holds may not be
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, printable), reply_to=message)
