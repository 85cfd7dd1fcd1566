//! Faults of the HTTP API.

mod cross_site;
mod date_preconditions;
mod error_responses;
mod http_dates;
mod media_types;
mod numbers;
mod secret_guessing;
mod status;
