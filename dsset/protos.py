"""Firestore's messages as raw protobuf classes.

google-cloud-firestore wraps each message in a proto-plus class, which costs about as much per field as the rest of a
small RPC. The hot paths here build and read the raw messages instead.
"""

from __future__ import annotations

from typing import Any

from google.cloud.firestore_v1.types import common, document, firestore, query, write
from google.protobuf import timestamp_pb2

# The classes come from proto-plus at run time, so the type checker cannot see them: `Any` stops at this edge.
Document: Any = document.Document.pb()
Value: Any = document.Value.pb()
ArrayValue: Any = document.ArrayValue.pb()
MapValue: Any = document.MapValue.pb()
DocumentMask: Any = common.DocumentMask.pb()
Precondition: Any = common.Precondition.pb()
TransactionOptions: Any = common.TransactionOptions.pb()
DocumentTransform: Any = write.DocumentTransform.pb()
Write: Any = write.Write.pb()
StructuredQuery: Any = query.StructuredQuery.pb()
Cursor: Any = query.Cursor.pb()
BatchGetDocumentsRequest: Any = firestore.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = firestore.BatchGetDocumentsResponse.pb()
BatchWriteRequest: Any = firestore.BatchWriteRequest.pb()
BatchWriteResponse: Any = firestore.BatchWriteResponse.pb()
BeginTransactionRequest: Any = firestore.BeginTransactionRequest.pb()
BeginTransactionResponse: Any = firestore.BeginTransactionResponse.pb()
CommitRequest: Any = firestore.CommitRequest.pb()
CommitResponse: Any = firestore.CommitResponse.pb()
GetDocumentRequest: Any = firestore.GetDocumentRequest.pb()
ListenRequest: Any = firestore.ListenRequest.pb()
ListenResponse: Any = firestore.ListenResponse.pb()
RollbackRequest: Any = firestore.RollbackRequest.pb()
RunQueryRequest: Any = firestore.RunQueryRequest.pb()
RunQueryResponse: Any = firestore.RunQueryResponse.pb()
Target: Any = firestore.Target.pb()
TargetChange: Any = firestore.TargetChange.pb()

Timestamp = timestamp_pb2.Timestamp

wrap_document = document.Document.wrap
"""Makes of a raw `Document` what google's own classes hold."""

wrap_write = write.Write.wrap
"""Makes of a raw `Write` what google's own classes hold."""
