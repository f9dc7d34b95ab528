from protos import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class AddCheckpointRequest(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class AddCheckpointReply(_message.Message):
    __slots__ = ("cosignatures", "conflict")
    COSIGNATURES_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    cosignatures: bytes
    conflict: int
    def __init__(self, cosignatures: _Optional[bytes] = ..., conflict: _Optional[int] = ...) -> None: ...
