# Errors are what a person has to look at: events set aside, requests that were dropped, reminders that cannot be placed.
resource "google_monitoring_alert_policy" "errors" {
  display_name          = "Orders: the worker logged an error"
  combiner              = "OR"
  notification_channels = var.notification_channels
  depends_on            = [google_project_service.needed]

  conditions {
    display_name = "An entry of severity ERROR"
    condition_matched_log {
      filter = join(" AND ", [
        "resource.type=\"cloud_run_revision\"",
        "resource.labels.service_name=\"${google_cloud_run_v2_service.worker.name}\"",
        "severity>=ERROR",
      ])
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "3600s"
    }
  }
}

resource "google_monitoring_alert_policy" "backlog" {
  display_name          = "Orders: tasks pile up"
  combiner              = "OR"
  notification_channels = var.notification_channels
  depends_on            = [google_project_service.needed]

  conditions {
    display_name = "More than 1,000 tasks wait for 10 minutes"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type=\"cloud_tasks_queue\"",
        "resource.labels.queue_id=\"${google_cloud_tasks_queue.orders.name}\"",
        "metric.type=\"cloudtasks.googleapis.com/queue/depth\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 1000
      duration        = "600s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MEAN"
      }
    }
  }
}
