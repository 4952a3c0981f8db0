# Finishes what a process could not that died between a commit and the creation of its tasks.
resource "google_cloud_scheduler_job" "sweep" {
  name             = "orders-sweep"
  region           = var.region
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "60s"
  depends_on       = [google_project_service.needed]

  retry_config {
    retry_count = 0 # the next minute comes anyway
  }

  http_target {
    http_method = "POST"
    uri         = "${local.worker_url}/eventbox/sweep"

    oidc_token {
      service_account_email = google_service_account.caller.email
      audience              = local.worker_url
    }
  }
}
