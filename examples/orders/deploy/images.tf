resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "orders"
  format        = "DOCKER"
  depends_on    = [google_project_service.needed]

  cleanup_policies {
    id     = "keep-the-last"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "2592000s" # 30 days
    }
  }
}
