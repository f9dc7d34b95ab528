from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_PLAN: _ClassVar[Kind]
    KIND_RECEIPT: _ClassVar[Kind]
    KIND_OUTCOME: _ClassVar[Kind]
    KIND_SEALKEY: _ClassVar[Kind]
    KIND_CHECKPOINT: _ClassVar[Kind]
    KIND_INTENT: _ClassVar[Kind]
    KIND_APPROVAL: _ClassVar[Kind]
    KIND_CANCEL: _ClassVar[Kind]
    KIND_FREEZE: _ClassVar[Kind]
    KIND_UNFREEZE: _ClassVar[Kind]
    KIND_TRUST: _ClassVar[Kind]
    KIND_STANDING: _ClassVar[Kind]
    KIND_COSIGNATURE: _ClassVar[Kind]
    KIND_PAUSE: _ClassVar[Kind]
    KIND_RESUME: _ClassVar[Kind]
    KIND_VIEW: _ClassVar[Kind]
    KIND_VIEW_PAGE: _ClassVar[Kind]

class Refusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_UNSPECIFIED: _ClassVar[Refusal]
    REFUSAL_MALFORMED: _ClassVar[Refusal]
    REFUSAL_TOO_LARGE: _ClassVar[Refusal]
    REFUSAL_WRONG_KIND: _ClassVar[Refusal]
    REFUSAL_UNKNOWN_AGENT: _ClassVar[Refusal]
    REFUSAL_REF_REUSED: _ClassVar[Refusal]
    REFUSAL_QUOTA: _ClassVar[Refusal]
    REFUSAL_AGENT_AWAY: _ClassVar[Refusal]
    REFUSAL_NOT_ENROLLED: _ClassVar[Refusal]
    REFUSAL_REVOKED: _ClassVar[Refusal]
    REFUSAL_BAD_TOKEN: _ClassVar[Refusal]
    REFUSAL_BAD_CSR: _ClassVar[Refusal]
    REFUSAL_DRAINING: _ClassVar[Refusal]
    REFUSAL_UNKNOWN_LOG: _ClassVar[Refusal]
    REFUSAL_BAD_PROOF: _ClassVar[Refusal]
    REFUSAL_INTERNAL: _ClassVar[Refusal]
KIND_UNSPECIFIED: Kind
KIND_PLAN: Kind
KIND_RECEIPT: Kind
KIND_OUTCOME: Kind
KIND_SEALKEY: Kind
KIND_CHECKPOINT: Kind
KIND_INTENT: Kind
KIND_APPROVAL: Kind
KIND_CANCEL: Kind
KIND_FREEZE: Kind
KIND_UNFREEZE: Kind
KIND_TRUST: Kind
KIND_STANDING: Kind
KIND_COSIGNATURE: Kind
KIND_PAUSE: Kind
KIND_RESUME: Kind
KIND_VIEW: Kind
KIND_VIEW_PAGE: Kind
REFUSAL_UNSPECIFIED: Refusal
REFUSAL_MALFORMED: Refusal
REFUSAL_TOO_LARGE: Refusal
REFUSAL_WRONG_KIND: Refusal
REFUSAL_UNKNOWN_AGENT: Refusal
REFUSAL_REF_REUSED: Refusal
REFUSAL_QUOTA: Refusal
REFUSAL_AGENT_AWAY: Refusal
REFUSAL_NOT_ENROLLED: Refusal
REFUSAL_REVOKED: Refusal
REFUSAL_BAD_TOKEN: Refusal
REFUSAL_BAD_CSR: Refusal
REFUSAL_DRAINING: Refusal
REFUSAL_UNKNOWN_LOG: Refusal
REFUSAL_BAD_PROOF: Refusal
REFUSAL_INTERNAL: Refusal

class Message(_message.Message):
    __slots__ = ("kind", "ref", "agent", "body", "links", "answers", "last", "witness")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    WITNESS_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    ref: bytes
    agent: bytes
    body: bytes
    links: _containers.RepeatedScalarFieldContainer[bytes]
    answers: bytes
    last: bool
    witness: bytes
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., ref: _Optional[bytes] = ..., agent: _Optional[bytes] = ..., body: _Optional[bytes] = ..., links: _Optional[_Iterable[bytes]] = ..., answers: _Optional[bytes] = ..., last: _Optional[bool] = ..., witness: _Optional[bytes] = ...) -> None: ...

class Cursor(_message.Message):
    __slots__ = ("epoch", "after")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    after: int
    def __init__(self, epoch: _Optional[bytes] = ..., after: _Optional[int] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("number", "message", "minute")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MINUTE_FIELD_NUMBER: _ClassVar[int]
    number: int
    message: Message
    minute: int
    def __init__(self, number: _Optional[int] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., minute: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("epoch", "newest", "minute")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    MINUTE_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    newest: int
    minute: int
    def __init__(self, epoch: _Optional[bytes] = ..., newest: _Optional[int] = ..., minute: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("cursor",)
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cursor: Cursor
    def __init__(self, cursor: _Optional[_Union[Cursor, _Mapping]] = ...) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("hello", "delivery", "live")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    delivery: Delivery
    live: Message
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., live: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: Message
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("again",)
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    again: bool
    def __init__(self, again: _Optional[bool] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("csr",)
    CSR_FIELD_NUMBER: _ClassVar[int]
    csr: bytes
    def __init__(self, csr: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("certificate", "issuer")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    issuer: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., issuer: _Optional[bytes] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("refusal", "retry_after_s")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    refusal: Refusal
    retry_after_s: int
    def __init__(self, refusal: _Optional[_Union[Refusal, str]] = ..., retry_after_s: _Optional[int] = ...) -> None: ...
