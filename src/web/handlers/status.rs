//! `GET /status`: `ok`, or the problems that a person must fix.

use crate::web::body::Response;
use crate::web::context::ApiState;
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;

pub(crate) async fn answer(state: &ApiState) -> Result<Response, ApiError> {
    state.damage.text(&state.store).await.map(|text| response::text(text, Cache::Never))
}
