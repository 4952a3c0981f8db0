locals {
  # A service cannot refer to its own `uri`, and the worker has to know its URL: it is the audience of the tasks' tokens.
  # This is the deterministic one of Cloud Run's two.
  worker_url = "https://orders-worker-${data.google_project.this.number}.${var.region}.run.app"

  environment = {
    GOOGLE_CLOUD_PROJECT     = var.project
    EVENTBOX_QUEUE           = google_cloud_tasks_queue.orders.id # projects/P/locations/L/queues/Q
    EVENTBOX_TARGET          = local.worker_url
    EVENTBOX_SERVICE_ACCOUNT = google_service_account.caller.email
  }
}

# Customers and the payment provider call it. It emits and enqueues, and has none of the worker's endpoints.
resource "google_cloud_run_v2_service" "api" {
  name                = "orders-api"
  location            = var.region
  deletion_protection = false
  depends_on          = [google_project_service.needed, google_secret_manager_secret_iam_member.reads_webhook_secret]

  template {
    service_account                  = google_service_account.api.email
    timeout                          = "60s"
    max_instance_request_concurrency = 80

    scaling {
      max_instance_count = 10
    }

    containers {
      image = var.image
      args  = ["python", "-m", "orders", "orders.api:app"]

      resources {
        limits            = { cpu = "1", memory = "512Mi" }
        cpu_idle          = true # billed by request: what has to happen is awaited before the answer
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      env {
        name = "ORDERS_WEBHOOK_SECRET"
        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.webhook.secret_id
            version = "latest"
          }
        }
      }
    }
  }
}

# Cloud Tasks and Cloud Scheduler call it, and nobody else can: IAM checks their tokens before a request gets here.
resource "google_cloud_run_v2_service" "worker" {
  name                = "orders-worker"
  location            = var.region
  deletion_protection = false
  depends_on          = [google_project_service.needed, google_secret_manager_secret_iam_member.reads_webhook_secret]

  template {
    service_account                  = google_service_account.worker.email
    timeout                          = "300s" # what `Worker` takes it to be; its runs end well before
    max_instance_request_concurrency = var.worker_concurrency

    scaling {
      max_instance_count = var.worker_max_instances
    }

    containers {
      image = var.image
      args  = ["python", "-m", "orders", "orders.worker:worker.app"]

      resources {
        limits            = { cpu = "1", memory = "1Gi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.environment, { EVENTBOX_AUTH = "iam" })
        content {
          name  = env.key
          value = env.value
        }
      }

      env {
        name = "ORDERS_WEBHOOK_SECRET"
        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.webhook.secret_id
            version = "latest"
          }
        }
      }
    }
  }
}
