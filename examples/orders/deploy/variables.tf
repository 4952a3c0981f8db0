variable "project" {
  description = "The ID of the project."
  type        = string
}

variable "region" {
  description = "Where the services, the queue and the images are. Keep it near the database."
  type        = string
  default     = "europe-west1"
}

variable "firestore_location" {
  description = "Where the database is; it cannot be moved later."
  type        = string
  default     = "eur3"
}

variable "image" {
  description = "The image of both services, with its tag or digest."
  type        = string
}

variable "worker_max_instances" {
  description = "How many instances of the worker there may be."
  type        = number
  default     = 10
}

variable "worker_concurrency" {
  description = "How many requests one instance of the worker takes at a time."
  type        = number
  default     = 40
}

variable "public_api" {
  description = "Whether anyone may call the API: customers and the payment provider have no Google account."
  type        = bool
  default     = true
}

variable "notification_channels" {
  description = "Who is told of alarms: names of monitoring notification channels."
  type        = list(string)
  default     = []
}
