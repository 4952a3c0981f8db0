resource "google_cloud_tasks_queue" "orders" {
  name       = "orders"
  location   = var.region
  depends_on = [google_project_service.needed]

  rate_limits {
    max_dispatches_per_second = 500 # the most that a queue does
    # As many as the worker takes at a time. One more, and Cloud Run answers 429 for it, which slows the whole queue.
    max_concurrent_dispatches = var.worker_max_instances * var.worker_concurrency
  }

  retry_config {
    # For ever (which is 31 days): a task that fails is waiting for something that is down. Events that can never be
    # processed are set aside by eventbox itself, and a handler that gives up says so. A limit here would lose wake-ups
    # and e-mails in a long outage.
    max_attempts  = -1
    min_backoff   = "1s"
    max_backoff   = "300s" # so that a queue is back in its stride 5 minutes after an outage
    max_doublings = 8      # 1 s, 2 s, ... 256 s, then 300 s
  }

  stackdriver_logging_config {
    sampling_ratio = 0.01 # each logged task is billed as a log entry; 1 where you look for something
  }
}
