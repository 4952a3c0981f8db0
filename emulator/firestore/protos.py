"""Google's messages as raw protobuf classes: what the engine speaks, without proto-plus around them."""

from __future__ import annotations

from typing import Any

from google.cloud.firestore_v1.types import (
    aggregation_result,
    common,
    document as document_types,
    firestore,
    query as query_types,
    query_profile,
    write as write_types,
)
from google.protobuf import empty_pb2, timestamp_pb2, wrappers_pb2
from google.rpc import status_pb2
from google.type import latlng_pb2

# proto-plus makes the classes at run time, so the type checker cannot see them: `Any` stops at this edge.
Document: Any = document_types.Document.pb()
Value: Any = document_types.Value.pb()
MapValue: Any = document_types.MapValue.pb()
ArrayValue: Any = document_types.ArrayValue.pb()
DocumentMask: Any = common.DocumentMask.pb()
Precondition: Any = common.Precondition.pb()
TransactionOptions: Any = common.TransactionOptions.pb()
Write: Any = write_types.Write.pb()
DocumentChange: Any = write_types.DocumentChange.pb()
DocumentDelete: Any = write_types.DocumentDelete.pb()
DocumentRemove: Any = write_types.DocumentRemove.pb()
ExistenceFilter: Any = write_types.ExistenceFilter.pb()
WriteResult: Any = write_types.WriteResult.pb()
DocumentTransform: Any = write_types.DocumentTransform.pb()
StructuredQuery: Any = query_types.StructuredQuery.pb()
StructuredAggregationQuery: Any = query_types.StructuredAggregationQuery.pb()
Cursor: Any = query_types.Cursor.pb()
AggregationResult: Any = aggregation_result.AggregationResult.pb()
ExplainMetrics: Any = query_profile.ExplainMetrics.pb()

BatchGetDocumentsRequest: Any = firestore.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Any = firestore.BatchGetDocumentsResponse.pb()
BatchWriteRequest: Any = firestore.BatchWriteRequest.pb()
BatchWriteResponse: Any = firestore.BatchWriteResponse.pb()
BeginTransactionRequest: Any = firestore.BeginTransactionRequest.pb()
BeginTransactionResponse: Any = firestore.BeginTransactionResponse.pb()
CommitRequest: Any = firestore.CommitRequest.pb()
CommitResponse: Any = firestore.CommitResponse.pb()
CreateDocumentRequest: Any = firestore.CreateDocumentRequest.pb()
DeleteDocumentRequest: Any = firestore.DeleteDocumentRequest.pb()
ExecutePipelineRequest: Any = firestore.ExecutePipelineRequest.pb()
ExecutePipelineResponse: Any = firestore.ExecutePipelineResponse.pb()
GetDocumentRequest: Any = firestore.GetDocumentRequest.pb()
ListCollectionIdsRequest: Any = firestore.ListCollectionIdsRequest.pb()
ListCollectionIdsResponse: Any = firestore.ListCollectionIdsResponse.pb()
ListenRequest: Any = firestore.ListenRequest.pb()
ListenResponse: Any = firestore.ListenResponse.pb()
Target: Any = firestore.Target.pb()
TargetChange: Any = firestore.TargetChange.pb()
WriteRequest: Any = firestore.WriteRequest.pb()
WriteResponse: Any = firestore.WriteResponse.pb()
ListDocumentsRequest: Any = firestore.ListDocumentsRequest.pb()
ListDocumentsResponse: Any = firestore.ListDocumentsResponse.pb()
PartitionQueryRequest: Any = firestore.PartitionQueryRequest.pb()
PartitionQueryResponse: Any = firestore.PartitionQueryResponse.pb()
RollbackRequest: Any = firestore.RollbackRequest.pb()
RunAggregationQueryRequest: Any = firestore.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Any = firestore.RunAggregationQueryResponse.pb()
RunQueryRequest: Any = firestore.RunQueryRequest.pb()
RunQueryResponse: Any = firestore.RunQueryResponse.pb()
UpdateDocumentRequest: Any = firestore.UpdateDocumentRequest.pb()

Empty: Any = empty_pb2.Empty
Timestamp: Any = timestamp_pb2.Timestamp
Int32Value: Any = wrappers_pb2.Int32Value
LatLng: Any = latlng_pb2.LatLng
RpcStatus: Any = status_pb2.Status
