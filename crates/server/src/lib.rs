//! The HTTP front: webhooks, REST API, OpenAPI and metrics.
