use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde_json::Value;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::{
    aggregates, connections, console, explain, export, health, metrics, places, policies, policy,
    problem, query, sources, stream,
};

/// All paths, and what answers there.
///
/// Who asks is what a layer around it says ([`Subject`](crate::Subject) in the request's
/// extensions), and everybody else is trusted with everything.
pub fn router(app: App) -> Router {
    let limit = DefaultBodyLimit::max(app.unscoped().limits.body);
    let (router, _) = paths().split_for_parts();
    router
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(async || axum::Json(openapi())),
        )
        .route("/metrics", axum::routing::get(metrics::scrape))
        .fallback_service(console())
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(limit)
        .layer(from_fn_with_state(app.clone(), metrics::timed))
        .with_state(app)
}

/// Everything else is the console's. Its files are sent packed; what the API streams is not.
fn console() -> Router {
    Router::new()
        .fallback(console::serve)
        // Whoever waits for the first page waits for this as well; the rest of the packing saves little.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

/// The same as an OpenAPI 3.1 document, which docs/openapi.json is.
pub fn openapi() -> Value {
    let (_, api) = paths().split_for_parts();
    let mut document = serde_json::to_value(&api).unwrap_or_default();
    for (name, schema) in SCHEMAS {
        let reference = format!("#/components/schemas/{name}/$defs/");
        let schema = schema.replace("#/$defs/", &reference);
        let mut schema: Value = serde_json::from_str(&schema).unwrap_or_default();
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("$schema");
        }
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// Schemas that are files of their own.
const SCHEMAS: [(&str, &str); 2] = [
    (
        "Connection",
        include_str!("../../../docs/connection.schema.json"),
    ),
    (
        "Explanation",
        include_str!("../../../docs/explanation.schema.json"),
    ),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "netverdict",
        description = "For every connection in an OVN network: who allowed or dropped it, and why.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "connections", description = "Both directions and both verdicts in one row"),
        (name = "policies", description = "Who decides"),
        (name = "cluster", description = "Who is there, and who talks to whom"),
        (name = "queries", description = "Help with the query language"),
        (name = "server", description = "How it stands")
    )
)]
struct Document;

fn paths() -> OpenApiRouter<App> {
    let questions = OpenApiRouter::new()
        .routes(routes!(connections::list))
        .routes(routes!(connections::one))
        .routes(routes!(aggregates::aggregates))
        .routes(routes!(stream::live))
        .routes(routes!(export::export))
        .routes(routes!(policies::policies))
        .routes(routes!(policies::rules))
        .routes(routes!(policy::policy))
        .routes(routes!(policy::isolation))
        .routes(routes!(places::namespaces))
        .routes(routes!(places::workloads))
        .routes(routes!(places::topology))
        .routes(routes!(explain::explain))
        .routes(routes!(explain::whatif))
        .routes(routes!(query::completions))
        .routes(routes!(query::fields))
        .routes(routes!(sources::list))
        .routes(routes!(health::health));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", questions)
        .routes(routes!(health::lives))
        .routes(routes!(health::ready))
}
