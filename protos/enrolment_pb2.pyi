from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class EnrollRequest(_message.Message):
    __slots__ = ("token", "csr", "identity")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CSR_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    csr: bytes
    identity: bytes
    def __init__(self, token: _Optional[bytes] = ..., csr: _Optional[bytes] = ..., identity: _Optional[bytes] = ...) -> None: ...

class EnrollReply(_message.Message):
    __slots__ = ("certificate", "issuer")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    issuer: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., issuer: _Optional[bytes] = ...) -> None: ...
