# Its content is no business of Terraform's state: see the README for the command that puts it there.
resource "google_secret_manager_secret" "webhook" {
  secret_id  = "orders-webhook"
  depends_on = [google_project_service.needed]

  replication {
    auto {}
  }
}
