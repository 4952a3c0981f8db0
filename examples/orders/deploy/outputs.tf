output "api" {
  description = "Where customers and the payment provider call."
  value       = google_cloud_run_v2_service.api.uri
}

output "worker" {
  description = "Where Cloud Tasks calls."
  value       = local.worker_url
}

output "images" {
  description = "Where to push the image."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}
