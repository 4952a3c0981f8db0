# Three accounts: what the API does, what the worker does, and as whom the worker is called.

resource "google_service_account" "api" {
  account_id   = "orders-api"
  display_name = "Orders: the API"
}

resource "google_service_account" "worker" {
  account_id   = "orders-worker"
  display_name = "Orders: the worker"
}

resource "google_service_account" "caller" {
  account_id   = "orders-caller"
  display_name = "Orders: Cloud Tasks and Cloud Scheduler, when they call the worker"
}

locals {
  # both emit events, and both put tasks on the queue
  services = {
    api    = google_service_account.api.member
    worker = google_service_account.worker.member
  }
}

resource "google_project_iam_member" "documents" {
  for_each = local.services

  project = var.project
  role    = "roles/datastore.user" # reads and writes documents; no indexes, no deleting of databases
  member  = each.value
}

resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = local.services

  location = google_cloud_tasks_queue.orders.location
  name     = google_cloud_tasks_queue.orders.name
  role     = "roles/cloudtasks.enqueuer" # creates tasks; does not list, pause or purge
  member   = each.value
}

# Who creates a task that carries a token of an account must be allowed to act as that account.
resource "google_service_account_iam_member" "acts_as_caller" {
  for_each = local.services

  service_account_id = google_service_account.caller.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

# The caller alone may call the worker, and may do nothing else.
resource "google_cloud_run_v2_service_iam_member" "caller_calls_worker" {
  location = google_cloud_run_v2_service.worker.location
  name     = google_cloud_run_v2_service.worker.name
  role     = "roles/run.invoker"
  member   = google_service_account.caller.member
}

resource "google_cloud_run_v2_service_iam_member" "anyone_calls_api" {
  count = var.public_api ? 1 : 0

  location = google_cloud_run_v2_service.api.location
  name     = google_cloud_run_v2_service.api.name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_secret_manager_secret_iam_member" "reads_webhook_secret" {
  for_each = local.services

  secret_id = google_secret_manager_secret.webhook.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}
