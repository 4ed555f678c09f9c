//! Resources that answer every method, the ones they do not have included.

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route, web};

use crate::problem::Problem;

/// A path with or without a trailing slash, and its methods; any other method is a 405 that names them.
pub(crate) fn resource<const N: usize>(path: &str, methods: [(Method, Route); N]) -> Resource {
    answering(web::resource([path.to_owned(), format!("{path}/")]), methods)
}

/// As `resource`, for a path that means something else with a trailing slash.
pub(crate) fn exactly<const N: usize>(path: &str, methods: [(Method, Route); N]) -> Resource {
    answering(web::resource(path), methods)
}

fn answering<const N: usize>(resource: Resource, methods: [(Method, Route); N]) -> Resource {
    let allowed = methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
    let refuse = web::to(move || {
        let mut response = Problem::method_not_allowed(&allowed).error_response();
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        async { response }
    });
    methods
        .into_iter()
        .fold(resource, |resource, (method, route)| resource.route(route.method(method)))
        .default_service(refuse)
}

pub(crate) async fn no_such_route(request: HttpRequest) -> HttpResponse {
    Problem::no_such_route(request.path()).error_response()
}
