resource "google_firestore_database" "default" {
  name                    = "(default)"
  location_id             = var.firestore_location
  type                    = "FIRESTORE_NATIVE"
  delete_protection_state = "DELETE_PROTECTION_ENABLED"
  depends_on              = [google_project_service.needed]
}

locals {
  # eventbox's own file says which fields have indexes and which a TTL policy: no second list of them here
  fields = jsondecode(file("${path.module}/../../../firestore.indexes.json")).fieldOverrides
}

resource "google_firestore_field" "eventbox" {
  for_each = { for one in local.fields : "${one.collectionGroup} ${one.fieldPath}" => one }

  database   = google_firestore_database.default.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes
      content {
        order       = indexes.value.order
        query_scope = indexes.value.queryScope
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []
    content {}
  }
}
