from protos import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgentsReply(_message.Message):
    __slots__ = ("agents",)
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    def __init__(self, agents: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("agent", "connected", "seen_minute")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    SEEN_MINUTE_FIELD_NUMBER: _ClassVar[int]
    agent: bytes
    connected: bool
    seen_minute: int
    def __init__(self, agent: _Optional[bytes] = ..., connected: _Optional[bool] = ..., seen_minute: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("cursor", "limit", "kinds")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    cursor: _message_pb2.Cursor
    limit: int
    kinds: _containers.RepeatedScalarFieldContainer[_message_pb2.Kind]
    def __init__(self, cursor: _Optional[_Union[_message_pb2.Cursor, _Mapping]] = ..., limit: _Optional[int] = ..., kinds: _Optional[_Iterable[_Union[_message_pb2.Kind, str]]] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("epoch", "deliveries", "after")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    deliveries: _containers.RepeatedCompositeFieldContainer[_message_pb2.Delivery]
    after: int
    def __init__(self, epoch: _Optional[bytes] = ..., deliveries: _Optional[_Iterable[_Union[_message_pb2.Delivery, _Mapping]]] = ..., after: _Optional[int] = ...) -> None: ...

class ViewRequest(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: _message_pb2.Message
    def __init__(self, message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ...) -> None: ...

class ViewReply(_message.Message):
    __slots__ = ("page", "last")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    page: bytes
    last: bool
    def __init__(self, page: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...
