from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Entry(_message.Message):
    __slots__ = ("name", "token", "address", "devices")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    name: str
    token: str
    address: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., token: _Optional[str] = ..., address: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: str
    def __init__(self, config: _Optional[str] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("hello", "facts")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    facts: bytes
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., facts: _Optional[bytes] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("facts", "goodbye")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    facts: bytes
    goodbye: Goodbye
    def __init__(self, facts: _Optional[bytes] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Tunnelled(_message.Message):
    __slots__ = ("config", "run", "frame", "over", "token", "name")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    config: str
    run: str
    frame: bytes
    over: bool
    token: str
    name: str
    def __init__(self, config: _Optional[str] = ..., run: _Optional[str] = ..., frame: _Optional[bytes] = ..., over: _Optional[bool] = ..., token: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "message", "progress", "goodbye", "step_request", "ballot", "out_of_sync", "failure")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    STEP_REQUEST_FIELD_NUMBER: _ClassVar[int]
    BALLOT_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_SYNC_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    message: bytes
    progress: bytes
    goodbye: Goodbye
    step_request: StepRequest
    ballot: Ballot
    out_of_sync: OutOfSync
    failure: Failure
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., message: _Optional[bytes] = ..., progress: _Optional[bytes] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., step_request: _Optional[_Union[StepRequest, _Mapping]] = ..., ballot: _Optional[_Union[Ballot, _Mapping]] = ..., out_of_sync: _Optional[_Union[OutOfSync, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("name", "protocol", "run", "model", "plan", "instance", "round", "applied", "token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    protocol: int
    run: str
    model: str
    plan: str
    instance: str
    round: int
    applied: int
    token: str
    def __init__(self, name: _Optional[str] = ..., protocol: _Optional[int] = ..., run: _Optional[str] = ..., model: _Optional[str] = ..., plan: _Optional[str] = ..., instance: _Optional[str] = ..., round: _Optional[int] = ..., applied: _Optional[int] = ..., token: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("run", "node_id", "model", "max_frame")
    RUN_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_FIELD_NUMBER: _ClassVar[int]
    run: str
    node_id: int
    model: str
    max_frame: int
    def __init__(self, run: _Optional[str] = ..., node_id: _Optional[int] = ..., model: _Optional[str] = ..., max_frame: _Optional[int] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("code", "reason", "time")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    code: Goodbye.Code
    reason: str
    time: float
    def __init__(self, code: _Optional[_Union[Goodbye.Code, str]] = ..., reason: _Optional[str] = ..., time: _Optional[float] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("code", "reason")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Goodbye.Code]
        DONE: _ClassVar[Goodbye.Code]
        REFUSED: _ClassVar[Goodbye.Code]
        BUSY: _ClassVar[Goodbye.Code]
        FAILED: _ClassVar[Goodbye.Code]
        BREACH: _ClassVar[Goodbye.Code]
    UNSPECIFIED: Goodbye.Code
    DONE: Goodbye.Code
    REFUSED: Goodbye.Code
    BUSY: Goodbye.Code
    FAILED: Goodbye.Code
    BREACH: Goodbye.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: Goodbye.Code
    reason: str
    def __init__(self, code: _Optional[_Union[Goodbye.Code, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StepRequest(_message.Message):
    __slots__ = ("round", "step", "after", "decisions", "examples", "devices", "opening", "most_examples")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    MOST_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    round: int
    step: int
    after: int
    decisions: _containers.RepeatedScalarFieldContainer[bytes]
    examples: int
    devices: int
    opening: bytes
    most_examples: int
    def __init__(self, round: _Optional[int] = ..., step: _Optional[int] = ..., after: _Optional[int] = ..., decisions: _Optional[_Iterable[bytes]] = ..., examples: _Optional[int] = ..., devices: _Optional[int] = ..., opening: _Optional[bytes] = ..., most_examples: _Optional[int] = ...) -> None: ...

class Ballot(_message.Message):
    __slots__ = ("round", "step", "ballot", "loss", "abstains", "buffers")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BALLOT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ABSTAINS_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    round: int
    step: int
    ballot: bytes
    loss: float
    abstains: str
    buffers: bytes
    def __init__(self, round: _Optional[int] = ..., step: _Optional[int] = ..., ballot: _Optional[bytes] = ..., loss: _Optional[float] = ..., abstains: _Optional[str] = ..., buffers: _Optional[bytes] = ...) -> None: ...

class OutOfSync(_message.Message):
    __slots__ = ("round", "applied")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    round: int
    applied: int
    def __init__(self, round: _Optional[int] = ..., applied: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...
