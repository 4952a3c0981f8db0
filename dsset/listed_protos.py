"""`Document` and `RunQueryResponse` as a listing reads them: of the same bytes, with the parts left encoded.

What comes out of a message costs about as much as parsing it, for each part becomes an object of its own first. A
field's Value is bytes here, of which `documents` cuts out what it needs, and so is a time that nobody looks at. To
protobuf a message in a field and bytes in it are the same on the wire.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

_FILE = """
name: "dsset/listed.proto" package: "dsset" syntax: "proto3"
message_type {
  name: "Timestamp"
  field { name: "seconds" number: 1 label: LABEL_OPTIONAL type: TYPE_INT64 }
  field { name: "nanos" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
}
message_type {
  name: "Document"
  field { name: "name" number: 1 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "fields" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".dsset.Document.FieldsEntry" }
  field { name: "create_time" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".dsset.Timestamp" }
  field { name: "update_time" number: 4 label: LABEL_OPTIONAL type: TYPE_BYTES }
  nested_type {
    name: "FieldsEntry"
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
    options { map_entry: true }
  }
}
message_type {
  name: "RunQueryResponse"
  field { name: "document" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".dsset.Document" }
  field { name: "read_time" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".dsset.Timestamp" }
}
"""

_pool = descriptor_pool.DescriptorPool()
_pool.Add(text_format.Parse(_FILE, FileDescriptorProto()))


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"dsset.{name}"))


Document: Any = _message("Document")
RunQueryResponse: Any = _message("RunQueryResponse")
